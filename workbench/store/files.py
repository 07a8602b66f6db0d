"""Write files atomically: a crash leaves the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from workbench.core.errors import TargetError


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to disk, where the system supports it."""
    with contextlib.suppress(OSError):  # Windows opens no folders, and some file systems sync none.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _finished_temporary(target: Path, data: bytes, mode: int | None) -> Iterator[Path]:
    """A file beside `target` with `data` on disk; removed afterwards unless it was moved."""
    temporary = target.with_name(f".workbench-{secrets.token_hex(6)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    # A private file must not be readable by others for a moment either.
    descriptor = os.open(temporary, flags, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
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
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        mode = target.stat().st_mode & 0o7777
    except FileNotFoundError:
        mode = None
    with _finished_temporary(target, data, mode) as temporary:
        temporary.replace(target)
    sync_folder(target.parent)


def numbered(stem: str, suffix: str = "") -> Iterator[str]:
    """A name, then `stem-2.suffix`, `stem-3.suffix` and so on."""
    yield stem + suffix
    yield from (f"{stem}-{number}{suffix}" for number in itertools.count(2))


def _claim(source: Path, target: Path, data: bytes, mode: int | None) -> bool:
    """Give `source` the name `target` unless that exists; returns whether it was free."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError:  # Without hard links the name is claimed first, then filled.
        return _fill(target, data, mode)
    return True


def _fill(target: Path, data: bytes, mode: int | None) -> bool:
    try:
        file = target.open("xb")
    except FileExistsError:
        return False
    try:
        with file:
            if mode is not None:
                target.chmod(mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        target.unlink()
        raise
    return True


def write_new_file(path: Path, data: bytes, mode: int | None = None) -> Path:
    """Write `data` to `path`, or to the first free numbered name if that exists; returns the path written.

    `mode` are the permissions; None for those of any new file.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _finished_temporary(path, data, mode) as temporary:
        names = map(path.with_name, numbered(path.stem, path.suffix))
        written = next(name for name in names if _claim(temporary, name, data, mode))
    sync_folder(path.parent)
    return written


def write_copy(folder: Path, text: str, clock: Callable[[], float] = time.time) -> Path:
    """Write a copied text to a new file in `folder`, named after the time and readable only by its owner.

    Raises:
        TargetError: It cannot be written.
    """
    path = folder / time.strftime("copied-%Y%m%d-%H%M%S.txt", time.localtime(clock()))
    try:
        return write_new_file(path, text.encode("utf-8", "replace"), 0o600)
    except OSError as error:
        raise TargetError(
            f"The copy cannot be written to {path}: {error.strerror or error}.",
            "Free some space there, or see its permissions.",
        ) from error
