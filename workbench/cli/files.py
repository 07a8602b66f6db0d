"""From a model reference to the file that it means."""

from __future__ import annotations

from pathlib import Path

from workbench.cli.composition import Workers
from workbench.core.errors import ModelFileError
from workbench.core.models import ModelEntry


def find_file(workers: Workers, ref: str) -> tuple[ModelEntry, Path]:
    """The model that `ref` means, and its file.

    Raises:
        WorkbenchError: It names nothing, or a model that has no file.
    """
    entry = workers.catalog.resolve(ref)
    if entry.path is None:
        raise ModelFileError(f"{entry.name} has no file to look at.", "Name a .gguf file, or `demo`.")
    return entry, Path(entry.path)
