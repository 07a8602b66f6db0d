from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import EngineError
from workbench.core.events import Failed, Finished, FinishReason, PromptProgress, Timings, Token, TokenKind, Usage
from workbench.core.metrics import P95_NEEDS, AnswerMetrics, Meter, per_second, percentile

MS = 1_000_000


class Lane:
    """An answer with a clock that is moved by hand: `own` is this answer's time, `others` that of other answers."""

    def __init__(self, meter: Meter | None = None, submitted_ns: int = 5_000 * MS) -> None:
        self.submitted_ns = submitted_ns
        self.meter = meter or Meter(submitted_ns)
        self.now_ns = submitted_ns
        self.lane_ns = 0

    def wait(self, own: float = 0, others: float = 0) -> Lane:
        self.now_ns += round((own + others) * MS)
        self.lane_ns += round(own * MS)
        return self

    def prompt(self, done: int, total: int = 100, cached: int = 0) -> Lane:
        self.meter.feed(PromptProgress(done, total, cached, self.now_ns, self.lane_ns))
        return self

    def token(self, text: str = "x", kind: TokenKind = "answer") -> Lane:
        self.meter.feed(Token(text, 1, kind, self.now_ns, self.lane_ns))
        return self

    def finish(
        self,
        usage: Usage,
        *,
        reason: FinishReason = "stop",
        text: str = "",
        kind: TokenKind = "answer",
        timings: Timings | None = None,
    ) -> AnswerMetrics:
        self.meter.feed(Finished(reason, usage, self.now_ns, self.lane_ns, text=text, kind=kind, timings=timings))
        return self.meter.metrics()


def test_nothing_is_known_before_the_first_event() -> None:
    metrics = Meter(0).metrics()
    assert metrics == AnswerMetrics(completion_tokens=0)
    assert metrics.context_used is None


def test_one_answer() -> None:
    lane = Lane(Meter(5_000 * MS, load_ms=250.0))
    lane.wait(own=10).prompt(20, cached=20).wait(own=200).prompt(100, cached=20)
    lane.wait(own=5).token()
    for _ in range(4):
        lane.wait(own=25).token()
    metrics = lane.wait(own=1).finish(Usage(100, 20, 5))
    assert metrics.load_ms == 250.0
    assert metrics.prefill_tps == pytest.approx(80 / 0.2)
    assert (metrics.ttft_ms, metrics.ttfo_ms) == (215.0, 215.0)
    assert metrics.decode_tps == pytest.approx(4 / 0.1)
    assert metrics.itl_p50_ms == 25.0
    assert metrics.itl_p95_ms is None
    assert (metrics.prompt_tokens, metrics.cached_tokens, metrics.completion_tokens) == (100, 20, 5)
    assert metrics.context_used == 105
    assert metrics.total_ms == 316.0
    assert (metrics.source, metrics.estimated) == ("engine", False)


def test_the_time_of_other_answers_is_not_counted_as_speed() -> None:
    """Between its own steps a lane waits for the others: the user waits, but the model is not slower."""
    lane = Lane().prompt(0).wait(own=100, others=300).prompt(100).token()
    for _ in range(10):
        lane.wait(own=10, others=20).token()
    metrics = lane.finish(Usage(100, 0, 11))
    assert metrics.prefill_tps == pytest.approx(1000)
    assert metrics.decode_tps == pytest.approx(100)
    assert metrics.itl_p50_ms == 10.0
    assert metrics.ttft_ms == 400.0
    assert metrics.total_ms == 700.0


def test_a_prompt_that_was_cached_has_no_prefill_speed() -> None:
    lane = Lane().prompt(100, cached=100).wait(own=10).token()
    metrics = lane.finish(Usage(100, 100, 1))
    assert metrics.prefill_tps is None
    assert metrics.cached_tokens == 100


def test_the_first_token_with_text_counts() -> None:
    lane = Lane().wait(own=10).token("").wait(own=10).token("é")
    assert lane.meter.metrics().ttft_ms == 20.0


def test_text_that_was_held_back_to_the_end_counts() -> None:
    lane = Lane().wait(own=10).token("")
    assert lane.wait(own=10).finish(Usage(1, 0, 1), text="x").ttft_ms == 20.0


