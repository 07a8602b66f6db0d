"""Asks what fits: reads model files and the machine, keeps what it learned, and prices what is in hand.

It holds no widget. Files are read in threads; a price is worked out between two keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.core.errors import WorkbenchError
from workbench.core.models import EngineInfo, LoadRecord, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.gguf.fit import DeviceRoom, Fit, FitModel, FitQuestion, Room
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.models.what_if import WhatIf
from workbench.ui.services import Services

KEPT = 64
"""Files that are kept as read, at most."""
UNKNOWN = "Its layout is unknown here: what it needs cannot be told."


class FitEstimator:
    """Prices models with settings that can be changed on trial.

    Args:
        services: What the program works with.
        base: Tells the load settings of the conversation.
        open_now: Tells what is open.
    """

    def __init__(
        self, services: Services, base: Callable[[], LoadSettings], open_now: Callable[[], EngineInfo | None]
    ) -> None:
        self._services = services
        self._base = base
        self._open_now = open_now
        self._room: Room | None = None
        self._models: dict[ModelEntry, FitModel | str] = {}
        self._records: dict[str, LoadRecord | None] = {}
        self._estimates: dict[ModelEntry, FitEstimate | None] = {}
        self._priced_with: tuple[object, ...] = ()
        self.what_if = WhatIf(base())

    @property
    def has_looked(self) -> bool:
        """Whether it is known what is free."""
        return self._room is not None

    def knows(self, model: ModelEntry) -> bool:
        """Whether the file of a model was read."""
        return model in self._models

    async def read(self, model: ModelEntry) -> None:
        """Read the file of a model, unless that was done before."""
        if model in self._models:
            return
        if model.path is None or model.problem:
            self._models[model] = "" if model.problem else "It has no file that can be priced."
            return
        try:
            self._models[model] = await self._services.files.fit_model(Path(model.path), model.adapter_path)
        except WorkbenchError as error:
            self._models[model] = error.message
        while len(self._models) > KEPT:
            oldest = next(iter(self._models))
            del self._models[oldest]
            self._estimates.pop(oldest, None)

    async def recall(self, model: ModelEntry) -> None:
        """Look up what the last load of a model came to."""
        if model.path is not None:
            records = await self._services.loads.recall(model.path)
            self._records[model.path] = records[0] if records else None

    async def look(self) -> bool:
        """Look at what is free now. Returns whether that is another amount than before."""
        before, self._room = self._room, await self._services.files.room()
        return before != self._room

    def record(self, model: ModelEntry) -> LoadRecord | None:
        """What the last load of a model came to; None where nothing is known of one."""
        return self._records.get(model.path or "")

    def problem(self, model: ModelEntry) -> str:
        """Why a model cannot be priced; empty where it can, or where that is not known yet."""
        known = self._models.get(model)
        if isinstance(known, FitModel):
            return UNKNOWN if self._room is not None and self.estimate(model) is None else ""
        return clean_line(known or "")

    def estimate(self, model: ModelEntry) -> FitEstimate | None:
        """What a model would take with the settings on trial; None where that is not known."""
        known, room = self._models.get(model), self._room
        if not isinstance(known, FitModel) or room is None:
            return None
        settings, open_now = self.what_if.settings, self._open_now()
        if (settings, room, open_now) != self._priced_with:
            self._priced_with = (settings, room, open_now)
            self._estimates.clear()
        if model not in self._estimates:
            self._estimates[model] = estimate_fit(known, settings, room, open_now)
        return self._estimates[model]

    def follow(self) -> None:
        """Begin with the settings that the conversation has now; what is on trial stays on trial."""
        self.what_if = self.what_if.on(self._base())


@dataclass(frozen=True, slots=True)
class FitEstimate:
    """What the arithmetic says of a model with some settings on this machine."""

    question: FitQuestion
    fit: Fit
    largest: int
    """The longest context that fits; 0 for none."""
    most: int
    """The most layers that fit on the GPUs."""
    layers: int
    trained: int | None
    gpus: int
    """How many GPUs there are."""
    adapter_bytes: int = 0
    """What of the weights is the adapter's."""
    closing: str = ""
    """The open model, where it has to be closed before this one fits."""

    @property
    def short_of(self) -> Sequence[tuple[str, int]]:
        """The devices that have no room, and the bytes that are missing there."""
        return [
            (share.device.name, share.total_bytes - max(0, usable_bytes(share.device)))
            for share in self.fit.shares
            if not share.fits
        ]

    @property
    def spare_bytes(self) -> int:
        """What stays free on the device that is the fullest."""
        return min((usable_bytes(share.device) - share.total_bytes for share in self.fit.shares), default=0)


def usable_bytes(device: DeviceRoom) -> int:
    """The free bytes of a device without its reserve; negative where the reserve is not free."""
    return device.free_bytes - device.reserve_bytes


def estimate_fit(
    model: FitModel, settings: LoadSettings, room: Room, open_now: EngineInfo | None = None
) -> FitEstimate | None:
    """Price a model.

    Args:
        model: The model.
        settings: How it would be loaded.
        room: What is free.
        open_now: The model that is open, and that would be closed.

    Returns:
        The estimate; None where the arithmetic does not understand the file.
    """
    try:
        question = model.question(settings)
        cleared = room_without(open_now, room)
        # A model on a GPU is closed before the next one is loaded; one in the memory of the host only if it has to be.
        before = cleared if open_now is not None and open_now.gpu_layers else room
        fit, closing = model.price(question, before), ""
        if not fit.fits and cleared != before and (second := model.price(question, cleared)).fits:
            fit, before, closing = second, cleared, open_now.model.label if open_now is not None else ""
        return FitEstimate(
            question,
            fit,
            model.largest_context(question, before),
            model.most_layers(question, before),
            model.layers,
            model.trained_context,
            len(room.gpus),
            model.adapter_bytes,
            closing,
        )
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None


def room_without(open_now: EngineInfo | None, room: Room) -> Room:
    """What is free once the open model is closed."""
    memory = open_now.memory if open_now is not None else None
    if memory is None or open_now is None:
        return room
    if open_now.gpu_layers:
        held = memory.on_gpus or {memory.device: memory.total_bytes}
        if not any(gpu.name in held for gpu in room.gpus):
            return room
        grown = (replace(gpu, free_bytes=gpu.free_bytes + held.get(gpu.name, 0)) for gpu in room.gpus)
        return Room(room.host, tuple(grown))
    # The pages of a file that is mapped count as free already.
    freed = memory.kv_bytes + memory.compute_bytes
    return Room(replace(room.host, free_bytes=room.host.free_bytes + freed), room.gpus)
