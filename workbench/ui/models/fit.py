"""Estimates whether models fit: reads their files, measures the free memory, and works out what each would take.

It holds no widget. Files are read in threads; an estimate is worked out between two keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.models import EngineInfo, LoadRecord, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.gguf.fit import DEFAULT_CONTEXT, FitModel, FitQuestion
from workbench.gguf.placement import ALL_LAYERS
from workbench.gguf.shares import DeviceRoom, Fit, Room
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.models.what_if import CHOICES, WhatIf, next_context, typed_context
from workbench.ui.services import Services

KEPT = 64
"""Files that are kept as read, at most."""
SETTLE_SECONDS = 0.08
"""How long the cursor has to rest on a model before its file is read."""
NO_GPU = "This build of llama.cpp sees no GPU."
UNKNOWN = "The layout of this file is unknown: its memory cannot be estimated."


class FitEstimator:
    """Estimates the memory of models, with settings on trial."""

    def __init__(
        self, services: Services, base: Callable[[], LoadSettings], open_now: Callable[[], EngineInfo | None]
    ) -> None:
        self._services = services
        self._base = base
        self._open_now = open_now
        self._room: Room | None = None
        self._models: dict[ModelEntry, FitModel | str] = {}
        """What was read of each file; the text of the error where it could not be read."""
        self._records: dict[str, LoadRecord | None] = {}
        self._estimates: dict[ModelEntry, FitEstimate | None] = {}
        self._estimated_with: tuple[object, ...] = ()
        self.what_if = WhatIf(base())

    def knows(self, model: ModelEntry) -> bool:
        """Whether the file of a model was read."""
        return model in self._models

    async def learn(self, models: Sequence[ModelEntry]) -> AsyncGenerator[ModelEntry, None]:
        """Read what is not known of some models, after a moment in which it can be cancelled; yields each that is."""
        if not all(self.knows(model) for model in models):
            await asyncio.sleep(SETTLE_SECONDS)
        if self._room is None:
            await self.look()
        for model in models:
            await self.read(model)
            await self.recall(model)
            yield model

    async def read(self, model: ModelEntry) -> None:
        if model in self._models:
            return
        if model.path is None or model.problem:
            self._models[model] = "" if model.problem else "It has no file, so its memory cannot be estimated."
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
        if model.path is not None:
            records = await self._services.loads.recall(model.path)
            self._records[model.path] = records[0] if records else None
        if isinstance(known := self._models.get(model), FitModel):
            correction = await self._services.loads.correction(known.architecture)
            if correction != known.correction:
                known.correction = correction
                self._estimates.pop(model, None)

    async def look(self) -> bool:
        """Measure the free memory. Returns whether it has changed."""
        before, self._room = self._room, await self._services.files.room()
        return before != self._room

    def record(self, model: ModelEntry) -> LoadRecord | None:
        """The last load of a model; None where none is known."""
        return self._records.get(model.path or "")

    def problem(self, model: ModelEntry) -> str:
        """Why there is no estimate for a model; empty where there is one, or where its file was not read yet."""
        known = self._models.get(model)
        if isinstance(known, FitModel):
            return UNKNOWN if self._room is not None and self.estimate(model) is None else ""
        return clean_line(known or "")

    def estimate(self, model: ModelEntry) -> FitEstimate | None:
        """The memory of a model with the settings on trial; None where it cannot be estimated, or not yet."""
        known, room = self._models.get(model), self._room
        if not isinstance(known, FitModel) or room is None:
            return None
        settings, open_now = self.what_if.settings, self._open_now()
        if (settings, room, open_now) != self._estimated_with:
            self._estimated_with = (settings, room, open_now)
            self._estimates.clear()
        if model not in self._estimates:
            self._estimates[model] = estimate_fit(known, settings, room, open_now)
        return self._estimates[model]

    def follow(self) -> None:
        """Take over the current settings of the conversation; the changes on trial stay."""
        self.what_if = self.what_if.on(self._base())

    def try_next(self, name: str, step: int, model: ModelEntry | None) -> None:
        """Try the next value of a setting.

        Args:
            name: The parameter, `longest` for the longest context that fits, `fullest` for the most on the GPUs, or
                `reset`.
            step: 1 for more of it, -1 for less, where there is an order.
            model: The selected model; None where it is a heading.

        Raises:
            ParameterError: There is no such value.
        """
        estimate = self.estimate(model) if model is not None else None
        if name == "reset":
            self.what_if = WhatIf(self.what_if.base)
        elif name in CHOICES:
            self.what_if = self.what_if.next(name)
        elif name == "num_ctx":
            now = estimate.question.n_ctx if estimate else self.what_if.settings.num_ctx or DEFAULT_CONTEXT
            trained = estimate.model.trained_context if estimate else None
            self.what_if = self.what_if.put(name, next_context(now, step, trained))
        elif estimate is not None and model is not None:
            self._try_with(name, step, model, estimate)

    def _try_with(self, name: str, step: int, model: ModelEntry, estimate: FitEstimate) -> None:
        """Try the next value of a setting that depends on the estimate."""
        if name == "longest":
            if not estimate.largest:
                raise ParameterError("No context fits with these settings.")
            self.what_if = self.what_if.put("num_ctx", estimate.largest)
        elif not estimate.gpus:
            raise ParameterError(NO_GPU)
        elif name == "num_cpu_moe":
            self.what_if = self.what_if.put(name, self._experts(estimate, step))
        elif name == "devices":
            self.what_if = self.what_if.put(name, self._next_devices())
        elif name == "fullest":
            self._fill_gpus(model, estimate)
        else:
            layers = max(0, min(estimate.model.layers, estimate.fit.gpu_layers + step))
            self.what_if = self.what_if.put("num_gpu", layers)

    def _fill_gpus(self, model: ModelEntry, estimate: FitEstimate) -> None:
        """All layers on the GPUs, with the fewest experts on the CPU; where that is not enough, the most layers."""
        fewest = estimate.experts
        if estimate.model.expert_layers:
            self.what_if = self.what_if.put("num_cpu_moe", ALL_LAYERS if fewest is None else fewest)
            estimate = self.estimate(model) or estimate
        self.what_if = self.what_if.put("num_gpu", estimate.most if fewest is None else estimate.model.layers)

    def _experts(self, estimate: FitEstimate, step: int) -> int:
        """More layers with their experts on the CPU, or fewer."""
        count = estimate.model.layers - 1
        if not estimate.model.expert_layers:
            raise ParameterError("This model has no experts.")
        now = self.what_if.settings.num_cpu_moe
        return max(0, min(count, (count if now < 0 else now) + step))

    def _next_devices(self) -> tuple[str, ...]:
        """Each GPU alone, and then all of them."""
        names = [gpu.name for gpu in self._room.gpus] if self._room else []
        ways = [(), *((name,) for name in names)]
        now = self.what_if.settings.devices
        return ways[(ways.index(now) + 1) % len(ways)] if now in ways else ()

    def try_context(self, text: str) -> None:
        """Try the context that was typed; no text changes nothing. Raises ParameterError."""
        if text.strip():
            self.what_if = self.what_if.put("num_ctx", typed_context(text))


@dataclass(frozen=True, slots=True)
class FitEstimate:
    """The memory that a model would take on this machine with some settings."""

    model: FitModel
    question: FitQuestion
    fit: Fit
    largest: int
    """The longest context that fits, in tokens; 0 for none."""
    most: int
    """The most layers that fit on the GPUs."""
    gpus: int
    """The number of GPUs."""
    experts: int | None = None
    """The fewest layers with their experts on the CPU with which all layers fit on the GPUs; None where none do."""
    closing: str = ""
    """The open model, if it has to be closed before this one fits."""

    @property
    def short_of(self) -> Sequence[tuple[str, int]]:
        """The devices without room, and the missing bytes of each."""
        return [
            (share.device.name, share.total_bytes - max(0, usable_bytes(share.device)))
            for share in self.fit.shares
            if not share.fits
        ]

    @property
    def spare_bytes(self) -> int:
        """The bytes that stay free on the fullest device."""
        return min((usable_bytes(share.device) - share.total_bytes for share in self.fit.shares), default=0)


def usable_bytes(device: DeviceRoom) -> int:
    """The free bytes of a device without its reserve; negative where the reserve is not free."""
    return device.free_bytes - device.reserve_bytes


def estimate_fit(
    model: FitModel, settings: LoadSettings, room: Room, open_now: EngineInfo | None = None
) -> FitEstimate | None:
    """Estimate the memory of a model; None for a file with an unknown layout.

    `open_now` is the open model, which is closed if it has to be.
    """
    try:
        question = model.question(settings)
        cleared = room_without(open_now, room)
        # A model on a GPU is closed before the next one is loaded; one in the memory of the host only if it has to be.
        before = cleared if open_now is not None and open_now.gpu_layers else room
        fit, closing = model.price(question, before), ""
        if not fit.fits and cleared != before and (second := model.price(question, cleared)).fits:
            fit, before, closing = second, cleared, open_now.model.label if open_now is not None else ""
        largest, most = model.largest_context(question, before), model.most_layers(question, before)
        experts = model.fewest_cpu_experts(question, before)
        return FitEstimate(model, question, fit, largest, most, len(room.gpus), experts, closing)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None


def room_without(open_now: EngineInfo | None, room: Room) -> Room:
    """The free memory once the open model is closed."""
    if open_now is None or (memory := open_now.memory) is None:
        return room
    if open_now.gpu_layers:
        held = memory.on_gpus or {memory.device: memory.total_bytes}
        if not any(gpu.name in held for gpu in room.gpus):
            return room
        grown = (replace(gpu, free_bytes=gpu.free_bytes + held.get(gpu.name, 0)) for gpu in room.gpus)
        return Room(room.host, tuple(grown))
    # The pages of a memory-mapped file count as free already.
    freed = memory.kv_bytes + memory.compute_bytes
    return Room(replace(room.host, free_bytes=room.host.free_bytes + freed), room.gpus)
