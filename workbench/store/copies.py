"""Texts that were copied where the terminal may not take them: a file each, for nobody else to read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from workbench.core.errors import TargetError
from workbench.store.files import write_new_file

PRIVATE = 0o600


def write_copy(folder: Path, text: str, clock: Callable[[], float] = time.time) -> Path:
    """Write a text to a new file in `folder`, named after the time; gives its path.

    Args:
        folder: Where; it is made when it is needed.
        text: What to write.
        clock: Seconds since 1970.

    Raises:
        TargetError: It cannot be written.
    """
    path = folder / time.strftime("copied-%Y%m%d-%H%M%S.txt", time.localtime(clock()))
    try:
        return write_new_file(path, text.encode("utf-8", "replace"), PRIVATE)
    except OSError as error:
        raise TargetError(
            f"The copy cannot be written to {path}: {error.strerror or error}.",
            "Make room, or let it be written there.",
        ) from error
