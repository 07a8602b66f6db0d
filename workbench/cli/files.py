"""Resolves a model reference to a file."""

from __future__ import annotations

from pathlib import Path

from workbench.cli.composition import Workers
from workbench.core.errors import ModelFileError
from workbench.core.models import ModelEntry


def find_file(workers: Workers, ref: str) -> tuple[ModelEntry, Path]:
    """The model that `ref` names, and its file.

    Raises:
        WorkbenchError: `ref` names no model, or one that has no file.
    """
    entry = workers.catalog.resolve(ref)
    if entry.path is None:
        raise ModelFileError(f"{entry.name} has no file to read.", "Name a .gguf file, or `demo`.")
    return entry, Path(entry.path)
