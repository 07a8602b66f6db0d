"""A load test of a server: level after level of more users, until more of them only wait longer.

No prompt is like another, from its first word on, and none is like one of an earlier sweep: otherwise the server's
prompt cache would be measured.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.core.cancel import CancelToken
from workbench.core.errors import ServerError
from workbench.core.sweep import LoadClient, LoadCost, LoadLevel, LoadSample, LoadTarget, SweepLevel, SweepSettings
from workbench.lab.bench.bench import BenchProgress, OnProgress
from workbench.lab.bench.latency import WORDS

Ending = Literal["", "saturated", "failing"]
"""Why a sweep ended before its last level: more users only wait longer, or most questions fail."""

ENDINGS: dict[Ending, str] = {
    "": "",
    "saturated": "more users only wait longer: the server is saturated",
    "failing": "more than half of the questions failed",
}

LEAST_GAIN = 1.05
"""A level with less than this multiple of the best throughput before it is no gain."""
LATENCY_GROWTH = 1.5
"""The growth of the median TTFT, since the level before, from which users only wait longer."""

TASK = "Write a long story in which all of these words occur:"
TRIAL_WORDS = (16, 64)
"""Words of the two warm-up prompts, which also show how many tokens a word has."""


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """A server under the load of more and more users."""

    target: LoadTarget
    settings: SweepSettings
    levels: tuple[SweepLevel, ...]
    warm_up: tuple[LoadSample, ...] = ()
    """The first questions, which are in no level."""
    ending: Ending = ""

    @property
    def label(self) -> str:
        """The model and its server."""
        return f"{self.target.model} at {self.target.url.partition('://')[2]}"


class Sweep:
    """Loads a server, level by level. `nonce` makes the beginning of the prompts, which no other sweep may have."""

    def __init__(
        self,
        client: LoadClient,
        settings: SweepSettings,
        *,
        nonce: Callable[[], str] = lambda: secrets.token_hex(4),
        seed: int = 1,
    ) -> None:
        self.client = client
        self.settings = settings
        self._nonce = nonce()
        self._rng = random.Random(seed)
        self._asked = 0
        self._report: OnProgress = lambda _: None
        self.warm_up: tuple[LoadSample, ...] = ()
        """The first questions, which a cold server answers."""
        self.levels: list[SweepLevel] = []
        """The results so far."""
        self.ending: Ending = ""

    @property
    def record(self) -> SweepRecord:
        """The results so far."""
        return SweepRecord(self.client.target, self.settings, tuple(self.levels), self.warm_up, self.ending)

    async def run(
        self,
        cancel: CancelToken,
        on_progress: OnProgress = lambda _: None,
        on_level: Callable[[SweepLevel], None] = lambda _: None,
    ) -> None:
        """Ask at every level, or until `cancel` is set, or the server is saturated.

        Raises:
            WorkbenchError: The server cannot be asked at all.
        """
        self._report = on_progress
        words = await self._warm_up(cancel)
        for concurrency in self.settings.levels:
            level = None if cancel.is_set else await self._ask(concurrency, words, cancel)
            if level is None:
                return
            self.levels.append(level)
            on_level(level)
            if cancel.is_set:
                return
            found = ending(self.levels)
            if found == "failing" or not self.settings.all_levels:
                self.ending = found
            if self.ending:
                return

    async def _warm_up(self, cancel: CancelToken) -> int:
        """Ask twice; gives how many words a prompt of the wanted length has."""
        counts: list[int | None] = []
        settings = self.settings
        for words in TRIAL_WORDS:
            self._report(BenchProgress("warming up", self.client.target.model, 0, settings.most_requests, 0.0))
            level = LoadLevel(1, (self.prompt(words),), settings.n_gen, settings.seconds)
            samples, _ = await self._samples(level, cancel)
            if cancel.is_set:
                return 1
            if samples and samples[0].error:
                raise ServerError(f"The server does not answer: {samples[0].error}", "Try it in the chat.")
            self.warm_up += tuple(samples)
            counts.append(samples[0].prompt_tokens if samples else None)
        return words_for(settings.n_prompt, TRIAL_WORDS, counts)

    async def _ask(self, concurrency: int, words: int, cancel: CancelToken) -> SweepLevel | None:
        settings = self.settings
        prompts = tuple(self.prompt(words) for _ in range(concurrency * settings.repetitions))
        level = LoadLevel(concurrency, prompts, settings.n_gen, settings.seconds)
        before = settings.repetitions * sum(level.concurrency for level in self.levels)

        def show(done: int) -> None:
            fraction = min(1.0, (before + done) / settings.most_requests)
            self._report(BenchProgress("measuring", f"{concurrency} at a time", done, len(prompts), fraction))

        show(0)
        samples, cost = await self._samples(level, cancel, show)
        return SweepLevel(concurrency, tuple(samples), cost) if samples else None

    async def _samples(
        self, level: LoadLevel, cancel: CancelToken, on_count: Callable[[int], None] = lambda _: None
    ) -> tuple[list[LoadSample], LoadCost | None]:
        samples: list[LoadSample] = []
        cost: LoadCost | None = None
        async for found in self.client.run(level, cancel):
            if isinstance(found, LoadCost):
                cost = found
            else:
                samples.append(found)
                on_count(len(samples))
        return samples, cost

    def prompt(self, words: int) -> str:
        """A new prompt with so many words."""
        self._asked += 1
        return f"{self._nonce}-{self._asked} {TASK} {' '.join(self._rng.choices(WORDS, k=words))}"


def words_for(n_prompt: int, words: Sequence[int], counts: Sequence[int | None]) -> int:
    """The number of words in a prompt of `n_prompt` tokens, from two prompts of as many `words` and tokens."""
    (few, many), (first, second) = words, counts
    if first is None or second is None or second <= first:
        # A word is about a token, and the task around the words has about as many as the shorter prompt.
        return max(1, n_prompt - few)
    each = (second - first) / (many - few)
    return max(1, round((n_prompt - (first - few * each)) / each))


def ending(levels: Sequence[SweepLevel]) -> Ending:
    """Whether a sweep is to end after these levels."""
    last = levels[-1]
    if 2 * last.failures > len(last.samples):
        return "failing"
    if len(levels) < 2 or last.concurrency <= levels[-2].concurrency:
        return ""
    best = max(level.tps_total or 0.0 for level in levels[:-1])
    before, now = levels[-2].ttft_p50_ms, last.ttft_p50_ms
    gains = (last.tps_total or 0.0) >= LEAST_GAIN * best
    waits = before is not None and now is not None and now >= LATENCY_GROWTH * before
    return "saturated" if waits and not gains else ""
