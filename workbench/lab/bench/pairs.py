"""Comparing A with B, in pairs that run side by side.

Where both fit in memory, they stay loaded and take turns in the order AB BA AB BA. Where they do not, every pair loads
both again, one after the other and in random order, and the median of a few runs counts for each load.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median
from typing import Literal

from workbench.core.bench import (
    BenchCase,
    Bencher,
    BenchModel,
    BenchResult,
    BenchRun,
    BenchTarget,
    ConditionWatch,
    Sample,
)
from workbench.core.bench_loading import as_load_settings
from workbench.core.cancel import CancelToken
from workbench.core.engine import MemoryAdviser
from workbench.core.errors import CancelledError, MemoryShortError
from workbench.core.statistics import Comparison, compare
from workbench.lab.bench.bench import BenchProgress, OnProgress, Phase, WeightsKey, time_left, weights_key
from workbench.lab.bench.grid import differing_options
from workbench.lab.bench.measure import Clock, mark, take_sample, warm_up

Design = Literal["interleaved", "blocks"]
"""`interleaved`: both stay loaded and take turns; `blocks`: each is loaded again for every pair."""

Side = Literal["a", "b"]

_SIDES: tuple[Side, Side] = ("a", "b")
BLOCK_RUNS = 3
"""Runs after each load of a block."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A and B, run one right after the other."""

    first: Side
    a: tuple[Sample, ...]
    """One repetition of A, or those of a block."""
    b: tuple[Sample, ...]

    @property
    def disturbed(self) -> tuple[str, ...]:
        """What disturbed one of the two, in words."""
        return tuple(dict.fromkeys(reason for sample in (*self.a, *self.b) for reason in sample.disturbed))


async def fit_together(adviser: MemoryAdviser, a: BenchCase, b: BenchCase) -> bool:
    """Whether both fit in memory at once. Where they share weights, only their contexts are two."""
    first, second = (as_load_settings(case.settings, case.test) for case in (a, b))
    if weights_key(a) == weights_key(b):
        return await adviser.fit_together([(a.ref, replace(first, num_ctx=first.num_ctx + second.num_ctx))])
    return await adviser.fit_together([(a.ref, first), (b.ref, second)])


def _speed(samples: Sequence[Sample], case: BenchCase) -> float:
    return median([case.test.tokens * 1e9 / sample.time.ns for sample in samples])


@dataclass(frozen=True, slots=True)
class DuelRecord:
    """A comparison of two cases."""

    a: BenchCase
    b: BenchCase
    models: tuple[BenchModel, BenchModel]
    design: Design
    pairs: tuple[Pair, ...]

    @property
    def comparison(self) -> Comparison:
        """B compared with A."""
        return compare(*zip(*self.speeds, strict=True))

    @property
    def speeds(self) -> list[tuple[float, float]]:
        """The speeds of A and of B in each pair, in tokens/s; of a block, the median run counts."""
        return [(_speed(pair.a, self.a), _speed(pair.b, self.b)) for pair in self.pairs]

    def results(self, at: str) -> tuple[BenchResult, BenchResult]:
        """The repetitions of A and of B, as results of tests that began `at`."""
        a, b = (tuple(sample for pair in self.pairs for sample in getattr(pair, side)) for side in _SIDES)
        return BenchResult(self.a, self.models[0], at, a), BenchResult(self.b, self.models[1], at, b)

    @property
    def disturbed(self) -> int:
        """Pairs that something disturbed."""
        return sum(bool(pair.disturbed) for pair in self.pairs)

    @property
    def names(self) -> tuple[str, str]:
        """Names for the two: their models, or the settings in which they differ."""
        a, b = (model.label for model in self.models)
        if a == b:
            a, b = (" ".join(words) for words in differing_options([self.a.settings, self.b.settings]))
        if not a:
            a, b = (self.a.ref, self.b.ref) if self.a.ref != self.b.ref else ("A", "B")
        return a, b