def test_an_answer_without_text_has_no_first_token() -> None:
    metrics = Lane().wait(own=10).finish(Usage(10, 0, 0))
    assert (metrics.ttft_ms, metrics.ttfo_ms, metrics.decode_tps) == (None, None, None)
    assert metrics.completion_tokens == 0


def test_reasoning_comes_before_the_answer() -> None:
    lane = Lane().wait(own=10).token(kind="reasoning").wait(own=30).token(kind="answer")
    metrics = lane.meter.metrics()
    assert (metrics.ttft_ms, metrics.ttfo_ms) == (10.0, 40.0)


def test_reasoning_alone_is_no_answer() -> None:
    metrics = Lane().wait(own=10).finish(Usage(10, 0, 1), text="hm", kind="reasoning")
    assert (metrics.ttft_ms, metrics.ttfo_ms) == (10.0, None)


def test_one_token_has_no_decode_speed() -> None:
    assert Lane().wait(own=10).token().finish(Usage(10, 0, 1)).decode_tps is None


def test_the_95th_percentile_needs_enough_gaps() -> None:
    lane = Lane().token()
    for gap in range(1, P95_NEEDS):
        lane.wait(own=gap).token()
    assert lane.meter.metrics().itl_p95_ms is None
    lane.wait(own=P95_NEEDS).token()
    assert lane.meter.metrics().itl_p95_ms == pytest.approx(1 + 0.95 * (P95_NEEDS - 1))


def test_the_live_display_does_without_percentiles() -> None:
    lane = Lane().token().wait(own=10).token()
    metrics = lane.meter.metrics(percentiles=False)
    assert metrics.itl_p50_ms is None
    assert metrics.decode_tps == pytest.approx(100)


def test_the_live_speed_looks_at_the_last_second() -> None:
    lane = Lane()
    assert lane.meter.live_tps() is None
    lane.token()
    assert lane.meter.live_tps() is None
    for _ in range(50):
        lane.wait(own=100).token()
    assert lane.meter.live_tps() == pytest.approx(10)
    for _ in range(100):
        lane.wait(own=10).token()
    assert lane.meter.live_tps() == pytest.approx(100)
    assert lane.meter.tokens == 151


def test_counts_before_the_end_come_from_the_prefill() -> None:
    lane = Lane().prompt(20, cached=20).token().token()
    metrics = lane.meter.metrics()
    assert (metrics.prompt_tokens, metrics.cached_tokens, metrics.completion_tokens) == (100, 20, 2)
    assert metrics.total_ms is None


def test_a_failure_ends_the_clock() -> None:
    lane = Lane().wait(own=10).token()
    lane.meter.feed(Failed(EngineError("no"), lane.wait(own=5).now_ns))
    metrics = lane.meter.metrics()
    assert metrics.total_ms == 15.0
    assert metrics.completion_tokens == 1


def test_the_times_of_a_server_win() -> None:
    lane = Lane(Meter(5_000 * MS, source="client")).wait(own=500).token().wait(own=500).token()
    metrics = lane.finish(Usage(100, 20, 51), timings=Timings(prefill_ms=400.0, decode_ms=1000.0))
    assert metrics.source == "server"
    assert metrics.prefill_tps == pytest.approx(80 / 0.4)
    assert metrics.decode_tps == pytest.approx(50)
    assert metrics.ttft_ms == 500.0


def test_a_guess_is_marked() -> None:
    metrics = Lane(Meter(0, source="client"), 0).finish(Usage(100, None, 5, estimated=True))
    assert (metrics.estimated, metrics.source, metrics.cached_tokens) == (True, "client", None)


@pytest.mark.parametrize(("count", "nanoseconds"), [(0, 10), (-1, 10), (5, 0), (5, -1)])
def test_no_rate_is_known(count: int, nanoseconds: int) -> None:
    assert per_second(count, nanoseconds) is None


