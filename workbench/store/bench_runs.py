"""The kept benchmark runs: one JSON file each, with every raw sample."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from typing_extensions import override

from workbench.core.errors import BenchRunError, did_you_mean
from workbench.core.json_reader import read_json
from workbench.lab.bench.record import BenchBook, BenchRecord
from workbench.store.documents import keep_json, new_id

log = logging.getLogger(__name__)

VERSION = 1

_ID = re.compile(r"\d{6}-\d{6}-[0-9a-f]{4}")


class BenchRunFolder(BenchBook):
    """Keeps runs in a folder, which need not exist."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    @override
    def new_id(self) -> str:
        return new_id(self._clock)

    def save(self, record: BenchRecord) -> None:
        """The blocking form of `keep`."""
        path, content = self._folder / f"{record.id}.json", {"version": VERSION, **asdict(record)}
        keep_json(path, content, BenchRunError, "run", "The figures are on the screen.")

    @override
    async def keep(self, record: BenchRecord) -> None:
        await asyncio.to_thread(self.save, record)

    @override
    async def kept(self) -> Sequence[BenchRecord]:
        return await asyncio.to_thread(self.records)

    def ids(self) -> list[str]:
        """The ids of all runs, the newest first."""
        try:
            names = [path.stem for path in self._folder.glob("*.json")]
        except OSError:
            return []
        return sorted((name for name in names if _ID.fullmatch(name)), reverse=True)

    def records(self) -> list[BenchRecord]:
        """The blocking form of `kept`."""
        found = []
        for run in self.ids():
            try:
                found.append(self._read(run))
            except BenchRunError as error:
                log.warning("%s", error.message)
        return found

    def load(self, name: str) -> BenchRecord:
        """The run whose id is `name` or begins with it; `last` is the newest.

        Raises:
            BenchRunError: There is none, there are several, or it cannot be read.
        """
        ids = self.ids()
        found = ids[:1] if name == "last" else [run for run in ids if run.startswith(name)] if name else []
        if name in found:
            found = [name]
        if not found:
            hint = did_you_mean(name, ids) or "`workbench bench --list` shows the kept runs."
            raise BenchRunError(f"There is no benchmark run {name!r}.", hint)
        if len(found) > 1:
            raise BenchRunError(f"{len(found)} runs begin with {name!r}.", f"They are {', '.join(found[:5])} ….")
        return self._read(found[0])

    def _read(self, run: str) -> BenchRecord:
        path = self._folder / f"{run}.json"
        try:
            content = json.loads(path.read_bytes())
            return replace(read_json(BenchRecord, content, "the run"), id=run)
        except OSError as error:
            raise BenchRunError(f"{path} cannot be read: {error.strerror or error}.") from error
        except (ValueError, RecursionError) as error:
            raise BenchRunError(f"{path} is no benchmark run: {error}.", "It can be deleted.") from error
