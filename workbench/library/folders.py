"""Search for model files below a folder, and what the stores of other programs share."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from workbench.core.models import Place, ScanProblem
from workbench.gguf.names import SUFFIX, Piece, parse_piece, parse_shard, piece_order

log = logging.getLogger(__name__)

FileId = tuple[int, int]
"""Device and inode: equal for every name of one file or folder."""
MOST_JSON = 1 << 20
"""Size limit of manifests and settings, in bytes; they take some kilobytes."""
UNFINISHED = "incomplete: the download was not finished. Start it again to resume it."


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model on disk: one file, or all parts of a split one."""

    paths: tuple[Path, ...]
    """The file, or the parts that exist, in order; the first is the one to open."""
    size_bytes: int
    missing: tuple[str, ...] = ()
    """The file names of missing parts."""

    @property
    def path(self) -> Path:
        """The file to open."""
        return self.paths[0]


@dataclass(frozen=True, slots=True)
class Found:
    """A model that a source lists, before its file is read. What the source does not state is empty."""

    file: ModelFile
    place: Place
    name: str = ""
    """Its name; empty for the name of its file."""
    quant: str | None = None
    """The quantization that the source states."""
    parameters: int | None = None
    digest: str | None = None
    problem: str = ""
    """Why it cannot be opened, where that is known without reading it."""


Finding = Found | ScanProblem
Item = TypeVar("Item")


def read_each(
    items: Iterable[Item | ScanProblem], read: Callable[[Item], Iterable[Finding]], place: Callable[[Item], Path | str]
) -> Iterator[Finding]:
    """What `read` finds in each of `items`. One for which it raises anything is left out, and reported."""
    for item in items:
        if isinstance(item, ScanProblem):
            yield item
            continue
        try:
            yield from read(item)
        except Exception as error:
            log.exception("%s cannot be read", place(item))
            yield ScanProblem(place(item), reason(error))


def find_in_folders(folders: Iterable[Path]) -> Iterator[Finding]:
    """Search `folders` and everything below them for model files.

    Symbolic links are followed. A folder with several names is searched once, under the first of them, so that loops
    end. What cannot be read is reported and skipped.
    """
    seen: set[FileId] = set()
    for folder in folders:
        for item in walk(folder, seen):
            if isinstance(item, ModelFile):
                yield found_in(item, str(folder))
            else:
                yield item


def found_in(file: ModelFile, source: str) -> Found:
    """A model whose only name is its path."""
    return Found(file, place_in(source, file))


def place_in(source: str, file: ModelFile, name: str = "") -> Place:
    """The place of a model that is opened by its path; `name` is its name in `source`."""
    return Place(source, str(file.path), str(file.path), name)


def walk(root: Path, seen: set[FileId] | None = None) -> Iterator[ModelFile | ScanProblem]:
    """The model files in `root` and below, except in folders in `seen`, to which those searched now are added."""
    seen = set() if seen is None else seen
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            identity = file_id(folder.stat())
            if identity in seen:
                continue
            seen.add(identity)
            with os.scandir(folder) as entries:
                children = sorted(entries, key=lambda entry: entry.name)
        except (OSError, ValueError) as error:
            yield ScanProblem(folder, reason(error))
            continue
        files: dict[Path, int] = {}
        for child in children:
            path = Path(child.path)
            is_model = is_model_name(child.name)
            try:
                status = child.stat()
            except OSError as error:
                if is_model or not isinstance(error, FileNotFoundError):
                    yield ScanProblem(path, reason(error))
                continue
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)
            elif is_model:
                files[path] = status.st_size
        yield from put_together(files)


def model_file(path: Path) -> ModelFile:
    """The model that the file `path` is, or is a part of."""
    piece, shard = parse_piece(path.name), parse_shard(path.name)
    parts: Iterable[Path] = map(path.with_name, shard.names) if shard else (path,)
    if piece is not None:
        beside = (child for child in listed(path.parent) if isinstance(child, Path))
        parts = (child for child in beside if piece.is_beside(child.name))
    present = {part: size_of(part) for part in parts if stat.S_ISREG(mode_of(part))}
    return next(put_together(present or {path: size_of(path)}))


