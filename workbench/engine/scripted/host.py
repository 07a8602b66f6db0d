"""The host of scripted models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, EngineHost, ProgressCallback
from workbench.core.errors import CancelledError, UnknownModelError, did_you_mean
from workbench.core.models import Catalog, EngineInfo, LibraryView, ModelEntry, Naming
from workbench.core.parameters import LoadSettings
from workbench.core.recipe import Recipe
from workbench.engine.scripted.engine import Clock, ScriptedEngine, Sleep, Stopwatch
from workbench.engine.scripted.script import ScriptedModel, demo_model


class ScriptedHost(EngineHost, Catalog):
    """Opens scripted models, the built-in one where none are given, and lists them as a catalog.

    Attributes:
        opened: Every engine that was opened, in order.
    """

    def __init__(
        self,
        scripted: Sequence[ScriptedModel] = (),
        *,
        clock: Clock = time.perf_counter_ns,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._models = {model.entry.ref: model for model in scripted or (demo_model(),)}
        self._clock = clock
        self._sleep = sleep
        self.opened: list[ScriptedEngine] = []

    @override
    async def models(self) -> Sequence[ModelEntry]:
        return tuple(model.entry for model in self._models.values())

    @override
    async def watch(self, *, again: bool = False) -> AsyncGenerator[LibraryView, None]:
        models = tuple(await self.models())
        yield LibraryView(models, (), len(models), len(models), complete=True)

    @override
    async def name_elsewhere(self, path: str, naming: Naming) -> str:
        raise UnknownModelError(f"{path} has no other name.", "Leave it at the path.")

    @override
    async def find_recipe(self, ref: str) -> Recipe | None:
        model = self._models.get(ref)
        return model.entry.recipe if model else None

    @override
    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        model = self._models.get(ref)
        if model is None:
            raise UnknownModelError(f"There is no model {ref!r}.", did_you_mean(ref, self._models))
        watch = Stopwatch(self._clock, self._sleep, cancel)
        start = watch.now()
        for step in range(model.pace.load_steps):
            if cancel.is_set:
                raise CancelledError(f"Loading {model.entry.label} was stopped.")
            on_progress(step / model.pace.load_steps)
            await watch.pause(model.pace.load_seconds / model.pace.load_steps)
        if cancel.is_set:
            raise CancelledError(f"Loading {model.entry.label} was stopped.")
        if model.load_error is not None:
            raise model.load_error
        on_progress(1.0)
        context = settings.num_ctx or min(model.context, model.entry.context_length or model.context)
        info = EngineInfo(
            model.entry,
            replace(settings, num_ctx=context, num_gpu=max(0, settings.num_gpu), num_thread=settings.num_thread or 1),
            backend=model.backend,
            load_ms=(watch.now() - start) / 1e6,
            memory=model.memory,
            vocabulary="script",
            warnings=model.warnings,
            recommended=model.recommended,
            measured_by=model.measured_by,
        )
        engine = ScriptedEngine(model, info, self._clock, self._sleep)
        self.opened.append(engine)
        return engine

    @override
    async def shutdown(self) -> None:
        for engine in self.opened:
            await engine.close()
