"""The latency test: the time from a question to the first token and to the end of the answer, as a user waits for it.

It uses the ordinary engine, with tokenizing, sampling and text. Every prompt differs from all others from its first
word on, so that nothing of it is in the KV cache; on request each is asked a second time, which shows the effect of the
cache.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, Request
from workbench.core.events import Failed, Finished
from workbench.core.metrics import AnswerMetrics, Meter, known_values, median_and_p95, percentile
from workbench.core.parameters import Sampling
from workbench.lab.bench.bench import BenchProgress, OnProgress, time_left

WORDS = (
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state",
    "family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week", "company", "system",
    "program", "question", "work", "government", "number", "night", "point", "home", "water", "room", "mother", "area",
    "money", "story", "fact", "month", "lot", "right", "study", "book", "eye", "job", "word", "business", "issue",
    "side", "kind", "head", "house", "service", "friend", "father", "power", "hour", "game", "line", "end", "member",
    "law", "car", "city",
)  # fmt: skip
"""Words that are one token each in most vocabularies."""

TRIAL_WORDS = 48
"""Words of the warm-up prompt, which also shows how many tokens a word has."""


@dataclass(frozen=True, slots=True)
class LatencyAnswer:
    """The figures of one answer."""

    ttft_ms: float | None
    total_ms: float | None
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """The answers to prompts of one length."""

    n_prompt: int
    """The requested length, in tokens; `prompt_tokens` of the answers is the actual one."""
    n_gen: int
    """The longest answer, in tokens."""
    again: bool
    """Whether each prompt had been asked just before, so that the cache had it."""
    answers: tuple[LatencyAnswer, ...]

    def times(self, name: str) -> tuple[float | None, float | None]:
        """The p50 and the p95 of `ttft_ms` or `total_ms`; the p95 only from 20 answers on."""
        return median_and_p95(known_values(self.answers, name))

    def count(self, name: str) -> float | None:
        """The median of `prompt_tokens`, `cached_tokens` or `completion_tokens`."""
        return percentile(known_values(self.answers, name), 0.5)


class LatencyTest:
    """Times answers of an open model.

    Args:
        lengths: Lengths of prompts, in tokens.
        repetitions: Answers for each length.
        n_gen: The longest answer, in tokens.
        again: Whether each prompt is asked a second time.
        sampled: How the answers are sampled, apart from their length and the seed; without a prompt.
        clock: Nanoseconds; those of the engine's events.
    """

    def __init__(
        self,
        engine: Engine,
        lengths: Sequence[int],
        *,
        repetitions: int = 5,
        n_gen: int = 32,
        again: bool = False,
        seed: int = 1,
        sampled: Request | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._engine = engine
        self._lengths = tuple(lengths)
        self._repetitions = repetitions
        self._n_gen = n_gen
        self._again = again
        request = sampled or Request()
        self._request = replace(request, sampling=replace(request.sampling, num_predict=n_gen, seed=1), timed=True)
        self._rng = random.Random(seed)
        self._clock = clock
        self._answers: dict[tuple[int, bool], list[LatencyAnswer]] = {}

    @property
    def sampling(self) -> Sampling:
        """What every answer is sampled with."""
        return self._request.sampling

    @property
    def results(self) -> tuple[LatencyResult, ...]:
        """The results so far."""
        return tuple(
            LatencyResult(length, self._n_gen, again, tuple(answers))
            for (length, again), answers in self._answers.items()
        )

    async def run(self, cancel: CancelToken, report: OnProgress = lambda _: None) -> None:
        """Ask everything, or until `cancel` is set. Raises WorkbenchError where an answer failed."""
        began, total, done = self._clock(), len(self._lengths) * self._repetitions, 0
        report(BenchProgress("warming up", self._engine.info.model.label, 0, total, 0.0))
        # The first prompt warms the engine up; its times are thrown away.
        trial = await self._ask(self.prompt(TRIAL_WORDS), cancel)
        if trial is None:
            return
        per_word = (trial.prompt_tokens or TRIAL_WORDS) / TRIAL_WORDS
        for number in range(self._repetitions):
            for length in self._lengths:
                if cancel.is_set:
                    return
                left = time_left(done / total, (self._clock() - began) / 1e9)
                label = f"{self._engine.info.model.label}, prompt of {length}"
                report(BenchProgress("measuring", label, number + 1, self._repetitions, done / total, left))
                prompt = self.prompt(max(1, round(length / per_word)))
                for again in (False, True)[: 1 + self._again]:
                    metrics = await self._ask(prompt, cancel)
                    if metrics is None:
                        return
                    answer = LatencyAnswer(
                        metrics.ttft_ms,
                        metrics.total_ms,
                        metrics.prompt_tokens,
                        metrics.cached_tokens,
                        metrics.completion_tokens,
                    )
                    self._answers.setdefault((length, again), []).append(answer)
                done += 1

    def prompt(self, words: int) -> str:
        """A new prompt of so many words."""
        return " ".join(self._rng.choices(WORDS, k=words))

    async def _ask(self, prompt: str, cancel: CancelToken) -> AnswerMetrics | None:
        """The figures of one answer; None where it was stopped."""
        request = replace(self._request, prompt=prompt)
        meter = Meter(self._clock(), source=self._engine.info.measured_by)
        stopped = False
        async for batch in self._engine.generate(request, cancel):
            for event in batch:
                meter.feed(event)
                if isinstance(event, Failed):
                    raise event.error
                stopped = isinstance(event, Finished) and event.reason == "cancelled"
        return None if stopped else meter.metrics()
