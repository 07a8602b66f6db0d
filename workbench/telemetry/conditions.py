"""What goes on beside a measurement: other programs, clocks, and what slows a GPU down."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil

from workbench.core.bench import Conditions
from workbench.core.ports import Telemetry
from workbench.core.telemetry import THROTTLE_WARNINGS, THROTTLE_WORDS, GpuSample

FRESH_NS = 2_500_000_000
"""How old a sample of the GPUs may be."""


class ConditionWatch:
    """Looks at the machine before and after, and at the newest sample of its GPUs.

    Args:
        telemetry: The sampler of the GPUs; it runs already. None where there are none to look at.
    """

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self._telemetry = telemetry
        self._process = psutil.Process()
        self._cores = psutil.cpu_count() or 1
        self._before = self._read()

    def begin(self) -> None:
        """A repetition begins."""
        self._before = self._read()

    def end(self) -> Conditions:
        """It has ended; tells what went on meanwhile."""
        wall, busy, own = (now - then for now, then in zip(self._read(), self._before, strict=True))
        others = max(0.0, busy - own)
        gpus = self._gpus()
        return Conditions(
            load_average=_load_average(),
            cpu_mhz=_cpu_mhz(),
            others_percent=min(100.0, 100 * others / (wall * self._cores)) if wall > 0 else None,
            others_s=others,
            gpu_mhz=next((float(gpu.clock_mhz) for gpu in gpus if gpu.clock_mhz is not None), None),
            gpu_throttle=_throttle(gpus),
            gpu_others_bytes=_held_by_others(gpus),
        )

    def _read(self) -> tuple[float, float, float]:
        """The time, and the processor time of everything and of this process, in seconds."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0)
        own = self._process.cpu_times()
        return time.monotonic(), sum(times) - idle, own.user + own.system

    def _gpus(self) -> tuple[GpuSample, ...]:
        sample = self._telemetry.latest() if self._telemetry is not None else None
        if sample is None or time.perf_counter_ns() - sample.at_ns > FRESH_NS:
            return ()
        return sample.gpus


def _load_average() -> float | None:
    try:
        return psutil.getloadavg()[0]
    except OSError:
        return None


def _cpu_mhz() -> float | None:
    with suppress(OSError, RuntimeError, NotImplementedError, ValueError):
        clock = psutil.cpu_freq()
        if clock is not None and clock.current > 0:
            return float(clock.current)
    return None


def _throttle(gpus: tuple[GpuSample, ...]) -> tuple[str, ...]:
    reasons = (reason for gpu in gpus for reason in gpu.throttle or () if reason in THROTTLE_WARNINGS)
    return tuple(dict.fromkeys(THROTTLE_WORDS[reason] for reason in reasons))


def _held_by_others(gpus: tuple[GpuSample, ...]) -> int | None:
    held = [
        gpu.memory_used - gpu.memory_own for gpu in gpus if gpu.memory_used is not None and gpu.memory_own is not None
    ]
    return sum(held) if held else None
