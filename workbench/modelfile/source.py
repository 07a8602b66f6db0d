"""Modelfiles on disk: recognize and read them."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from workbench.core.errors import ModelfileError
from workbench.modelfile.meaning import Modelfile, ModelfileReport, examine
from workbench.modelfile.syntax import ModelfileSyntaxError, check

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
        # Without O_NONBLOCK, opening a pipe would block until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ModelfileError(f"{path}: there is no such file.", _HINT) from None
    except (OSError, ValueError) as error:
        raise ModelfileError(f"{path} cannot be read: {_reason(error)}.", _HINT) from error
    try:
        data = _read(descriptor)
    except (OSError, ValueError) as error:
        raise ModelfileError(f"{path} cannot be read: {_reason(error)}.", _HINT) from error
    finally:
        os.close(descriptor)
    if data.startswith(b"GGUF"):
        raise ModelfileError(f"{path}: this is a model (GGUF), not a Modelfile.", _HINT)
    if len(data) > MAX_BYTES:
        raise ModelfileError(f"{path}: a Modelfile has at most {MAX_BYTES >> 20} MiB.", _HINT)
    return data


def _read(descriptor: int) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError("it is a directory" if stat.S_ISDIR(mode) else "it is not a regular file")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_BYTES + 1)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


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
        first = reading.first_error
        error = ModelfileSyntaxError(first.message, first.hint, first.line, first.column)
        more = len(reading.errors) - 1
        others = f" `workbench modelfile check` shows {more} more." if more else ""
        raise ModelfileError(f"{path}: {error.message}", f"{error.hint}{others}".strip()) from None
    return reading.modelfile, reading