def test_a_rate() -> None:
    assert per_second(3, 500 * MS) == 6.0


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7], 0.95, 7), ([1, 2], 0.5, 1.5), ([3, 1, 2], 0.5, 2), ([1, 2, 3, 4], 0, 1), ([1, 5], 1, 5)],
)
def test_percentiles(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


@given(st.lists(st.integers(-(10**9), 10**9), min_size=2, max_size=60), st.integers(1, 99))
def test_percentiles_agree_with_the_standard_library(values: list[int], percent: int) -> None:
    expected = statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
    assert percentile(values, percent / 100) == pytest.approx(expected, abs=1e-3)


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)), min_size=1, max_size=50))
def test_decode_speed_is_that_of_the_own_steps(steps: list[tuple[int, int]]) -> None:
    meter = Meter(0)
    now = lane = 0
    meter.feed(Token("x", 1, "answer", now, lane))
    for own, others in steps:
        now, lane = now + own + others, lane + own
        meter.feed(Token("x", 1, "answer", now, lane))
    metrics = meter.metrics()
    assert metrics.decode_tps == pytest.approx(len(steps) * 1e9 / sum(own for own, _ in steps))
    assert metrics.completion_tokens == len(steps) + 1


def test_a_server_that_sends_several_tokens_in_one_piece_says_how_many() -> None:
    lane = Lane(Meter(5_000 * MS, source="client"))
    for _ in range(3):
        lane.wait(own=100).token()
    metrics = lane.finish(Usage(50, None, 9))
    assert metrics.decode_tps == pytest.approx(8 / 0.2)
    assert (metrics.source, metrics.latency_source) == ("client", "client")


def test_reasoning_that_a_server_keeps_to_itself_is_in_no_speed() -> None:
    lane = Lane(Meter(5_000 * MS, source="client"))
    for _ in range(3):
        lane.wait(own=100).token()
    assert lane.finish(Usage(50, None, 903, unseen_tokens=900)).decode_tps == pytest.approx(2 / 0.2)


def test_a_guess_does_not_change_the_speed() -> None:
    lane = Lane(Meter(5_000 * MS, source="client"))
    for _ in range(3):
        lane.wait(own=100).token()
    metrics = lane.finish(Usage(50, None, 900, estimated=True))
    assert (metrics.decode_tps, metrics.prefill_tps) == (pytest.approx(2 / 0.2), None)


@pytest.mark.parametrize(("source", "timings", "expected"), [
    ("client", None, 40 / 0.1), ("client", Timings(prefill_ms=50), 40 / 0.05), ("client", Timings(), None),
    ("engine", None, None),
])  # fmt: skip
def test_a_client_takes_the_wait_for_the_prefill_where_nobody_tells(source, timings, expected) -> None:
    lane = Lane(Meter(5_000 * MS, source=source)).wait(own=100).token()
    found = lane.finish(Usage(50, 10, 1), timings=timings).prefill_tps
    assert found == (None if expected is None else pytest.approx(expected))


def test_thoughts_and_answer_are_measured_apart():
    meter = Meter(0)
    for index, kind in enumerate(["reasoning"] * 5 + ["answer"] * 10):
        meter.feed(Token("x", index, kind, index * 10**8, index * 10**8))
    found = meter.metrics()
    assert (found.reasoning_tokens, found.answer_tokens) == (5, 10)
    assert (found.reasoning_ms, found.answer_ms) == (400, 1000)
    assert (found.reasoning_tps, found.answer_tps) == (10, 10)
    # A server that sends several tokens in one piece.
    meter.feed(Finished("stop", Usage(3, None, 30), 0, 0))
    found = meter.metrics()
    assert (found.reasoning_tokens, found.answer_tokens) == (10, 20)
    meter.feed(Finished("stop", Usage(3, None, 6), 0, 0))
    assert (meter.metrics().reasoning_tokens, meter.metrics().answer_tokens) == (2, 4)


def test_an_answer_that_becomes_thoughts_and_thoughts_that_are_hidden():
    meter = Meter(0)
    for index in range(3):
        meter.feed(Token("x", index, "answer", index * 10**8, index * 10**8))
    assert meter.metrics().reasoning_tokens is None
    meter.feed(Token("y", 4, "answer", 4 * 10**8, 4 * 10**8, recast=True))
    assert (meter.metrics().reasoning_tokens, meter.metrics().reasoning_ms) == (3, 200)
    hidden = Meter(0)
    hidden.feed(Token("x", 1, "answer", 0, 0))
    hidden.feed(Finished("stop", Usage(3, None, 9, unseen_tokens=8), 0, 0))
    found = hidden.metrics()
    assert (found.reasoning_tokens, found.answer_tokens, found.reasoning_ms) == (8, 1, None)
