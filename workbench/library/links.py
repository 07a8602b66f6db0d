"""A second name for a file that takes no second space: a reflink where the file system has them, else a hard link."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from workbench.core.errors import TargetError
from workbench.core.units import size_text

Way = Literal["reflink", "hard link"]
_FICLONE = 0x40049409
"""The request of Linux that shares the extents of a file (`ioctl_ficlone(2)`); in `fcntl` from Python 3.14 on."""

EFFECTS: dict[Way, str] = {
    "reflink": "the two files share their space until one is changed; deleting one leaves the other",
    "hard link": "one file with two names; deleting one name leaves the other, and damage or a repair reaches both",
}
"""What a link means for its user."""


def link_file(source: Path, target: Path) -> Way:
    """Let the content of `source` appear under `target` too, which must not exist. Nothing is copied.

    Raises:
        TargetError: The two places cannot share a file.
    """
    source = source.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if _reflink(source, target):
            return "reflink"
        os.link(source, target)
    except OSError as error:
        raise _refusal(source, target, error) from error
    return "hard link"


def _reflink(source: Path, target: Path) -> bool:
    """Clone a file; False where the system or the file system cannot."""
    if sys.platform == "darwin":
        library = ctypes.CDLL(None, use_errno=True)
        return library.clonefile(os.fsencode(source), os.fsencode(target), 0) == 0
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as opened:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.ioctl(descriptor, _FICLONE, opened.fileno())
        except OSError:
            target.unlink()
            return False
        finally:
            os.close(descriptor)
    return True


def _refusal(source: Path, target: Path, error: OSError) -> TargetError:
    size = ""
    with suppress(OSError):
        size = f" ({size_text(source.stat().st_size)})"
    if error.errno == errno.EEXIST:
        return TargetError(f"{target} exists.", "Move it away first.")
    why = error.strerror or str(error)
    hint = f"Nothing was copied{size}: copy it yourself if both are to have it."
    if error.errno == errno.EXDEV:
        why, hint = "they are on different disks", hint
    elif error.errno in {errno.EPERM, errno.EACCES}:
        why = "its owner does not allow it, or the file system has no links"
    return TargetError(f"{source} cannot be used from {target.parent} too: {why}.", hint)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths name one file, through symbolic links or hard links."""
    with suppress(OSError):
        return one.samefile(other)
    return False
