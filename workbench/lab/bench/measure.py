"""One repetition and what disturbed it; and warming up until two repetitions are nearly equal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from workbench.core.bench import BenchRun, ConditionWatch, Sample
from workbench.core.cancel import CancelToken
from workbench.core.statistics import is_stable

MOST_WARM_UPS = 4
WARM_UP_S = 10.0
"""Warming up ends after so many runs or seconds, stable or not."""

WARM_UP_SEED = 1_000_000
"""The seed of the random tokens of the first warm-up run."""

OTHERS_PERCENT = 8.0
OTHERS_S = 0.1
"""Other programs disturb where they used at least both of these; system clocks tick in hundredths of a second."""

CLOCK_SHARE = 0.05
"""A clock disturbs where it differs from its median by more than this fraction."""

OWN_SHARE = 0.02
"""Other work of this program disturbs where it took more than this fraction of the time."""

GPU_OTHERS_BYTES = 64 * 2**20
"""Other programs disturb where they took more GPU memory than this meanwhile."""

Clock = Callable[[], float]


async def warm_up(run: BenchRun, cancel: CancelToken, clock: Clock = time.monotonic) -> tuple[int, bool | None]:
    """Warm up as llama-bench does, and then run the test itself until two successive runs are nearly equal.

    Returns the number of runs, and whether the last two were nearly equal; None where there was no time for two.
    Raises CancelledError.
    """
    expected = await run.warm_up(cancel)
    deadline = clock() + WARM_UP_S
    times: list[float] = []
    while len(times) < MOST_WARM_UPS and clock() + expected < deadline:
        expected = (await run.repeat(WARM_UP_SEED + len(times), cancel)).ns / 1e9
        times.append(expected)
        if is_stable(times):
            break
    return len(times), is_stable(times) if len(times) > 1 else None


async def take_sample(run: BenchRun, seed: int, watch: ConditionWatch, cancel: CancelToken) -> Sample:
    """One repetition. Raises CancelledError."""
    await watch.begin()
    try:
        taken = await run.repeat(seed, cancel)
    finally:
        # The watch pauses the meters, so it has to end after a failure too.
        conditions = await watch.end()
    return Sample(taken, seed, conditions)


def mark(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """The samples with what disturbed each; a clock is compared with its median."""
    cpu = _usual_clock([sample.conditions.cpu_mhz for sample in samples])
    gpu = _usual_clock([sample.conditions.gpu_mhz for sample in samples])
    held = [sample.conditions.gpu_others_bytes for sample in samples]
    least = min((size for size in held if size is not None), default=0)
    return tuple(replace(sample, disturbed=tuple(_reasons(sample, cpu, gpu, least))) for sample in samples)


def _usual_clock(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) >= 3 else None


def _reasons(sample: Sample, cpu: float | None, gpu: float | None, gpu_others: int) -> list[str]:
    now, found = sample.conditions, []
    if (now.others_percent or 0) >= OTHERS_PERCENT and (now.others_s or 0) >= OTHERS_S:
        found.append("other programs computed")
    if sample.time.wall_ns - sample.time.ns > OWN_SHARE * sample.time.ns:
        found.append("this program did other work")
    for name, clock, usual in (("processor", now.cpu_mhz, cpu), ("GPU", now.gpu_mhz, gpu)):
        if clock is not None and usual and abs(clock / usual - 1) > CLOCK_SHARE:
            found.append(f"the {name}'s clock had moved")
    found += [f"the GPU was {reason}" for reason in now.gpu_throttle]
    if (now.gpu_others_bytes or 0) - gpu_others > GPU_OTHERS_BYTES:
        found.append("other programs took GPU memory")
    return found
