"""The records of loads, in one JSON document: memory expected and used, and speed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from typing_extensions import override

from workbench.core.json_reader import read_json
from workbench.core.memory import Correction, correction_of
from workbench.core.models import LoadBook, LoadRecord
from workbench.store.files import make_folder, replace_file
from workbench.store.locks import changing

log = logging.getLogger(__name__)

KEPT = 200


class FileLoadBook(LoadBook):
    """Keeps the newest records of loads in a file, which need not exist.

    Unreadable records are ignored, and a failed write is only logged: a load must not fail because of its record.
    """

    def __init__(self, path: Path, kept: int = KEPT) -> None:
        self._path = path
        self._kept = kept

    @override
    async def remember(self, record: LoadRecord) -> None:
        await asyncio.to_thread(self._remember, record)

    @override
    async def recall(self, path: str) -> Sequence[LoadRecord]:
        records = await asyncio.to_thread(self._read)
        return [record for record in records if record.path == path]

    @override
    async def correction(self, architecture: str) -> Correction:
        records = await asyncio.to_thread(self._read)
        compared = (record.compared for record in records if record.architecture == architecture)
        return correction_of(next(filter(None, compared), ()))

    def _remember(self, record: LoadRecord) -> None:
        key = (record.path, record.settings)
        try:
            make_folder(self._path.parent)
            # Another program may add a record at the same time.
            with changing(self._path.parent):
                others = [other for other in self._read() if (other.path, other.settings) != key]
                content = {"version": 1, "loads": [asdict(each) for each in [record, *others][: self._kept]]}
                replace_file(self._path, (json.dumps(content, indent=1) + "\n").encode())
        except OSError as error:
            log.warning("%s: the load is not remembered: %s", self._path, error)

    def _read(self) -> list[LoadRecord]:
        """The records, newest first."""
        try:
            content = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            log.warning("%s: the records of loads cannot be read: %s", self._path, error)
            return []
        loads = content.get("loads") if isinstance(content, dict) else None
        records = [_record(item) for item in loads] if isinstance(loads, list) else []
        return [record for record in records if record is not None]


def _record(item: object) -> LoadRecord | None:
    try:
        return read_json(LoadRecord, item, strict=True)
    except ValueError:
        return None
