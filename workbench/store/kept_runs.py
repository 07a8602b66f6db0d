"""Kept runs of experiments: one JSON file each, with every raw value."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from workbench.core.errors import BenchRunError, EvalError, WorkbenchError, did_you_mean
from workbench.core.json_reader import read_json
from workbench.lab.bench.record import BenchRecord
from workbench.lab.evals.blind_record import BlindRecord
from workbench.lab.evals.record import EvalRecord
from workbench.store.documents import keep_json, new_id

log = logging.getLogger(__name__)

VERSION = 1

_ID = re.compile(r"\d{6}-\d{6}-[0-9a-f]{4}")


class Kept(Protocol):
    """What is kept: a dataclass with an id."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> str:
        """Names it, and sorts by time."""


KeptRun = TypeVar("KeptRun", bound=Kept)


class RunFolder(Generic[KeptRun]):
    """Keeps runs of one type in a folder, which need not exist.

    `name` is what a run is called, `command` is the one that lists them, and failures are of the type `error`.
    """

    def __init__(
        self,
        folder: Path,
        record: type[KeptRun],
        error: type[WorkbenchError],
        name: str,
        command: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._record = record
        self._error = error
        self._name = name
        self._command = command
        self._clock = clock

    def new_id(self) -> str:
        """An id that no other run has."""
        return new_id(self._clock)

    def save(self, record: KeptRun) -> None:
        """The blocking form of `keep`."""
        path, content = self._folder / f"{record.id}.json", {"version": VERSION, **asdict(record)}
        keep_json(path, content, self._error, self._name, "The figures are on the screen.")

    async def keep(self, record: KeptRun) -> None:
        """Keep a run, in the place of an earlier state of it; raises an error of its type where that fails."""
        await asyncio.to_thread(self.save, record)

    async def kept(self) -> Sequence[KeptRun]:
        """All runs that can be read, the newest first."""
        return await asyncio.to_thread(self.records)

    def ids(self) -> list[str]:
        """The ids of all runs, the newest first."""
        try:
            names = [path.stem for path in self._folder.glob("*.json")]
        except OSError:
            return []
        return sorted((name for name in names if _ID.fullmatch(name)), reverse=True)

    def records(self) -> list[KeptRun]:
        """The blocking form of `kept`."""
        found = []
        for run in self.ids():
            try:
                found.append(self._read(run))
            except WorkbenchError as error:
                log.warning("%s", error.message)
        return found

    def load(self, name: str) -> KeptRun:
        """The run whose id is `name` or begins with it; `last` is the newest.

        Raises:
            WorkbenchError: There is none, there are several, or it cannot be read; an error of its type.
        """
        ids = self.ids()
        found = ids[:1] if name == "last" else [run for run in ids if run.startswith(name)] if name else []
        if name in found:
            found = [name]
        if not found:
            hint = did_you_mean(name, ids) or f"`{self._command} --list` shows the kept ones."
            raise self._error(f"There is no {self._name} {name!r}.", hint)
        if len(found) > 1:
            raise self._error(f"{len(found)} begin with {name!r}.", f"They are {', '.join(found[:5])} ….")
        return self._read(found[0])

    def _read(self, run: str) -> KeptRun:
        path = self._folder / f"{run}.json"
        try:
            content = json.loads(path.read_bytes())
            return replace(read_json(self._record, content, "the run"), id=run)
        except OSError as error:
            raise self._error(f"{path} cannot be read: {error.strerror or error}.") from error
        except (ValueError, RecursionError) as error:
            raise self._error(f"{path} is no {self._name}: {error}.", "It can be deleted.") from error


def bench_runs(folder: Path, clock: Callable[[], float] = time.time) -> RunFolder[BenchRecord]:
    """The kept benchmark runs in a folder."""
    return RunFolder(folder, BenchRecord, BenchRunError, "benchmark run", "workbench bench", clock)


def eval_runs(folder: Path) -> RunFolder[EvalRecord]:
    """The kept evaluations in a folder."""
    return RunFolder(folder, EvalRecord, EvalError, "evaluation", "workbench eval")


def blind_runs(folder: Path) -> RunFolder[BlindRecord]:
    """The kept blind tests in a folder."""
    return RunFolder(folder, BlindRecord, EvalError, "blind test", "workbench abx")
