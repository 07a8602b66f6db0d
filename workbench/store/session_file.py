"""One session's file on disk: found, locked, read, and appended to.

Everything here blocks and belongs in the store's writer thread.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path

from workbench.core.errors import SessionError
from workbench.store.files import sync_folder
from workbench.store.locks import try_lock

SUFFIX = ".jsonl"

_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
_LOCK_TRIES = 5
_LOCK_PAUSE_S = 0.02


def new_id(now: float) -> str:
    """An id that sorts by time and can be typed: date and time in UTC."""
    return time.strftime("%y%m%d-%H%M%S", time.gmtime(now))


def write_failed(path: Path, error: OSError) -> SessionError:
    """The error of a session that did not reach the disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "Free some space"
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        remedy = "See who may write there"
    else:
        remedy = "Look after the disk"
    return SessionError(
        f"The session cannot be written to {path}: {error.strerror or error}.",
        f"{remedy}: what is missing is kept in memory and written with the next message. An export elsewhere is safe.",
    )


def read_failed(path: Path, error: OSError) -> SessionError:
    """The error of a session that cannot be read."""
    return SessionError(f"The session {path} cannot be read: {error.strerror or error}.")


def _sync(descriptor: int, *, metadata: bool) -> None:
    # macOS has no fdatasync.
    (os.fsync if metadata else getattr(os, "fdatasync", os.fsync))(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_all(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    chunks = []
    while chunk := os.read(descriptor, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)


def _lock_patiently(descriptor: int) -> bool:
    # Whoever looks for interrupted sessions holds a shared lock for a moment: that is no writer.
    for attempt in range(_LOCK_TRIES):
        if attempt:
            time.sleep(_LOCK_PAUSE_S)
        if try_lock(descriptor):
            return True
    return False


def is_locked(path: Path) -> bool:
    """Whether a living program writes this session.

    Raises:
        OSError: The file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return not try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


class SessionFile:
    """Appends to one file, and loses nothing when the disk refuses.

    Lines that could not be written stay in memory and go first when the next ones are written.

    Args:
        path: Where the file is, or where a new one is to be made. A new one takes the next free name when that is
            taken.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first_path = path
        self._descriptor: int | None = None
        self._unwritten: list[bytes] = []
        self._torn_at: int | None = None
        self._closed = False

    @property
    def id(self) -> str:
        """The id of the session; of a new one it may still change until its first line is on disk."""
        return self._path.name.removesuffix(SUFFIX)

    @property
    def closed(self) -> bool:
        """Whether it was closed; nothing can be appended any more."""
        return self._closed

    def open_existing(self) -> bytes:
        """Lock the file and read it.

        Raises:
            SessionError: It cannot be opened, or another program has it open.
        """
        try:
            descriptor = os.open(self._path, _FLAGS)
        except OSError as error:
            raise SessionError(
                f"The session {self.id} cannot be opened to go on: {error.strerror or error}.",
                "It can still be exported.",
            ) from error
        try:
            if not _lock_patiently(descriptor):
                raise SessionError(
                    f"The session {self.id} is open in another program.", "Close it there, or start a new one here."
                )
            text = _read_all(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise read_failed(self._path, error) from error
        except SessionError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        if text and not text.endswith(b"\n"):
            self._unwritten.append(b"\n")
        return text

    def append(self, lines: Iterable[bytes], *, metadata: bool = True) -> None:
        """Write what is still unwritten and then `lines`; they are on disk when this returns.

        Args:
            lines: Whole lines.
            metadata: Whether the file's times are made durable too; a partial answer can do without.

        Raises:
            SessionError: The disk refused. The lines are kept for the next time.
        """
        if self._closed:
            raise SessionError(f"The session {self.id} is closed.")
        self._unwritten.extend(lines)
        if not self._unwritten:
            return
        try:
            self._flush(metadata=metadata)
        except OSError as error:
            raise write_failed(self._path, error) from error

    def close(self) -> None:
        """Give the file and its lock back."""
        self._closed = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _flush(self, *, metadata: bool) -> None:
        if self._descriptor is None:
            self._descriptor = self._create()
        elif os.fstat(self._descriptor).st_nlink == 0 and not self._path.exists():
            self._restore(self._descriptor)
        descriptor = self._descriptor
        # A write that failed half-way would otherwise be read twice: once torn or whole, and once again.
        if self._torn_at is not None:
            os.ftruncate(descriptor, self._torn_at)
        self._torn_at = os.fstat(descriptor).st_size
        _write_all(descriptor, b"".join(self._unwritten))
        _sync(descriptor, metadata=metadata)
        self._torn_at = None
        self._unwritten.clear()

    def _create(self) -> int:
        first = self._first_path
        first.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = 1
        while True:
            try:
                descriptor = os.open(self._path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
                break
            except FileExistsError:
                number += 1
                self._path = first.with_name(f"{first.name.removesuffix(SUFFIX)}-{number}{SUFFIX}")
        try_lock(descriptor)
        sync_folder(first.parent)
        return descriptor

    def _restore(self, descriptor: int) -> None:
        """Somebody deleted the file while it was open: what it held is written to a new one."""
        text = _read_all(descriptor)[: self._torn_at]
        self._descriptor = self._create()
        self._unwritten.insert(0, text)
        self._torn_at = None
        os.close(descriptor)
