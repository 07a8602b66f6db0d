"""File locks that end with their process, so that two programs never write one session."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHANGE_SECONDS = 10.0
"""How long to wait for a change that another program makes, which without the lock would be lost.

It takes milliseconds, seconds on a busy disk, and for ever only in a program that was stopped in the middle of it.
"""

_CHANGING = threading.RLock()
_HELD_FOLDERS: set[Path] = set()
_HELD = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})

if sys.platform == "win32":
    import msvcrt

    # Locks are mandatory on Windows: the locked byte is far beyond the text, where nobody reads.
    _LOCKED_BYTE = 0x7FFF0000

    def _lock(descriptor: int, *, shared: bool) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, *, shared: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed, without waiting; False if another process holds the lock.

    A shared lock excludes only exclusive ones. A file system without locks counts as free.
    """
    try:
        _lock(descriptor, shared=shared)
    except OSError as error:
        return error.errno not in _HELD
    return True


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Keep other threads and programs from changing files in `folder` inside the `with` block, if they use this too.

    Reading a file, and writing it again with a change, then loses nothing that another program wrote in between. The
    lock is that of the folder itself, which needs no space; on Windows it is that of a file in it.
    """
    with _CHANGING:
        descriptor = None
        with suppress(OSError):
            if folder in _HELD_FOLDERS:
                pass  # Nested: another descriptor would wait for the first.
            elif sys.platform == "win32":
                descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
            else:
                descriptor = os.open(folder, os.O_RDONLY)
        try:
            deadline = time.monotonic() + CHANGE_SECONDS
            while descriptor is not None and not try_lock(descriptor) and time.monotonic() < deadline:
                time.sleep(0.005)
            if descriptor is not None:
                _HELD_FOLDERS.add(folder)
            yield
        finally:
            if descriptor is not None:
                _HELD_FOLDERS.discard(folder)
                os.close(descriptor)
