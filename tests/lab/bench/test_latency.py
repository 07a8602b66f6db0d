from __future__ import annotations

import pytest

from workbench.core.cancel import CancelToken
from workbench.core.engine import Capabilities
from workbench.core.errors import ContextFullError
from workbench.core.events import Failed, Finished, PromptProgress, Token, Usage
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.lab.bench.latency import LatencyAnswer, LatencyResult, LatencyTest


class FakeEngine:
    """Two tokens a word; the prompt takes a millisecond a token that was not asked just before, an answer token two."""

    info = EngineInfo(ModelEntry("m", "m", "Q4_0"), LoadSettings(), "CPU", 1.0)
    capabilities = Capabilities()

    def __init__(self, fail_at=None):
        self.now_ns = 0
        self.requests = []
        self._last = None
        self._fail_at = fail_at

    async def generate(self, request, cancel):
        self.requests.append(request)
        if len(self.requests) == self._fail_at:
            yield (Failed(ContextFullError("Too long."), self.now_ns),)
            return
        total = 2 * len(request.prompt.split())
        cached = total - 1 if request.prompt == self._last else 0
        self._last = request.prompt
        yield (PromptProgress(cached, total, cached, self.now_ns, 0),)
        self.now_ns += (total - cached) * 10**6
        count = 0
        while count < request.sampling.num_predict and not cancel.is_set:
            count += 1
            self.now_ns += 2 * 10**6
            yield (Token("x", 1, "answer", self.now_ns, self.now_ns),)
        reason = "cancelled" if cancel.is_set else "length"
        yield (Finished(reason, Usage(total, cached, count), self.now_ns, self.now_ns),)


def felt(engine, lengths=(20, 100), **options):
    return LatencyTest(engine, lengths, clock=lambda: engine.now_ns, **{"repetitions": 3, "n_gen": 4, **options})


async def test_prompts_have_the_length_that_was_asked_for():
    engine = FakeEngine()
    work = felt(engine)
    await work.run(CancelToken())
    assert [(result.n_prompt, result.count("prompt_tokens"), len(result.answers)) for result in work.results] == [
        (20, 20, 3),
        (100, 100, 3),
    ]


async def test_times_are_from_asking_on():
    engine = FakeEngine()
    work = felt(engine)
    await work.run(CancelToken())
    short = work.results[0]
    assert short.times("ttft_ms") == (22, None)
    assert short.times("total_ms") == (28, None)
    assert short.count("completion_tokens") == 4


async def test_no_prompt_is_asked_twice():
    engine = FakeEngine()
    work = felt(engine, repetitions=5)
    await work.run(CancelToken())
    prompts = [request.prompt for request in engine.requests]
    assert len(set(prompts)) == len(prompts) == 11
    assert {answer.cached_tokens for result in work.results for answer in result.answers} == {0}


async def test_the_switch_shows_what_the_cache_gives():
    engine = FakeEngine()
    work = felt(engine, (100,), again=True)
    await work.run(CancelToken())
    fresh, again = work.results
    assert (fresh.again, again.again) == (False, True)
    assert (fresh.count("cached_tokens"), again.count("cached_tokens")) == (0, 99)
    assert again.times("ttft_ms")[0] < fresh.times("ttft_ms")[0]


async def test_stopping_keeps_whole_answers():
    engine, cancel = FakeEngine(), CancelToken()
    work = felt(engine, (20,))
    told = []

    def on_progress(progress):
        told.append(progress)
        if progress.step == 3:
            cancel.set()

    await work.run(cancel, on_progress)
    assert len(work.results[0].answers) == 2
    assert [progress.step for progress in told] == [0, 1, 2, 3]


async def test_a_failed_answer_is_an_error_and_keeps_the_others():
    engine = FakeEngine(fail_at=4)
    work = felt(engine, (20,))
    with pytest.raises(ContextFullError):
        await work.run(CancelToken())
    assert len(work.results[0].answers) == 2


def test_p95_needs_twenty():
    def result(count):
        return LatencyResult(8, 4, False, tuple(LatencyAnswer(float(n), None, 8, 0, 4) for n in range(count)))

    assert result(19).times("ttft_ms") == (9, None)
    assert result(21).times("ttft_ms") == (10, 19)
    assert result(21).times("total_ms") == (None, None)
