"""Which programs run: each holds a file lock that ends with it, which shows whether the owner of a session is alive."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from workbench.store.files import make_folder, random_name
from workbench.store.locks import try_lock

_SUFFIX = ".lock"


class Presence:
    """The lock file of this program, in a folder that all programs share; the folder is created on demand."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._pid = 0
        self._token = ""

    def token(self) -> str:
        """The name of this program, whose lock file exists when this returns.

        Raises:
            OSError: It cannot be created.
        """
        if self._descriptor is None or self._pid != os.getpid():
            self._token = f"{os.getpid()}-{random_name(4)}"
            make_folder(self._folder)
            for path in self._folder.glob(f"*{_SUFFIX}"):
                self.is_alive(path.name.removesuffix(_SUFFIX))  # removes it if not
            path = self._path(self._token)
            # The file is locked before it gets its name, so that it never looks like that of a dead program.
            unnamed = path if sys.platform == "win32" else path.with_suffix(".new")
            descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try_lock(descriptor)
            if unnamed != path:
                unnamed.rename(path)
            self._descriptor, self._pid = descriptor, os.getpid()
        return self._token

    def _path(self, token: str) -> Path:
        return self._folder / f"{token}{_SUFFIX}"

    def is_alive(self, token: str) -> bool:
        """Whether the program of that name runs; the lock file of a dead one is removed."""
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
        """Remove the lock file."""
        if self._descriptor is not None and self._pid == os.getpid():
            os.close(self._descriptor)
            with contextlib.suppress(OSError):
                self._path(self._token).unlink()
        self._descriptor = None
