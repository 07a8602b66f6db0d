"""What the meters of the machine say, as the screen shows it: the newest sample and what came before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.core.ports import Telemetry
from workbench.core.telemetry import GpuSample, HostSample, TelemetrySample

PAST_SAMPLES = 60
"""How far back a graph goes: a minute, at one sample a second."""
STALE_NS = 4 * 10**9
"""From this age on, a sample is said to be old: a driver blocks, or something is being timed."""


@dataclass(frozen=True, slots=True)
class GpuView:
    """A GPU now, and its last minute."""

    sample: GpuSample
    busy: tuple[float | None, ...] = ()
    """Shares of time in which anything ran, 0 to 1, oldest first; None where there was no figure."""
    filled: tuple[float | None, ...] = ()
    """Shares of its memory that were in use, 0 to 1, oldest first."""

    @property
    def fill(self) -> float | None:
        """The share of its memory that is in use now."""
        return memory_share(self.sample)


@dataclass(frozen=True, slots=True)
class MachineView:
    """Everything that the meters say."""

    host: HostSample | None = None
    gpus: tuple[GpuView, ...] = ()
    age_s: int = 0
    """How old the figures are in whole seconds; 0 while they are fresh."""


def memory_share(sample: GpuSample) -> float | None:
    """The share of a GPU's memory that is in use, 0 to 1."""
    if sample.memory_used is None or not sample.memory_total:
        return None
    return min(1.0, sample.memory_used / sample.memory_total)


class MachineWatch:
    """Looks at the samples of the meters, and works out what is shown of them once a sample.

    Args:
        telemetry: Reads the meters in a thread of its own.
        now_ns: The clock that samples are stamped by.
    """

    def __init__(self, telemetry: Telemetry, now_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._at_ns: int | None = None
        self.view = MachineView()
        """What was seen last."""

    def start(self) -> None:
        """Have the meters read."""
        self._telemetry.start()

    def stop(self) -> None:
        """Have them read no more."""
        self._telemetry.stop()

    def look(self) -> bool:
        """Take the newest sample; gives whether there is anything new to show. Waits for nothing."""
        sample = self._telemetry.latest()
        if sample is None:
            return False
        age_ns = self._now_ns() - sample.at_ns
        age_s = age_ns // 10**9 if age_ns >= STALE_NS else 0
        if sample.at_ns == self._at_ns and age_s == self.view.age_s:
            return False
        past = self._telemetry.history()[-PAST_SAMPLES:] if sample.gpus else ()
        self.view = MachineView(sample.host, tuple(_gpu_view(gpu, past) for gpu in sample.gpus), age_s)
        self._at_ns = sample.at_ns
        return True


def _gpu_view(sample: GpuSample, past: Sequence[TelemetrySample]) -> GpuView:
    key = sample.gpu.key
    found = [next((gpu for gpu in one.gpus if gpu.gpu.key == key), None) for one in past]
    busy = tuple(None if one is None or one.gpu_percent is None else one.gpu_percent / 100 for one in found)
    return GpuView(sample, busy, tuple(None if one is None else memory_share(one) for one in found))
