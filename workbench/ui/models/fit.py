"""Asks what fits: reads model files and the machine, keeps what it learned, and prices what is in hand.

It holds no widget. Files are read in threads; a price is worked out between two keys.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workbench.core.errors import WorkbenchError
from workbench.core.models import EngineInfo, LoadRecord, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.gguf.fit import FitModel, Room
from workbench.ui.models.fit_lines import Answer, ask
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.services import Services
from workbench.ui.models.what_if import WhatIf

KEPT = 64
"""Files that are kept as read, at most."""
UNKNOWN = "Its layout is unknown here: what it needs cannot be told."


class Fitter:
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
        self._answers: dict[ModelEntry, Answer | None] = {}
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
            self._answers.pop(oldest, None)

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
            return UNKNOWN if self._room is not None and self.answer(model) is None else ""
        return clean_line(known or "")

    def answer(self, model: ModelEntry) -> Answer | None:
        """What a model would take with the settings on trial; None where that is not known."""
        known, room = self._models.get(model), self._room
        if not isinstance(known, FitModel) or room is None:
            return None
        settings, open_now = self.what_if.settings, self._open_now()
        if (settings, room, open_now) != self._priced_with:
            self._priced_with = (settings, room, open_now)
            self._answers.clear()
        if model not in self._answers:
            self._answers[model] = ask(known, settings, room, open_now)
        return self._answers[model]

    def follow(self) -> None:
        """Begin with the settings that the conversation has now; what is on trial stays on trial."""
        self.what_if = self.what_if.on(self._base())
