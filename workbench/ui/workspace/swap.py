"""The comparison of the model before a swap with the one after it: size, bits, memory and speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from workbench.core.engine import Engine
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import LoadBook, LoadRecord, ModelEntry

TOKENS_OF_A_SPEED = 16
"""The speed of a shorter answer is too uncertain to be remembered."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models of a swap."""

    model: ModelEntry
    memory_bytes: int | None = None
    decode_tps: float | None = None
    """The speed of its last answer, in tokens per second."""
    earlier: bool = False
    """Whether that answer belongs to an earlier load of the model."""


@dataclass(frozen=True, slots=True)
class Swap:
    """A model that replaced another one."""

    before: Side
    after: Side


class SwapTracker:
    """Tracks which model is open and how fast it was, and remembers the memory and speed of each load."""

    def __init__(self, loads: LoadBook, now: Callable[[], float] = time.time) -> None:
        self._loads = loads
        self._now = now
        self._record: LoadRecord | None = None
        self._side: Side | None = None
        self.swap: Swap | None = None
        """The last swap, completed with the first answer of the new model; None before there was one."""

    async def opened(self, engine: Engine) -> None:
        info = engine.info
        memory, path = info.memory, info.model.path
        side = Side(info.model, memory.total_bytes if memory else None)
        self._record = None
        if memory is not None and path is not None:
            past = await self._loads.recall(path)
            same = next((record for record in past if record.settings == info.settings), None)
            speed = same.decode_tps if same else None
            side = replace(side, decode_tps=speed, earlier=speed is not None)
            architecture = info.model.architecture or ""
            self._record = LoadRecord(
                path, info.settings, info.backend, memory, info.estimate, self._now(), speed, architecture
            )
            await self._loads.remember(self._record)
        before, self._side = self._side, side
        self.swap = Swap(before, side) if before is not None and before.model.ref != side.model.ref else None

    async def answered(self, metrics: AnswerMetrics) -> None:
        if self._side is None or metrics.decode_tps is None or (metrics.completion_tokens or 0) < TOKENS_OF_A_SPEED:
            return
        self._side = replace(self._side, decode_tps=metrics.decode_tps, earlier=False)
        if self.swap is not None:
            self.swap = replace(self.swap, after=self._side)
        if self._record is not None:
            self._record = replace(self._record, decode_tps=metrics.decode_tps)
            await self._loads.remember(self._record)
