"""Which programs run: each holds a lock that dies with it, so that a session can tell whether its program lives."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path

from workbench.store.locks import try_lock

_SUFFIX = ".lock"


class Presence:
    """The mark that this program runs, in a folder that all programs share.

    Args:
        folder: Where the marks are; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._pid = 0
        self._token = ""

    def token(self) -> str:
        """The name of this program; its mark is there when this returns.

        Raises:
            OSError: It cannot be made.
        """
        if self._descriptor is None or self._pid != os.getpid():
            self._token = f"{os.getpid()}-{secrets.token_hex(4)}"
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()
            path = self._path(self._token)
            # A mark is locked before it has its name, so that nobody takes it for that of a dead program.
            unnamed = path if sys.platform == "win32" else path.with_suffix(".new")
            descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try_lock(descriptor)
            if unnamed != path:
                unnamed.rename(path)
            self._descriptor, self._pid = descriptor, os.getpid()
        return self._token

    def _sweep(self) -> None:
        """Remove the marks of dead programs."""
        for path in self._folder.glob(f"*{_SUFFIX}"):
            self.is_alive(path.name.removesuffix(_SUFFIX))

    def _path(self, token: str) -> Path:
        return self._folder / f"{token}{_SUFFIX}"

    def is_alive(self, token: str) -> bool:
        """Whether the program of that name still runs. The mark of a dead one is removed."""
        if not token or Path(token).name != token:
            return False
        path = self._path(token)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return False
        try:
            if not try_lock(descriptor, shared=True):
                return True
        finally:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        return False

    def leave(self) -> None:
        """Take the mark away."""
        if self._descriptor is not None and self._pid == os.getpid():
            os.close(self._descriptor)
            with contextlib.suppress(OSError):
                self._path(self._token).unlink()
        self._descriptor = None
