"""The one definition of every figure that `workbench` shows about an answer.

| name | definition |
|---|---|
| `load_ms` | open asked -> model and context ready |
| `ttft_ms` | request submitted -> first token with text (reasoning counts); in a race on the lane's own clock |
| `ttfo_ms` | request submitted -> first token of the answer itself with text |
| `prefill_tps` | prompt tokens that were really computed / time in prefill, on the lane's clock |
| `decode_tps` | (N - 1) / (last token - first token), on the lane's clock; N is the count of whoever tokenized |
| `reasoning_tokens`, `reasoning_ms` | tokens of the thoughts; first token -> their last one, on the lane's clock |
| `answer_ms` | last token of the thoughts -> last token |
| `reasoning_tps`, `answer_tps` | `decode_tps` of the thoughts and of the answer after them |
| `itl_p50_ms`, `itl_p95_ms` | gaps between tokens on the lane's clock; the p95 only from 20 gaps on |
| `speculation` | drafted and accepted tokens, as llama.cpp counts them: `core/speculation.py` |

Where a server reports its own times, they count for the two speeds (`source` is `server`). Where it reports none, the
client takes the time to the first token for the prefill time (`source` is `client`).

A figure that is not known is None, never 0.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.core.events import Event, Failed, Finished, PromptProgress, PromptReuse, Source, Token, Usage
from workbench.core.formats import FormatState
from workbench.core.speculation import SpeculationFigures

P95_NEEDS = 20
"""Samples from which a 95th percentile has a meaning."""

LIVE_WINDOW_NS = 1_000_000_000
"""How far back the live decode speed looks, in nanoseconds of the lane's clock."""


