"""File locks that end with their process, so that two programs never write one session."""

from __future__ import annotations

import errno
import os
import sys

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
