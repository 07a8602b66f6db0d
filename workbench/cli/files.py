"""From a model reference to the file that it means, and to its headers."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from workbench.cli.composition import Workers
from workbench.core.errors import ModelFileError
from workbench.core.models import ModelEntry
from workbench.gguf.header import Header
from workbench.gguf.names import parse_shard
from workbench.gguf.reader import read_header


def find_file(workers: Workers, ref: str) -> tuple[ModelEntry, Path]:
    """The model that `ref` means, and its file.

    Raises:
        WorkbenchError: It names nothing, or a model that has no file.
    """
    entry = workers.catalog.resolve(ref)
    if entry.path is None:
        raise ModelFileError(f"{entry.name} has no file to look at.", "Name a .gguf file, or `demo`.")
    return entry, Path(entry.path)


def read_headers(path: Path, arrays: Container[str] = frozenset()) -> tuple[Header, ...]:
    """The header of a file; of the first part of a split file those of the parts that are there.

    Raises:
        ModelFileError: A file cannot be read.
    """
    first = read_header(path, arrays=arrays)
    shard = parse_shard(path.name)
    if shard is None or shard.number != 1:
        return (first,)
    parts = [path.with_name(name) for name in shard.names[1:]]
    return (first, *(read_header(part) for part in parts if part.is_file()))
