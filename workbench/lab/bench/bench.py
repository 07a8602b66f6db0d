"""Timing models as llama-bench does: every case in turn, warmed up and repeated. Stopping keeps the results so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from workbench.core.bench import BenchCase, Bencher, BenchResult, BenchTarget, BenchTest, ConditionWatch, Sample
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.lab.bench.grid import WEIGHTS_FIELDS
from workbench.lab.bench.measure import Clock, mark, take_sample, warm_up

Phase = Literal["loading", "warming up", "measuring"]

GEN_WEIGHT = 8
"""A generated token takes about as long as so many prompt tokens; for the estimate of the time left."""


@dataclass(frozen=True, slots=True)
class BenchProgress:
    """The progress of a measurement."""

    phase: Phase
    label: str
    """What is being timed."""
    step: int
    """The repetition or pair that is running, counted from 1; 0 before the first."""
    steps: int
    fraction: float
    """The share of the whole that is done, from 0 to 1."""
    left_s: float | None = None
    """An estimate of the time left, in seconds; None where nothing is known yet."""


OnProgress = Callable[[BenchProgress], None]
"""Called in any thread while a model loads, and otherwise in that of the event loop."""


def effort(test: BenchTest) -> float:
    """An estimate of the time of one repetition, in prompt tokens."""
    # Each further sequence makes a decode step a little longer, but less than the first.
    gen = GEN_WEIGHT * test.n_gen * (1 + 0.4 * (test.sequences - 1))
    return test.sequences * test.n_prompt + gen + 1


def _filling(test: BenchTest) -> int:
    """The prompt tokens that are computed once before the test."""
    return test.sequences * test.n_depth


def time_left(fraction: float, spent_s: float) -> float | None:
    """An estimate of the time left, in seconds, from the share that is done; None before anything is."""
    return spent_s * (1 - fraction) / fraction if fraction > 0 else None


HOURS_FROM_S = 7200
"""Seconds from which a time is written in hours."""


def time_text(seconds: float) -> str:
    """A time still to come: `12 s`, `2 min 10 s`, `3 h 5 min`."""
    whole = max(0, math.ceil(seconds))
    if whole >= HOURS_FROM_S:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60} s"


def utc_now() -> str:
    """The current time, as llama-bench writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


WeightsKey = tuple[object, ...]


def weights_key(case: BenchCase) -> WeightsKey:
    """The same for cases that can share loaded weights."""
    return case.ref, *(getattr(case.settings, name) for name in WEIGHTS_FIELDS)


class Bench:
    """Times cases one after the other.

    Args:
        cases: Those that share weights next to each other.
        seed: The seed of the random tokens of the first repetition; each later one takes the next number.
        memory_bytes_per_s: The memory bandwidth of the processors, where it is known.
        clock: Seconds, for the estimate of the time left.
    """

    def __init__(
        self,
        bencher: Bencher,
        cases: Sequence[BenchCase],
        watch: ConditionWatch,
        *,
        repetitions: int = 5,
        warm: bool = True,
        seed: int = 1,
        memory_bytes_per_s: float | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._bencher = bencher
        self._cases = tuple(cases)
        self._repetitions = repetitions
        self._warm = warm
        self._seed = seed
        self._watch = watch
        self._memory_bytes_per_s = memory_bytes_per_s
        self._clock = clock
        self._total = sum(effort(case.test) * (repetitions + 1) + _filling(case.test) for case in cases) or 1
        self._done = 0.0
        self._began = 0.0
        self._on_progress: OnProgress = lambda _: None
        self.results: list[BenchResult] = []
        """The last one has fewer repetitions where it was stopped."""
        self.failures: list[WorkbenchError] = []
        """Why a case could not be timed, once for each."""

    async def run(
        self,
        cancel: CancelToken,
        on_progress: OnProgress = lambda _: None,
        on_result: Callable[[BenchResult], None] = lambda _: None,
    ) -> None:
        """Time everything, or until `cancel` is set; fills `results` and `failures`, and gives each result at once."""
        self._on_progress = on_progress
        self._began = self._clock()
        target: BenchTarget | None = None
        opened: WeightsKey | None = None
        refused: dict[WeightsKey, WorkbenchError] = {}
        try:
            for case in self._cases:
                key = weights_key(case)
                if key in refused:
                    self._skip(case, refused[key])
                    continue
                try:
                    if target is None or opened != key:
                        if target is not None:
                            await target.close()
                        target = None
                        target = await self._open(case, cancel)
                        opened = key
                    await self._time(target, case, on_result, cancel)
                except CancelledError:
                    return
                except WorkbenchError as error:
                    if target is None:
                        refused[key] = error
                    self._skip(case, error)
        finally:
            if target is not None:
                await target.close()

    def _skip(self, case: BenchCase, error: WorkbenchError) -> None:
        self.failures.append(error)
        self._total -= effort(case.test) * (self._repetitions + 1) + _filling(case.test)

    async def _open(self, case: BenchCase, cancel: CancelToken) -> BenchTarget:
        self._report("loading", case.ref, 0)
        sharing = [each for each in self._cases if weights_key(each) == weights_key(case)]
        longest = max(sharing, key=lambda each: each.test.context)
        return await self._bencher.open(
            longest, lambda fraction: self._report("loading", f"{case.ref} {fraction:.0%}", 0), cancel
        )

    async def _time(
        self, target: BenchTarget, case: BenchCase, on_result: Callable[[BenchResult], None], cancel: CancelToken
    ) -> None:
        if cancel.is_set:
            raise CancelledError("The measurement was stopped.")
        run = await target.prepare(case.settings, case.test)
        label = f"{target.model.label} {case.test.label}"
        began, samples = utc_now(), list[Sample]()
        warmed: tuple[int, bool | None] = (0, None)
        try:
            if self._warm:
                self._report("warming up", label, 0)
                warmed = await warm_up(run, cancel, self._clock)
            self._done += effort(case.test)
            filling = _filling(case.test)
            for number in range(self._repetitions):
                self._report("measuring", label, number + 1)
                samples.append(await take_sample(run, self._seed + number, self._watch, cancel))
                # Only the first one computes the tokens before the test: its state is kept.
                self._done += effort(case.test) + filling
                filling = 0
        finally:
            await run.close()
            if samples:
                # What a GPU reads is no share of the processors' bandwidth.
                known = None if target.model.gpu_layers else self._memory_bytes_per_s
                result = BenchResult(case, target.model, began, mark(samples), *warmed, known)
                self.results.append(result)
                on_result(result)

    def _report(self, phase: Phase, label: str, step: int) -> None:
        fraction = min(1.0, self._done / max(self._total, 1))
        left = time_left(fraction, self._clock() - self._began)
        self._on_progress(BenchProgress(phase, label, step, self._repetitions, fraction, left))
