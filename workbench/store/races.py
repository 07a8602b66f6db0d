"""The kept races: one JSON file each, with every answer and every figure."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from workbench.core.errors import TargetError
from workbench.store.files import replace_file, write_new_file


class RaceFolder:
    """Keeps races in a folder, and writes them elsewhere.

    Args:
        folder: The folder; it need not be there.
        clock: Seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def new_id(self) -> str:
        """An id that no other race has."""
        return f"{time.strftime('%y%m%d-%H%M%S', time.gmtime(self._clock()))}-{secrets.token_hex(2)}"

    async def keep(self, race: str, document: Mapping[str, object]) -> None:
        """Keep a race, in the place of an earlier state of it.

        Raises:
            TargetError: It cannot be written.
        """
        path = self._folder / f"{race}.json"
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        try:
            await asyncio.to_thread(replace_file, path, text.encode("utf-8", "replace"))
        except OSError as error:
            raise TargetError(
                f"The race cannot be kept in {path}: {error.strerror or error}.", "It can still be exported."
            ) from error

    async def write(self, path: Path, text: str) -> Path:
        """Write `text` to `path`, or to a numbered name beside it where that is taken; gives the path written.

        Raises:
            TargetError: It cannot be written.
        """
        try:
            return await asyncio.to_thread(write_new_file, path, text.encode("utf-8", "replace"))
        except OSError as error:
            raise TargetError(f"{path}: {error.strerror or error}.", "Name a file in a folder of your own.") from error
