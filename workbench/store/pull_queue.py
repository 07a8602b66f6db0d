"""The queues of downloads on disk: one file a program, with a lock that ends with it, so that the next one goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from typing_extensions import override

from workbench.core.json_reader import read_json
from workbench.core.pulls import PullBook, PullRequest
from workbench.store.files import make_folder, random_name, replace_file
from workbench.store.locks import try_lock

_SUFFIX = ".json"


class PullQueueFiles(PullBook):
    """The queue files in a folder, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"{random_name(6)}{_SUFFIX}"
        self._lock: int | None = None
        """Open and locked from the first request on, until the program ends."""

    @override
    def keep(self, requests: Sequence[PullRequest]) -> None:
        with suppress(OSError):
            if not requests:
                self._path.unlink(missing_ok=True)
                return
            make_folder(self._folder)
            if self._lock is None:
                self._lock = _locked(_lock_of(self._path))
            replace_file(self._path, json.dumps([asdict(request) for request in requests], indent=1).encode())

    @override
    def take_over(self) -> Sequence[PullRequest]:
        left: dict[str, PullRequest] = {}
        for path in self._others():
            try:
                lock = _locked(_lock_of(path))
            except OSError:
                continue
            if lock is None:
                # Its program runs.
                continue
            try:
                left |= {request.ref: request for request in _read(path)}
                # Kept under the own name before the other one goes.
                self.keep([*left.values()])
                path.unlink(missing_ok=True)
                _lock_of(path).unlink(missing_ok=True)
            except OSError:
                continue
            finally:
                os.close(lock)
        return [*left.values()]

    def _others(self) -> list[Path]:
        try:
            return sorted(path for path in self._folder.iterdir() if path.suffix == _SUFFIX and path != self._path)
        except OSError:
            return []


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _locked(path: Path) -> int | None:
    """The descriptor of a locked file; None where another program has the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _read(path: Path) -> Iterator[PullRequest]:
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text(encoding="utf-8"))
        for item in found if isinstance(found, list) else ():
            with suppress(ValueError, TypeError):
                yield read_json(PullRequest, item)