@dataclass(frozen=True, slots=True)
class AnswerMetrics:
    """The figures of one answer: live while it streams, final after its end."""

    load_ms: float | None = None
    ttft_ms: float | None = None
    ttfo_ms: float | None = None
    prefill_tps: float | None = None
    decode_tps: float | None = None
    itl_p50_ms: float | None = None
    itl_p95_ms: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    estimated: bool = False
    """Whether the counts are estimates from the text, because nobody counted."""
    source: Source = "engine"
    """Who measured the speeds of prefill and decode."""
    latency_source: Source = "engine"
    """Who measured the times to the first token and the gaps: who receives the tokens, never a server."""
    total_ms: float | None = None
    """Request submitted -> end, on the wall clock."""
    reasoning_tokens: int | None = None
    """Tokens of the thoughts, of `completion_tokens`; None where there are none. Exact where `source` is the engine."""
    reasoning_ms: float | None = None
    reasoning_tps: float | None = None
    answer_ms: float | None = None
    """The time after the thoughts; None where there are none."""
    answer_tps: float | None = None
    energy_joules: float | None = None
    """GPU energy in that time, by their own counters; other programs on them are included."""
    reuse: PromptReuse | None = None
    """Where the cached tokens come from; None where the engine does not say."""

    format_state: FormatState | None = None
    """Whether it has the format that was asked for; None where none was."""
    speculation: SpeculationFigures | None = None
    """What drafting gained; None where nothing was drafted."""

    @property
    def joules_per_token(self) -> float | None:
        """The energy per token of the answer."""
        if self.energy_joules is None or not self.completion_tokens:
            return None
        return self.energy_joules / self.completion_tokens

    @property
    def answer_tokens(self) -> int | None:
        """Tokens of the answer itself, without the thoughts."""
        if self.completion_tokens is None:
            return None
        return max(0, self.completion_tokens - (self.reasoning_tokens or 0))

    @property
    def context_used(self) -> int | None:
        """Tokens of this conversation in the context."""
        if self.prompt_tokens is None:
            return None
        return self.prompt_tokens + (self.completion_tokens or 0)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The `share` (0 to 1) quantile of `values` by linear interpolation on n - 1; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def median_and_p95(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The median, None where there are no values; and the 95th percentile, None for fewer than `P95_NEEDS`."""
    return percentile(values, 0.5), percentile(values, 0.95) if len(values) >= P95_NEEDS else None


def known_values(items: Iterable[object], name: str) -> list[float]:
    """An attribute of all items in which it is known."""
    return [value for item in items if (value := getattr(item, name)) is not None]


def per_second(count: int, nanoseconds: int) -> float | None:
    """`count` per second, over `nanoseconds`; None where no time has passed."""
    return count * 1e9 / nanoseconds if nanoseconds > 0 and count > 0 else None


class Meter:
    """Turns the events of one answer into its figures, one event at a time and at constant cost.

    `submitted_ns` is `time.perf_counter_ns()` when the user asked; `load_ms` is known where the model was loaded for
    this answer; `source` stamps the events. With `own_time` the times to the first token are measured on the lane's
    clock too, which stands still while other lanes are stepped.
    """

    def __init__(
        self,
        submitted_ns: int,
        load_ms: float | None = None,
        source: Source = "engine",
        *,
        own_time: bool = False,
    ) -> None:
        self._submitted_ns = submitted_ns
        self._own_time = own_time
        self._load_ms = load_ms
        self._source = source
        self._prefill_start: PromptProgress | None = None
        self._prefill_last: PromptProgress | None = None
        self._first_text_ns: int | None = None
        self._first_answer_ns: int | None = None
        self._first_lane_ns: int | None = None
        self._last_lane_ns = 0
        self._gaps_ns = array("q")
        self.tokens = 0
        """Seen so far."""
        self._thoughts = 0
        """Those of them that belong to thoughts."""
        self._thoughts_ns = 0
        """When the last of these was there, on the lane's clock."""
        self._recent: deque[int] = deque()
        self._end: Finished | None = None
        self._end_ns: int | None = None

    def feed(self, event: Event) -> None:
        """Take one event of the answer."""
        match event:
            case PromptProgress():
                if self._prefill_start is None:
                    self._prefill_start = event
                self._prefill_last = event
            case Token():
                self._feed_token(event)
            case Finished():
                self._end, self._end_ns = event, event.at_ns
                if event.text:
                    self._see_text(event)
            case Failed():
                self._end_ns = event.at_ns

    def _feed_token(self, token: Token) -> None:
        self.tokens += 1
        if token.recast:
            self._first_answer_ns = None
            self._thoughts, self._thoughts_ns = self.tokens - 1, self._last_lane_ns
        if token.kind == "reasoning":
            self._thoughts += 1
            self._thoughts_ns = token.lane_ns
        if token.text:
            self._see_text(token)
        if self._first_lane_ns is None:
            self._first_lane_ns = token.lane_ns
        else:
            self._gaps_ns.append(token.lane_ns - self._last_lane_ns)
        self._last_lane_ns = token.lane_ns
        self._recent.append(token.lane_ns)
        while self._recent[0] < token.lane_ns - LIVE_WINDOW_NS:
            self._recent.popleft()

    def _see_text(self, event: Token | Finished) -> None:
        since = event.lane_ns if self._own_time else event.at_ns - self._submitted_ns
        if self._first_text_ns is None:
            self._first_text_ns = since
        if event.kind == "answer" and self._first_answer_ns is None:
            self._first_answer_ns = since

    def live_tps(self) -> float | None:
        """Decode speed over the last second of the lane's clock, in tokens/s."""
        if len(self._recent) < 2:
            return None
        return per_second(len(self._recent) - 1, self._recent[-1] - self._recent[0])

    def _prefill_tps(self) -> float | None:
        start, last = self._prefill_start, self._prefill_last
        if start is None or last is None:
            return None
        return per_second(last.done - start.done, last.lane_ns - start.lane_ns)

    def _decode_tps(self) -> float | None:
        if self._first_lane_ns is None:
            return None
        tokens, usage = self.tokens, self._end.usage if self._end else None
        if usage is not None and not usage.estimated:
            # A server may send several in one piece, and reports their number at the end.
            tokens = max(tokens, usage.completion_tokens - usage.unseen_tokens)
        return per_second(tokens - 1, self._last_lane_ns - self._first_lane_ns)

    def _apart(self, completion: int, unseen: int) -> dict[str, Any]:
        """The figures of the thoughts and of the answer after them; none where there are no thoughts."""
        start = self._first_lane_ns
        if not self._thoughts or start is None:
            return {"reasoning_tokens": unseen or None}
        # A server's pieces are not its tokens, whose number it reports at the end.
        thoughts = round(self._thoughts * (completion - unseen) / self.tokens)
        thinking_ns, answer_ns = self._thoughts_ns - start, self._last_lane_ns - self._thoughts_ns
        return {
            "reasoning_tokens": thoughts,
            "reasoning_ms": _milliseconds(thinking_ns),
            "reasoning_tps": per_second(thoughts - 1, thinking_ns),
            "answer_ms": _milliseconds(answer_ns),
            "answer_tps": per_second(completion - unseen - thoughts, answer_ns),
        }

    def _waited_tps(self, usage: Usage) -> float | None:
        """The prefill as a client sees it: the whole wait for the first token."""
        if usage.estimated or self._first_text_ns is None:
            return None
        return per_second(usage.prompt_tokens - (usage.cached_tokens or 0), self._first_text_ns)

    def metrics(self, *, percentiles: bool = True) -> AnswerMetrics:
        """The current figures; without `percentiles`, as in the live display, the gaps are not sorted."""
        usage = self._end.usage if self._end else None
        timings = self._end.timings if self._end else None
        progress = self._prefill_last
        prefill_tps, decode_tps = self._prefill_tps(), self._decode_tps()
        prompt = usage.prompt_tokens if usage else (progress.total if progress else None)
        cached = usage.cached_tokens if usage else (progress.cached if progress else None)
        completion = usage.completion_tokens if usage else self.tokens
        source = self._source
        if timings is not None:
            source = "server"
            if timings.prefill_ms is not None and prompt is not None:
                prefill_tps = per_second(prompt - (cached or 0), round(timings.prefill_ms * 1e6))
            if timings.decode_ms is not None:
                decode_tps = per_second(completion - 1, round(timings.decode_ms * 1e6))
        elif self._source == "client" and prefill_tps is None and usage is not None:
            prefill_tps = self._waited_tps(usage)
        p50, p95 = median_and_p95(self._gaps_ns) if percentiles else (None, None)
        return AnswerMetrics(
            load_ms=self._load_ms,
            ttft_ms=_milliseconds(self._first_text_ns),
            ttfo_ms=_milliseconds(self._first_answer_ns),
            prefill_tps=prefill_tps,
            decode_tps=decode_tps,
            itl_p50_ms=_milliseconds(p50),
            itl_p95_ms=_milliseconds(p95),
            prompt_tokens=prompt,
            cached_tokens=cached,
            reuse=progress.reuse if progress else None,
            completion_tokens=completion,
            estimated=usage.estimated if usage else False,
            source=source,
            latency_source=self._source,
            format_state=self._end.verdict.state if self._end and self._end.verdict else None,
            speculation=self._end.speculation if self._end else None,
            total_ms=_milliseconds(None if self._end_ns is None else self._end_ns - self._submitted_ns),
            **self._apart(completion, usage.unseen_tokens if usage else 0),
        )


def _milliseconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6
