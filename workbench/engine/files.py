"""Looks into model files with what the engine knows of this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

from workbench.gguf.check import check_loadable
from workbench.gguf.fit import FitModel, Room


class LocalFiles:
    """The model files of this machine. llama.cpp is imported when it is first needed."""

    async def fit_model(self, path: Path) -> FitModel:
        """The model in `path`, to be asked what fits.

        Raises:
            ModelFileError: It cannot be read, or is no model.
        """
        return await asyncio.to_thread(_fit_model, path)

    async def room(self) -> Room:
        """What is free on this machine now."""
        return await asyncio.to_thread(_room)


def _fit_model(path: Path) -> FitModel:
    from workbench.engine.llama.devices import look_at_machine

    return FitModel(check_loadable(path), look_at_machine().repacked)


def _room() -> Room:
    from workbench.engine.llama.devices import look_at_machine
    from workbench.engine.llama.plan import room_on

    return room_on(look_at_machine())
