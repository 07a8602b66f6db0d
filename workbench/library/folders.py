"""The model files below a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workbench.core.models import ScanProblem
from workbench.gguf.names import SUFFIX, is_sidecar, parse_shard

Identity = tuple[int, int]
"""Device and inode: the same for every name of one file or folder."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model on disk: one file, or all parts of a split one."""

    paths: tuple[Path, ...]
    """The file, or the parts that are there, in order; the first is the one to open."""
    size_bytes: int
    missing: tuple[str, ...] = ()
    """The file names of the parts that are not there."""
    folder: Path | None = None
    """The folder that was searched."""

    @property
    def path(self) -> Path:
        """The file to open."""
        return self.paths[0]


@dataclass(slots=True)
class Scan:
    """What a search found."""

    files: list[ModelFile] = field(default_factory=list)
    problems: list[ScanProblem] = field(default_factory=list)


def scan(folders: Iterable[Path]) -> Scan:
    """Search `folders` and everything below them for model files.

    Symbolic links are followed. A folder or file that several names lead to is taken once, under the first of them, so
    that loops end. What cannot be read is reported and left out.
    """
    result = Scan()
    seen: set[Identity] = set()
    for folder in folders:
        found = dict(_walk(folder, seen, result.problems))
        result.files.extend(_grouped(found, folder))
    return result


def model_file(path: Path) -> ModelFile:
    """The model that the file `path` is, or is a part of."""
    shard = parse_shard(path.name)
    if shard is None:
        return ModelFile((path,), _size(path))
    parts = [path.with_name(name) for name in shard.names]
    present = tuple(part for part in parts if part.is_file()) or (path,)
    missing = tuple(part.name for part in parts if part not in present)
    return ModelFile(present, sum(_size(part) for part in present), missing)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _walk(root: Path, seen: set[Identity], problems: list[ScanProblem]) -> Iterator[tuple[Path, int]]:
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            identity = _identity(folder.stat())
            if identity in seen:
                continue
            seen.add(identity)
            with os.scandir(folder) as entries:
                children = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(ScanProblem(folder, _reason(error)))
            continue
        for child in children:
            path = Path(child.path)
            is_model = child.name.casefold().endswith(SUFFIX) and not is_sidecar(child.name)
            try:
                status = child.stat()
            except OSError as error:
                if is_model or not isinstance(error, FileNotFoundError):
                    problems.append(ScanProblem(path, _reason(error)))
                continue
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)
            elif is_model and _identity(status) not in seen:
                seen.add(_identity(status))
                yield path, status.st_size


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such folder or file"
    if isinstance(error, PermissionError):
        return "reading it is not permitted"
    return error.strerror or str(error)


def _grouped(found: dict[Path, int], folder: Path) -> Iterator[ModelFile]:
    """The model files among `found`, with the parts of a split one put together."""
    done: set[Path] = set()
    for path, size in found.items():
        if path in done:
            continue
        shard = parse_shard(path.name)
        if shard is None:
            yield ModelFile((path,), size, folder=folder)
            continue
        parts = [path.with_name(name) for name in shard.names]
        present = tuple(part for part in parts if part in found) or (path,)
        done.update(present)
        missing = tuple(part.name for part in parts if part not in found)
        yield ModelFile(present, sum(found[part] for part in present), missing, folder)
