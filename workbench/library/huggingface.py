"""The models in the Hugging Face cache: snapshots of repositories, with links to blobs named by their content hash."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from workbench.core.models import ScanProblem
from workbench.library.folders import (
    UNFINISHED,
    FileId,
    Finding,
    Found,
    ModelFile,
    is_model_name,
    listed,
    mode_of,
    place_in,
    put_together,
    read_each,
    reason,
    size_of,
    subfolders,
    walk,
)
from workbench.library.places import Places
from workbench.library.pull.part import PART_SUFFIX

HUGGING_FACE = "huggingface"
REPOSITORY_PREFIX = "models--"
_UNFINISHED_SUFFIXES = (".incomplete", ".downloadInProgress", PART_SUFFIX)
"""Of huggingface_hub, of llama.cpp, and of `workbench pull`."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def cache_folder(places: Places) -> Path:
    """The folder of the cache, which need not exist."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if (named := places.named(variable)) is not None:
            return named
    home = places.named("HF_HOME")
    return (places.cache / "huggingface" if home is None else home) / "hub"


def find_hugging_face(places: Places) -> Iterator[Finding]:
    """Every GGUF in the Hugging Face cache."""
    yield from find_in_cache(cache_folder(places), HUGGING_FACE)


def find_in_cache(cache: Path, source: str) -> Iterator[Finding]:
    """Every GGUF in a folder of a program `source` that is laid out as the Hugging Face cache, and need not exist."""
    yield from read_each(subfolders(cache), lambda folder: _find_in_repository(folder, source), lambda folder: folder)


def _find_in_repository(folder: Path, source: str) -> Iterator[Finding]:
    if not folder.name.startswith(REPOSITORY_PREFIX):
        return
    repository = folder.name.removeprefix(REPOSITORY_PREFIX).replace("--", "/", 1)
    taken: set[tuple[str, Path]] = set()
    seen: set[FileId] = set()
    for snapshot in _snapshots(folder):
        if isinstance(snapshot, ScanProblem):
            yield snapshot
            continue
        for item in walk(snapshot, seen):
            if isinstance(item, ScanProblem):
                yield _broken_link(item, repository, source) or item
                continue
            # The snapshots of a repository mostly share files.
            key = str(item.path.relative_to(snapshot)), item.path.resolve()
            if key not in taken:
                taken.add(key)
                yield Found(item, place_in(source, item, repository), digest=_digest(item))
    yield from _unfinished(folder / "blobs", repository, source)


def _snapshots(folder: Path) -> list[Path | ScanProblem]:
    """The snapshots of a repository, those that a branch names first."""
    named = set()
    for ref in listed(folder / "refs"):
        if isinstance(ref, Path) and stat.S_ISREG(mode_of(ref)) and size_of(ref) <= 100:
            try:
                commit = ref.read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                continue
            if _COMMIT.fullmatch(commit):
                named.add(commit)
    snapshots = list(subfolders(folder / "snapshots"))
    return sorted(snapshots, key=lambda item: isinstance(item, ScanProblem) or item.name not in named)


def _digest(file: ModelFile) -> str | None:
    """SHA-256 of a file in one part: the name of the blob that it links to."""
    if len(file.paths) > 1 or file.missing or not file.path.is_symlink():
        return None
    name = file.path.readlink().name
    return name if _SHA256.fullmatch(name) else None


def _broken_link(problem: ScanProblem, repository: str, source: str) -> Found | None:
    path = Path(problem.path)
    if not path.is_symlink() or not is_model_name(path.name) or mode_of(path.parent / path.readlink()):
        return None
    (file,) = put_together({path: 0})
    why = "incomplete: its blob is missing from the cache. Download it again."
    return Found(file, place_in(source, file, repository), problem=why)


def _unfinished(blobs: Path, repository: str, source: str) -> Iterator[Finding]:
    """Unfinished downloads, which no snapshot names yet."""
    for item in listed(blobs):
        if isinstance(item, ScanProblem):
            yield item
        elif item.name.endswith(_UNFINISHED_SUFFIXES) and stat.S_ISREG(mode_of(item)):
            try:
                with item.open("rb") as file:
                    is_model = file.read(4) == b"GGUF"
            except OSError as error:
                yield ScanProblem(item, reason(error))
                continue
            if is_model:
                part = ModelFile((item,), size_of(item))
                name = repository.rpartition("/")[2]
                yield Found(part, place_in(source, part, repository), name=name, problem=UNFINISHED)