def is_model_name(name: str) -> bool:
    """Whether a file of this name may be a model, and not a hidden file or an accessory of a model."""
    folded = name.casefold()
    if SUFFIX not in folded or folded.startswith((".", "mtp-")) or "mmproj" in folded:
        return False
    return folded.endswith(SUFFIX) or parse_piece(name) is not None


def mode_of(path: Path) -> int:
    """The file mode of `path`; 0 where nothing exists there, or where it is not a valid path."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def size_of(path: Path) -> int:
    """The size of the file `path` in bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def file_id(status: os.stat_result) -> FileId:
    """The identity of a file or folder, regardless of its name."""
    return status.st_dev, status.st_ino


def reason(error: Exception) -> str:
    """Why something could not be read."""
    if not isinstance(error, OSError):
        return f"it is left out, because reading it failed ({type(error).__name__}: {error})"
    if isinstance(error, FileNotFoundError):
        return "there is no such folder or file"
    if isinstance(error, PermissionError):
        return "reading it is not permitted"
    return error.strerror or str(error)


def put_together(files: dict[Path, int]) -> Iterator[ModelFile]:
    """The models among `files` (path to size), with the parts of a split one joined."""
    done: set[Path] = set()
    for path, size in files.items():
        if path in done:
            continue
        if (piece := parse_piece(path.name)) is not None:
            file = _pieces(piece, {part: files[part] for part in files if piece.is_beside(part.name)})
            done.update(file.paths)
            if path.with_name(piece.whole) not in files:
                yield file
            continue
        shard = parse_shard(path.name)
        if shard is None:
            yield ModelFile((path,), size)
            continue
        parts = [path.with_name(name) for name in shard.names]
        present = tuple(part for part in parts if part in files) or (path,)
        done.update(present)
        missing = tuple(part.name for part in parts if part not in files)
        yield ModelFile(present, sum(files[part] for part in present), missing)


def _pieces(piece: Piece, files: dict[Path, int]) -> ModelFile:
    """A model that was cut into the pieces `files`, which must be joined before it can be opened."""
    paths = sorted(files, key=lambda path: piece_order(path.name))
    there = {parsed.number.lstrip("0") for path in paths if (parsed := parse_piece(path.name))}
    missing = [number for number in range(1, (piece.count or 0) + 1) if str(number) not in there]
    return ModelFile(tuple(paths), sum(files.values()), tuple(f"piece {number} of {piece.count}" for number in missing))


def model_files(children: Iterable[Path | ScanProblem]) -> Iterator[ModelFile | ScanProblem]:
    """The models among the files of a folder, and the problems among `children` and of their own."""
    files: dict[Path, int] = {}
    for child in children:
        if isinstance(child, ScanProblem):
            yield child
        elif is_model_name(child.name):
            try:
                status = child.stat()
            except OSError as error:
                yield ScanProblem(child, reason(error))
                continue
            if not stat.S_ISDIR(status.st_mode):
                files[child] = status.st_size
    yield from put_together(files)


def read_small(path: Path) -> bytes:
    """The content of a regular file of at most `MOST_JSON` bytes.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger, or not a regular file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_JSON:
        raise ValueError(path)
    return path.read_bytes()


def subfolders(folder: Path) -> Iterator[Path | ScanProblem]:
    """The folders in `folder` by name, without hidden ones, or why they cannot be listed."""
    for child in listed(folder):
        if isinstance(child, ScanProblem):
            yield child
            continue
        try:
            if stat.S_ISDIR(child.stat().st_mode):
                yield child
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                yield ScanProblem(child, reason(error))


def listed(folder: Path, *, optional: bool = True) -> Iterator[Path | ScanProblem]:
    """Everything in `folder` by name, except hidden ones, or why it cannot be listed; it may be missing if optional."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except (OSError, ValueError) as error:
        if not (optional and isinstance(error, FileNotFoundError)):
            yield ScanProblem(folder, reason(error))
        return
    yield from (folder / name for name in names)
