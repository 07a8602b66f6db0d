"""Kept races: one JSON file each, with every answer and every figure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from workbench.core.errors import TargetError
from workbench.lab.race.book import RaceBook
from workbench.store.documents import keep_json, new_id

if TYPE_CHECKING:
    from workbench.lab.race.kept import KeptRace


class RaceFolder(RaceBook):
    """Keeps races in a folder, which need not exist."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    @override
    def new_id(self) -> str:
        return new_id(self._clock)

    @override
    async def keep(self, race: str, document: Mapping[str, object]) -> None:
        path = self._folder / f"{race}.json"
        await asyncio.to_thread(keep_json, path, document, TargetError, "race", "It can still be exported.")

    @override
    async def kept(self) -> Sequence[KeptRace]:
        from workbench.lab.race.kept import KeptRace
        from workbench.store.kept_runs import RunFolder

        return await RunFolder(self._folder, KeptRace, TargetError, "race", "workbench compare").kept()
