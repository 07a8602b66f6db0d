"""The state of the machine for the screen: the newest sample, the last minute and the active alarms."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import Literal

from workbench.core.logbook import LogBook
from workbench.core.telemetry import (
    Alarm,
    AlarmWatch,
    ComputeDevice,
    GpuSample,
    HostSample,
    Situation,
    SourceName,
    SourceState,
    Telemetry,
    TelemetrySample,
)

PAST_SAMPLES = 60
"""How far back a graph goes: a minute, at one sample a second."""
STALE_NS = 4 * 10**9
"""From this age on, a sample is shown as old: a driver blocks, or a benchmark has paused the meters."""

METERS = "meters"
"""The alarm id of events of the meters themselves."""
NO_FIGURES = "no-figures"
"""The alarm id of a source that does not answer."""


@dataclass(frozen=True, slots=True)
class GpuView:
    """A GPU now, and its last minute."""

    sample: GpuSample
    busy: tuple[float | None, ...] = ()
    """Utilization, 0 to 1, oldest first; None where it is unknown."""
    filled: tuple[float | None, ...] = ()
    """Share of its memory in use, 0 to 1, oldest first; None where it is unknown."""

    @property
    def fill(self) -> float | None:
        return memory_share(self.sample)


@dataclass(frozen=True, slots=True)
class MachineView:
    """All figures of the meters at one moment."""

    host: HostSample | None = None
    gpus: tuple[GpuView, ...] = ()
    devices: tuple[ComputeDevice, ...] = ()
    """The devices that llama.cpp computes on; empty before they are known."""
    sources: tuple[SourceState, ...] = ()
    """The state of each source of GPU figures."""
    alarms: tuple[Alarm, ...] = ()
    """The active alarms, shown or not."""
    age_s: int = 0
    """The age of the figures in whole seconds; 0 while they are fresh."""

    def others(self, shown: Alarm) -> int:
        """The number of active alarms beside one that is shown."""
        return sum(not _is_same(shown, each) for each in self.alarms)

    def holds(self, shown: Alarm) -> bool:
        """Whether an alarm that was shown is still active."""
        return any(_is_same(shown, each) for each in self.alarms)


SOURCES: dict[SourceName, str] = {"nvml": "NVIDIA", "amdgpu": "AMD", "apple": "Apple"}
"""The GPU vendor of each source."""
_NOTHING = Situation()
_Shares = tuple[float | None, float | None]
"""Utilization of a GPU and share of its memory in use, each 0 to 1."""
_UNKNOWN: _Shares = (None, None)


def memory_share(sample: GpuSample) -> float | None:
    """The share of a GPU's memory that is in use, 0 to 1; None where it is unknown."""
    if sample.memory_used is None or not sample.memory_total:
        return None
    return min(1.0, sample.memory_used / sample.memory_total)


class MachineWatch:
    """Reads the samples of the meters, and works out once per sample what the screen shows.

    Args:
        make_alarms: Makes the alarm rules; called with the first sample.
        logs: Takes every alarm.
        now_ns: The clock of the samples' timestamps.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        make_alarms: Callable[[], AlarmWatch],
        logs: LogBook,
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._telemetry = telemetry
        self._make_alarms = make_alarms
        self._alarms: AlarmWatch | None = None
        self._logs = logs
        self._now_ns = now_ns
        self._at_ns: int | None = None
        self._past: deque[Mapping[str, _Shares]] = deque(maxlen=PAST_SAMPLES)
        self._past_ns = -1
        self._settled_ns: int | None = None
        self._news: list[Alarm] = []
        self._events = 0
        self.devices: tuple[ComputeDevice, ...] | None = None
        """The devices that llama.cpp computes on; None before they are known."""
        self.view = MachineView()
        """The state after the last call of `look`."""

    def start(self) -> None:
        self._telemetry.use_gpus(False)
        self._telemetry.start()

    def stop(self) -> None:
        self._telemetry.stop()

    def look(self, situation: Situation = _NOTHING, *, changing: bool = False) -> bool:
        """Take the newest sample without waiting. Returns whether there is anything new to show.

        `settled_ns` and `devices` of the situation are filled in here. `changing` is whether the program loads or
        closes something, so that its own use of the GPUs changes.
        """
        if changing:
            self._settled_ns = None
        elif self._settled_ns is None:
            self._settled_ns = self._now_ns()
        # A model that is loading may be on its way to a GPU.
        info = situation.info
        self._telemetry.use_gpus(changing or bool(info is not None and info.gpu_layers and info.backend != "CPU"))
        sample = self._telemetry.latest()
        if sample is None:
            return False
        age_ns = self._now_ns() - sample.at_ns
        age_s = age_ns // 10**9 if age_ns >= STALE_NS else 0
        if sample.at_ns == self._at_ns and age_s == self.view.age_s:
            return False
        self._at_ns = sample.at_ns
        if sample.gpus:
            self._remember(self._telemetry.history())
        self.view = MachineView(
            sample.host,
            tuple(self._gpu_view(gpu) for gpu in sample.gpus),
            self.devices or (),
            sample.sources,
            self._judge(replace(situation, settled_ns=self._settled_ns, devices=self.devices), sample.sources),
            age_s,
        )
        return True

    def take_news(self) -> Sequence[Alarm]:
        """The alarms that were not shown yet; each is returned once."""
        news, self._news = self._news, []
        return news

    def _remember(self, history: Sequence[TelemetrySample]) -> None:
        """Append the shares of the new samples; those of the earlier ones are already stored."""
        new = list(takewhile(lambda sample: sample.at_ns > self._past_ns, islice(reversed(history), PAST_SAMPLES)))
        for sample in reversed(new):
            self._past.append({gpu.gpu.key: _shares(gpu) for gpu in sample.gpus})
            self._past_ns = sample.at_ns

    def _gpu_view(self, sample: GpuSample) -> GpuView:
        found = [shares.get(sample.gpu.key, _UNKNOWN) for shares in self._past]
        return GpuView(sample, tuple(busy for busy, _ in found), tuple(filled for _, filled in found))

    def _judge(self, situation: Situation, sources: Sequence[SourceState]) -> tuple[Alarm, ...]:
        if self._alarms is None:
            self._alarms = self._make_alarms()
        for alarm in self._alarms.look(situation):
            self._logs.add("warning", "telemetry", f"{alarm.text} {alarm.hint}".rstrip())
            self._news.append(alarm)
        # The sampler has logged these itself.
        for event in self._telemetry.events(self._events):
            self._events = event.number
            severity: Literal["info", "warning"] = "info" if event.kind in {"back", "gpu new"} else "warning"
            self._news.append(Alarm(METERS, severity, event.text))
        return (*self._alarms.active, *(_no_figures(state) for state in sources if state.status == "down"))


def _is_same(shown: Alarm, active: Alarm) -> bool:
    # A source that is down is shown in the sampler's words, and active in those of its state.
    if shown.id == METERS:
        return active.id == NO_FIGURES
    return (shown.id, shown.subject) == (active.id, active.subject)


def _no_figures(state: SourceState) -> Alarm:
    text = f"There are no figures of the {SOURCES[state.source]} GPUs: {state.reason}"
    return Alarm(NO_FIGURES, "warning", text, subject=state.source)


def _shares(sample: GpuSample) -> _Shares:
    return None if sample.gpu_percent is None else sample.gpu_percent / 100, memory_share(sample)
