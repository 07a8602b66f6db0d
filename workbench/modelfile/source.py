"""Modelfiles on disk: which files are meant as one, and what is in them."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from workbench.core.errors import ModelfileError
from workbench.modelfile.meaning import Modelfile, ModelfileReport, examine
from workbench.modelfile.syntax import ModelfileSyntaxError, check

MAX_BYTES = 256 * 2**20
"""The largest file that is read; a Modelfile with many licenses has some hundred kilobytes."""

SNIFFED_BYTES = 2**20
"""A file of another name that is larger is not looked at."""

_HINT = "Name a Modelfile."


def is_modelfile_name(name: str) -> bool:
    """Whether a file of this name is meant as a Modelfile: `Modelfile`, `Modelfile.NAME` or `NAME.Modelfile`."""
    folded = name.casefold()
    return folded == "modelfile" or folded.startswith("modelfile.") or folded.endswith(".modelfile")


def is_modelfile(path: Path) -> bool:
    """Whether the file `path` is meant as a Modelfile: by its name, or because it can be read as one."""
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
    """What is in the file `path`.

    Raises:
        ModelfileError: There is none, it cannot be read, or it is none that a Modelfile could be.
    """
    try:
        # A pipe that nobody writes to would otherwise be waited for.
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
        raise ModelfileError(f"{path}: more than {MAX_BYTES >> 20} MiB is too much for a Modelfile.", _HINT)
    return data


def _read(descriptor: int) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError("it is a directory" if stat.S_ISDIR(mode) else "it is no ordinary file")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_BYTES + 1)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def examine_file(path: Path) -> ModelfileReport:
    """Read the Modelfile `path` as far as it goes, with everything that is wrong in it.

    Raises:
        ModelfileError: It cannot be read at all.
    """
    return examine(read_bytes(path))


def read_file(path: Path) -> tuple[Modelfile, ModelfileReport]:
    """The values of the Modelfile `path`, and how it was read.

    Raises:
        ModelfileError: It cannot be read, or Ollama would refuse it; file, line and column are told.
    """
    reading = examine_file(path)
    if reading.modelfile is None:
        first = reading.first_error
        told = ModelfileSyntaxError(first.message, first.hint, first.line, first.column)
        more = len(reading.errors) - 1
        others = f" `workbench modelfile check` tells {more} more." if more else ""
        raise ModelfileError(f"{path}: {told.message}", f"{told.hint}{others}".strip()) from None
    return reading.modelfile, reading
