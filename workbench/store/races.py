"""The kept races: one JSON file each, with every answer and every figure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from typing_extensions import override

from workbench.core.errors import TargetError
from workbench.lab.race.report import RaceBook
from workbench.store.documents import new_id, replace_json


class RaceFolder(RaceBook):
    """Keeps races in a folder.

    Args:
        folder: The folder; it need not exist.
        clock: Seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    @override
    def new_id(self) -> str:
        return new_id(self._clock)

    @override
    async def keep(self, race: str, document: Mapping[str, object]) -> None:
        path = self._folder / f"{race}.json"
        try:
            await asyncio.to_thread(replace_json, path, document)
        except OSError as error:
            raise TargetError(
                f"The race cannot be kept in {path}: {error.strerror or error}.", "It can still be exported."
            ) from error
