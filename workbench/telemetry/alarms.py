"""Alarms: each one is reported once, and again only after it has ended."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from typing_extensions import override

from workbench.core.telemetry import Alarm, AlarmWatch, Situation, Telemetry, TelemetrySample
from workbench.telemetry import checks
from workbench.telemetry.doctor.gpus import unused_gpus

WINDOW_NS = 60 * 10**9
"""How far back the checks look."""
CALM_LOOKS = 10
"""Looks in a row without an alarm before it counts as ended: figures waver around any threshold."""


class AlarmBook:
    """The alarms that are active, and which of them were reported."""

    def __init__(self, calm_looks: int = CALM_LOOKS) -> None:
        self._calm_looks = max(1, calm_looks)
        self._active: dict[tuple[str, str], Alarm] = {}
        self._unseen: Counter[tuple[str, str]] = Counter()

    @property
    def active(self) -> Sequence[Alarm]:
        """The alarms that have not ended, oldest first, each with its latest text."""
        return tuple(self._active.values())

    def update(self, seen: Iterable[Alarm], *, fresh: bool = True) -> list[Alarm]:
        """Record the alarms that hold now, and return the new ones. Only `fresh` samples bring others to an end."""
        current = {(alarm.id, alarm.subject): alarm for alarm in seen}
        new = [alarm for key, alarm in current.items() if key not in self._active]
        for key in list(self._active):
            if key in current:
                del self._unseen[key]
            elif fresh:
                self._unseen[key] += 1
            if self._unseen[key] >= self._calm_looks:
                del self._active[key], self._unseen[key]
        self._active |= current
        return new


def alarms_of(
    samples: Sequence[TelemetrySample], situation: Situation, environment: Mapping[str, str], answer_from_ns: int | None
) -> list[Alarm]:
    """Every alarm that holds now, by the most recent samples, oldest first, and the time when the answer began."""
    gpus = [sample.gpu for sample in samples[-1].gpus] if samples else []
    of_answer = [sample for sample in samples if answer_from_ns is not None and sample.at_ns >= answer_from_ns]
    return [
        *checks.fewer_layers(situation.info, situation.asked_layers),
        *unused_gpus(gpus, situation.devices, environment),
        *checks.spilled(samples, situation.info),
        *checks.throttled(samples),
        *checks.memory_taken(samples, situation.settled_ns),
        *checks.swapping(of_answer, decoding=situation.decoding),
    ]


class TelemetryAlarmWatch(AlarmWatch):
    """Checks the samples of a sampler for alarms."""

    def __init__(self, telemetry: Telemetry, environment: Mapping[str, str] | None = None) -> None:
        self._telemetry = telemetry
        self._environment = os.environ if environment is None else environment
        self._book = AlarmBook()
        self._seen_ns = -1
        self._answer_from_ns: int | None = None

    @property
    @override
    def active(self) -> Sequence[Alarm]:
        return self._book.active

    @override
    def look(self, situation: Situation) -> Sequence[Alarm]:
        samples = self._telemetry.history()
        latest = samples[-1].at_ns if samples else -1
        if not situation.decoding:
            self._answer_from_ns = None
        elif self._answer_from_ns is None:
            self._answer_from_ns = latest
        # Looking twice at one sample must not end its alarms sooner.
        fresh, self._seen_ns = latest != self._seen_ns, latest
        window = samples[bisect_left(samples, latest - WINDOW_NS, key=lambda sample: sample.at_ns) :]
        seen = alarms_of(window, situation, self._environment, self._answer_from_ns)
        return self._book.update(seen, fresh=fresh)
