"""Modelfiles on disk: recognize and read them."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from workbench.core.errors import ModelfileError
from workbench.modelfile.meaning import Modelfile, ModelfileReport, examine
from workbench.modelfile.syntax import check

MAX_BYTES = 256 * 2**20
"""The largest file that is read; a Modelfile with many licenses has a few hundred kilobytes."""

SNIFFED_BYTES = 2**20
"""The largest file of another name that is checked."""

_HINT = "Name a Modelfile."


def is_modelfile_name(name: str) -> bool:
    """Whether a file name is that of a Modelfile: `Modelfile`, `Modelfile.NAME` or `NAME.Modelfile`."""
    folded = name.casefold()
    return folded == "modelfile" or folded.startswith("modelfile.") or folded.endswith(".modelfile")


def is_modelfile(path: Path) -> bool:
    """Whether the file `path` is a Modelfile, by its name or its content."""
    if is_modelfile_name(path.name):
        return True
    if path.name.casefold().endswith(".gguf"):
        return False
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            data = file.read(SNIFFED_BYTES)
    except (OSError, ValueError):
        return False
    if not data or len(data) == SNIFFED_BYTES or data.startswith(b"GGUF"):
        return False
    return check(data)[1] is None


def read_bytes(path: Path) -> bytes:
    """The content of the file `path`.

    Raises:
        ModelfileError: It does not exist, cannot be read, or cannot be a Modelfile.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is not a regular file")
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ModelfileError(f"{path}: there is no such file.", _HINT) from None
    except (OSError, ValueError) as error:
        reason = isinstance(error, OSError) and error.strerror
        raise ModelfileError(f"{path} cannot be read: {reason or error}.", _HINT) from error
    if data.startswith(b"GGUF"):
        raise ModelfileError(f"{path}: this is a model (GGUF), not a Modelfile.", _HINT)
    if len(data) > MAX_BYTES:
        raise ModelfileError(f"{path}: a Modelfile has at most {MAX_BYTES >> 20} MiB.", _HINT)
    return data


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a pipe would block until somebody writes to it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def examine_file(path: Path) -> ModelfileReport:
    """Check the Modelfile `path`: its values, and all errors and warnings.

    Raises:
        ModelfileError: It cannot be read.
    """
    return examine(read_bytes(path))


def read_file(path: Path) -> tuple[Modelfile, ModelfileReport]:
    """The values of the Modelfile `path`, and the result of checking it.

    Raises:
        ModelfileError: It cannot be read, or Ollama would refuse it; the message has file, line and column.
    """
    reading = examine_file(path)
    if reading.modelfile is None:
        error = reading.first_error
        more = len(reading.errors) - 1
        others = f" `workbench modelfile check` shows {more} more." if more else ""
        raise ModelfileError(f"{path}: {error.message}", f"{error.hint}{others}".strip()) from None
    return reading.modelfile, reading
