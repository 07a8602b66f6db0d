"""The target file of a quantization: written under a temporary name, checked, and then renamed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

from workbench.core.errors import DiskFullError, ModelFileError, QuantizeError, TargetError
from workbench.core.units import size_text
from workbench.gguf.reader import read_header
from workbench.gguf.targets import TargetSize

SPARE_BYTES = 16 * 2**20
"""Space that has to stay free on the disk beside the file."""

ABANDONED_AFTER_S = 24 * 3600.0
"""The age of a temporary file whose programs were killed, both of them: a large tensor takes minutes."""

_TEMPORARY = re.compile(r"\..{1,60}\.[0-9a-f]{8}\.part", re.DOTALL)

LONGEST_NAME = 255
"""The longest file name that common file systems take, in bytes."""


def check_target(target: Path, source: Path) -> None:
    """Check that `target` can be a new file.

    Raises:
        TargetError: Something is there already, or its folder is not.
    """
    if os.path.lexists(target):
        same = target.exists() and target.samefile(source)
        what = "this is the source itself" if same else "there is something already"
        raise TargetError(f"{target}: {what}.", "Name another file, or move that one away.")
    if len(os.fsencode(target.name)) > LONGEST_NAME:
        raise TargetError(f"{target.parent}: the name of the new file is too long.", "Name a shorter one.")
    if not target.parent.is_dir():
        raise TargetError(f"{target.parent}: there is no such folder.", "Make it first, or name another.")


def check_room(target: Path, size: TargetSize) -> None:
    """Raise a `DiskFullError` unless the disk has room for a file of `size`."""
    free = shutil.disk_usage(target.parent).free
    if size.file_bytes + SPARE_BYTES > free:
        raise _disk_full(target, size.file_bytes, free)


def temporary_path(target: Path) -> Path:
    """The name of a temporary file beside `target`; a `TargetError` says that nothing can be written there.

    Those that killed programs left in this folder are removed.
    """
    _remove_abandoned(target.parent)
    partial = target.with_name(f".{target.name[:60]}.{secrets.token_hex(4)}.part")
    try:
        partial.open("xb").close()
        # ext4 flushes a file that was truncated as soon as it is closed, in the time of the computation.
        partial.unlink()
    except OSError as error:
        raise TargetError(
            f"{target.parent}: nothing can be written there: {error.strerror or error}.",
            "Name a file in a folder of your own.",
        ) from None
    return partial


def _remove_abandoned(folder: Path) -> None:
    with suppress(OSError):
        for path in folder.glob(".*.part"):
            with suppress(OSError):
                is_old = time.time() - path.lstat().st_mtime > ABANDONED_AFTER_S
                if is_old and _TEMPORARY.fullmatch(path.name) and path.is_file():
                    path.unlink()


def writing_failed(target: Path, partial: Path, size: TargetSize, message: str) -> TargetError | None:
    """The error where writing made llama.cpp fail, which it does not report; None where it was not the cause."""
    with suppress(OSError):
        written, free = partial.stat().st_size, shutil.disk_usage(partial.parent).free
        if free < size.file_bytes - written:
            return _disk_full(target, size.file_bytes, written + free)
        if "iostream" in message:
            return TargetError(
                f"{target}: writing it failed after {size_text(written)} of {size_text(size.file_bytes)}.",
                "The disk, a quota or a limit on the size of files is in the way.",
            )
    return None


def check_result(partial: Path, size: TargetSize) -> None:
    """Raise a `QuantizeError` unless the file is complete, which llama.cpp does not check."""
    try:
        written = read_header(partial).tensor_bytes
    except ModelFileError as error:
        raise QuantizeError(f"The file that llama.cpp wrote is damaged: {error.message}", "Try again.") from None
    if written != size.weights_bytes:
        raise QuantizeError(
            f"llama.cpp wrote {written} bytes of weights where {size.weights_bytes} were expected.", "Try again."
        )


def give_name(partial: Path, target: Path) -> None:
    """Rename the finished file to its target, without replacing an existing file.

    Raises:
        TargetError: A file of this name exists by now, or the name is refused.
    """
    try:
        try:
            # Unlike a rename, this does not replace an existing file.
            os.link(partial, target)
        except FileExistsError:
            raise TargetError(f"{target}: there is something already.", "Name another file.") from None
        except OSError:
            partial.rename(target)
    except OSError as error:
        raise TargetError(f"{target}: {error.strerror or error}.", "Name another file.") from None
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _disk_full(target: Path, needed: int, free: int) -> DiskFullError:
    return DiskFullError(
        f"{target.parent}: {size_text(needed)} are needed there, and {size_text(free)} are free.",
        "Make room, write it elsewhere, or choose a smaller type.",
    )
