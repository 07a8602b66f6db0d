"""Disturbances during a measurement: other programs, clocks, and GPU throttling."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
from typing_extensions import override

from workbench.core.bench import Conditions, ConditionWatch
from workbench.core.energy import energy_between
from workbench.core.telemetry import THROTTLE_WARNINGS, THROTTLE_WORDS, Telemetry, TelemetrySample
from workbench.telemetry.host import of_engines
from workbench.telemetry.sampler import system_sampler


class SystemConditionWatch(ConditionWatch):
    """Reads the meters of the machine and its GPUs before and after a repetition, and none in between.

    `telemetry` is the running sampler of the GPUs; None without GPUs.
    """

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self._telemetry = telemetry
        self._process = psutil.Process()
        self._cores = psutil.cpu_count() or 1
        self._pause = ExitStack()
        self._first: TelemetrySample | None = None
        self._before = self._read()

    @override
    async def begin(self) -> None:
        self._pause.close()
        if self._telemetry is not None:
            self._first = await self._telemetry.fresh()
            self._pause.enter_context(self._telemetry.paused())
        self._before = self._read()

    @override
    async def end(self) -> Conditions:
        wall, busy, own = (now - then for now, then in zip(self._read(), self._before, strict=True))
        self._pause.close()
        others = max(0.0, busy - own)
        last = await self._telemetry.fresh() if self._telemetry is not None else None
        energy = energy_between(self._first, last) if self._first is not None and last is not None else None
        gpus = last.gpus if last is not None else ()
        throttle = (reason for gpu in gpus for reason in gpu.throttle or () if reason in THROTTLE_WARNINGS)
        taken = [
            gpu.memory_used - gpu.memory_own
            for gpu in gpus
            if gpu.memory_used is not None and gpu.memory_own is not None
        ]
        return Conditions(
            load_average=_load_average(),
            cpu_mhz=_cpu_mhz(),
            others_percent=min(100.0, 100 * others / (wall * self._cores)) if wall > 0 else None,
            others_s=others,
            gpu_mhz=next((float(gpu.clock_mhz) for gpu in gpus if gpu.clock_mhz is not None), None),
            gpu_throttle=tuple(dict.fromkeys(THROTTLE_WORDS[reason] for reason in throttle)),
            gpu_others_bytes=sum(taken) if taken else None,
            gpu_joules=energy,
        )

    def _read(self) -> tuple[float, float, float]:
        """The time, and the CPU time of all processes and of this one, in seconds."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0)
        return time.monotonic(), sum(times) - idle, _cpu_seconds(self._process) + of_engines(_cpu_seconds)


def _cpu_seconds(process: psutil.Process) -> float:
    own = process.cpu_times()
    return own.user + own.system


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


@contextmanager
def system_conditions(*, gpus: bool) -> Iterator[SystemConditionWatch]:
    """A watch of this machine, and of its GPUs where it has any, inside the `with` block."""
    if not gpus:
        yield SystemConditionWatch()
        return
    sampler = system_sampler()
    sampler.start()
    try:
        yield SystemConditionWatch(sampler)
    finally:
        sampler.stop()
