"""Leaves GPUs alone while nothing of this program is on them: a question a second keeps a laptop's GPU awake."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from typing_extensions import override

from workbench.core.telemetry import GpuInfo, GpuSample, SourceName
from workbench.telemetry.source import GpuSource

REST_S = 15.0
"""How often a GPU that is awake is asked while nothing of this program is on it."""


def asleep(gpu: GpuInfo) -> GpuSample:
    """The sample of a GPU that is left asleep."""
    return GpuSample(gpu, asleep=True)


class RestingSource(GpuSource):
    """Asks `source` at every reading while `in_use`, otherwise every `REST_S` seconds.

    `cards` lists those that any question to the source would wake, each with whether it is asleep. While one is, the
    source is not asked, unless the program uses another one.
    """

    def __init__(
        self,
        source: GpuSource,
        in_use: Callable[[], bool],
        cards: Callable[[], Mapping[str, bool]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._in_use = in_use
        self._cards = cards
        self._clock = clock
        self._kept: tuple[GpuSample, ...] = ()
        self._due = float("-inf")

    @property
    @override
    def name(self) -> SourceName:
        return self._source.name

    @override
    def read(self) -> Sequence[GpuSample]:
        cards = self._cards()
        sleeping = [pci_id for pci_id, is_sleeping in cards.items() if is_sleeping]
        in_use = self._in_use() and (not sleeping or len(sleeping) < len(cards))
        if in_use or (not sleeping and self._clock() >= self._due):
            self._kept = tuple(self._source.read())
            self._due = float("-inf") if in_use else self._clock() + REST_S
            return self._kept
        known = {sample.gpu.pci_id for sample in self._kept}
        new = [pci_id for pci_id in sleeping if pci_id not in known]
        # An energy counter that was read long ago would count an answer as free.
        kept = [replace(each, energy_mj=None) for each in self._kept]
        return [
            *(asleep(each.gpu) if each.gpu.pci_id in sleeping else each for each in kept),
            *(asleep(GpuInfo(pci_id, self.name, index, pci_id=pci_id)) for index, pci_id in enumerate(new)),
        ]
