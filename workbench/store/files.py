"""Write files atomically: a crash leaves the old one or the new one, never a part.

What this program writes holds private words: new files can be read by their owner alone, and so can new folders.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from workbench.core.errors import DiskFullError, TargetError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_OTHERS = 0o077
"""The permissions of everybody but the owner."""
_TEMPORARY = re.compile(r"\.workbench-[0-9a-f]{12}\.tmp")
ABANDONED_AFTER_S = 3600.0
"""The age of a temporary file whose program was killed: writing one takes a moment."""

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The errors of a disk, a quota or a limit of the process that lets nothing more be written."""


def random_name(size: int) -> str:
    """`size` random bytes as hexadecimal digits."""
    # The module `secrets` does the same, and loads OpenSSL, which the first paint would wait for.
    return os.urandom(size).hex()


def not_written(what: str, error: OSError, hint: str) -> TargetError:
    """The error that says why `what` cannot be written; `hint` helps unless the disk is full."""
    message = f"{what}: {error.strerror or error}."
    return (
        DiskFullError(message, "Free some space there, or name another disk.")
        if error.errno in DISK_FULL
        else TargetError(message, hint)
    )


def open_private(path: str, flags: int) -> int:
    """An opener for `open`: a file that it creates can be read by its owner alone."""
    return os.open(path, flags, PRIVATE_FILE)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, for their owner alone; existing ones stay as they are.

    Raises:
        OSError: It cannot be created.
    """
    for missing in reversed([each for each in (folder, *folder.parents) if not each.is_dir()]):
        missing.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def make_private(folders: Iterable[Path]) -> None:
    """Take the permissions of others from folders of this program and from the files in them, where there are any.

    Links stay as they are, and so does what cannot be changed.
    """
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in (*folder.iterdir(), folder):
                with contextlib.suppress(OSError):
                    mode = path.lstat().st_mode
                    if mode & _OTHERS and (stat.S_ISREG(mode) or (path is folder and stat.S_ISDIR(mode))):
                        path.chmod(stat.S_IMODE(mode) & ~_OTHERS)


def remove_abandoned(folders: Iterable[Path]) -> None:
    """Remove the temporary files that killed programs left in folders of this program, where there are any."""
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in folder.glob(".workbench-*.tmp"):
                with contextlib.suppress(OSError):
                    if _TEMPORARY.fullmatch(path.name) and time.time() - path.lstat().st_mtime > ABANDONED_AFTER_S:
                        path.unlink()


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to disk, where the system supports it."""
    with contextlib.suppress(OSError):  # Windows opens no folders, and some file systems sync none.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _finished_temporary(target: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A file beside `target` with `data` on disk; removed afterwards unless it was moved."""
    temporary = target.with_name(f".workbench-{random_name(6)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = open_private(str(temporary), flags)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode != PRIVATE_FILE:
            temporary.chmod(mode)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes) -> None:
    """Replace the file `path` by `data` atomically.

    A symbolic link is kept and its target is written; the permissions of an existing file are kept.

    Raises:
        OSError: It cannot be written; the old file is unchanged.
    """
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    try:
        mode = target.stat().st_mode & 0o7777
    except FileNotFoundError:
        mode = PRIVATE_FILE
    with _finished_temporary(target, data, mode) as temporary:
        temporary.replace(target)
    sync_folder(target.parent)


def numbered(stem: str, suffix: str = "") -> Iterator[str]:
    """A name, then `stem-2.suffix`, `stem-3.suffix` and so on."""
    yield stem + suffix
    yield from (f"{stem}-{number}{suffix}" for number in itertools.count(2))


def _claim(source: Path, target: Path) -> bool:
    """Give the file `source` the name `target` unless that exists; returns whether it was free."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError:  # Without hard links an empty file takes the name first: nobody ever sees a part of the data.
        try:
            os.close(open_private(str(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        try:
            source.replace(target)
        except OSError:
            target.unlink()
            raise
    return True


def write_new_file(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> Path:
    """Write `data` to `path`, or to the first free numbered name if that exists; returns the path written.

    `mode` are the permissions; by default the owner alone may read it.

    Raises:
        OSError: It cannot be written.
    """
    make_folder(path.parent)
    with _finished_temporary(path, data, mode) as temporary:
        names = map(path.with_name, numbered(path.stem, path.suffix))
        written = next(name for name in names if _claim(temporary, name))
    sync_folder(path.parent)
    return written


def write_copy(folder: Path, text: str, clock: Callable[[], float] = time.time) -> Path:
    """Write a copied text to a new file in `folder`, named after the time.

    Raises:
        TargetError: It cannot be written.
    """
    path = folder / time.strftime("copied-%Y%m%d-%H%M%S.txt", time.localtime(clock()))
    try:
        return write_new_file(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise not_written(f"The copy cannot be written to {path}", error, "See its permissions.") from error