class Duel:
    """Compares case `b` with the reference `a`. It can be continued: `run` adds pairs, until `close`.

    Args:
        together: Whether both fit in memory at once.
        seed: The seed of the random tokens of the first pair; both of a pair get the same.
        clock: Seconds, for the estimate of the time left.
    """

    def __init__(
        self,
        bencher: Bencher,
        a: BenchCase,
        b: BenchCase,
        watch: ConditionWatch,
        *,
        together: bool = True,
        warm: bool = True,
        seed: int = 1,
        clock: Clock = time.monotonic,
    ) -> None:
        self._bencher = bencher
        self._cases: dict[Side, BenchCase] = {"a": a, "b": b}
        self._warm = warm
        self._seed = seed
        self._watch = watch
        self._clock = clock
        self._raw: list[Pair] = []
        self._models: dict[Side, BenchModel] = {}
        self._runs: dict[Side, BenchRun] = {}
        self._open = AsyncExitStack()
        self._order = random.Random(seed)
        self._on_progress: OnProgress = lambda _: None
        self._asked = self._already = self._turns = 0
        self._began_s = 0.0
        self.design: Design = "interleaved" if together else "blocks"

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs so far, with what disturbed them."""
        a, b = (iter(mark([each for pair in self._raw for each in getattr(pair, side)])) for side in _SIDES)
        return tuple(
            replace(pair, a=tuple(islice(a, len(pair.a))), b=tuple(islice(b, len(pair.b)))) for pair in self._raw
        )

    @property
    def record(self) -> DuelRecord | None:
        """The comparison so far; None before the first pair."""
        if not self._raw:
            return None
        models = (self._models["a"], self._models["b"])
        return DuelRecord(self._cases["a"], self._cases["b"], models, self.design, self.pairs)

    async def run(self, pairs: int, cancel: CancelToken, on_progress: OnProgress = lambda _: None) -> None:
        """Add `pairs` more, or as many as there are until `cancel` is set. A pair that is not whole does not count.

        Raises:
            WorkbenchError: A model cannot be opened, or fails; the pairs before it are kept.
        """
        self._on_progress = on_progress
        self._asked, self._already, self._turns = pairs, len(self._raw), 0
        self._began_s = self._clock()
        try:
            if self.design == "interleaved" and not self._runs:
                await self._make_ready(cancel)
            for _ in range(pairs):
                if cancel.is_set:
                    return
                self._raw.append(await (self._turn(cancel) if self.design == "interleaved" else self._blocks(cancel)))
        except CancelledError:
            return

    async def close(self) -> None:
        """Release the memory."""
        self._runs.clear()
        await self._open.aclose()

    async def _make_ready(self, cancel: CancelToken) -> None:
        """Load both, and warm both up; where there is no room for both after all, the design changes."""
        targets: dict[WeightsKey, BenchTarget] = {}
        try:
            for side in _SIDES:
                case = self._cases[side]
                key = weights_key(case)
                if key not in targets:
                    targets[key] = await self._load(case, cancel)
                    self._open.push_async_callback(targets[key].close)
                run = await targets[key].prepare(case.settings, case.test)
                self._open.push_async_callback(run.close)
                self._models[side], self._runs[side] = targets[key].model, run
            for side in _SIDES:
                await self._warm_up(side, self._runs[side], cancel)
        except MemoryShortError:
            await self.close()
            if not targets:
                raise
            self.design = "blocks"
        except BaseException:
            await self.close()
            raise

    async def _turn(self, cancel: CancelToken) -> Pair:
        number = len(self._raw)
        order: tuple[Side, Side] = ("a", "b") if number % 2 == 0 else ("b", "a")
        taken: dict[Side, Sample] = {}
        for side in order:
            self._report_side("measuring", side)
            taken[side] = await take_sample(self._runs[side], self._seed + number, self._watch, cancel)
            self._turns += 1
        return Pair(order[0], (taken["a"],), (taken["b"],))

    async def _blocks(self, cancel: CancelToken) -> Pair:
        order: list[Side] = ["a", "b"]
        self._order.shuffle(order)
        taken: dict[Side, tuple[Sample, ...]] = {}
        for side in order:
            taken[side] = await self._block(side, cancel)
            self._turns += 1
        return Pair(order[0], taken["a"], taken["b"])

    async def _block(self, side: Side, cancel: CancelToken) -> tuple[Sample, ...]:
        case, first = self._cases[side], self._seed + len(self._raw) * BLOCK_RUNS
        async with AsyncExitStack() as stack:
            target = await self._load(case, cancel)
            stack.push_async_callback(target.close)
            run = await target.prepare(case.settings, case.test)
            stack.push_async_callback(run.close)
            self._models[side] = target.model
            await self._warm_up(side, run, cancel)
            samples = []
            for number in range(BLOCK_RUNS):
                self._report_side("measuring", side)
                samples.append(await take_sample(run, first + number, self._watch, cancel))
            return tuple(samples)

    async def _load(self, case: BenchCase, cancel: CancelToken) -> BenchTarget:
        if cancel.is_set:
            raise CancelledError("The measurement was stopped.")
        return await self._bencher.open(
            case, lambda fraction: self._report("loading", f"{case.ref} {fraction:.0%}"), cancel
        )

    async def _warm_up(self, side: Side, run: BenchRun, cancel: CancelToken) -> None:
        if self._warm:
            self._report_side("warming up", side)
            await warm_up(run, cancel, self._clock)

    def _report_side(self, phase: Phase, side: Side) -> None:
        self._report(phase, f"{side.upper()} {self._models[side].label} {self._cases[side].test.label}")

    def _report(self, phase: Phase, label: str) -> None:
        number = len(self._raw) - self._already + 1
        fraction = min(1.0, self._turns / max(1, 2 * self._asked))
        left = time_left(fraction, self._clock() - self._began_s)
        self._on_progress(BenchProgress(phase, label, number, self._asked, fraction, left))
