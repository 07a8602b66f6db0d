"""The models in llama.cpp's caches: the older one is flat, the newer one is laid out as the Hugging Face cache."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from workbench.core.models import ScanProblem
from workbench.gguf.names import SUFFIX, parse_name
from workbench.library.folders import (
    UNFINISHED,
    Finding,
    Found,
    ModelFile,
    is_model_name,
    listed,
    model_files,
    place_in,
    read_each,
    size_of,
)
from workbench.library.huggingface import find_in_cache
from workbench.library.places import Places

LLAMA_CPP = "llama.cpp"
_SUFFIX = ".downloadInProgress"
"""The end of the names of unfinished downloads."""
_MANIFEST = re.compile(r"manifest=(?P<user>[^=]+)=(?P<repo>[^=]+)=[^=]*\.json")


def find_llama_cpp(places: Places) -> Iterator[Finding]:
    """Every GGUF in llama.cpp's caches."""
    named = places.named("LLAMA_CACHE")
    if named is not None:
        yield from find_in_cache(named, LLAMA_CPP)
        yield from _flat(named, optional=False)
    yield from _flat(_older_cache(places))


def _older_cache(places: Places) -> Path:
    match places.platform:
        case "darwin":
            return places.home / "Library" / "Caches" / "llama.cpp"
        case "win32":
            return (places.named("LOCALAPPDATA") or places.home / "AppData" / "Local") / "llama.cpp"
        case _:
            return places.cache / "llama.cpp"


def _flat(folder: Path, *, optional: bool = True) -> Iterator[Finding]:
    others: list[Path | ScanProblem] = []
    unfinished: list[Path] = []
    repositories: dict[str, str] = {}
    for item in listed(folder, optional=optional):
        if isinstance(item, Path) and (manifest := _MANIFEST.fullmatch(item.name)):
            repositories[f"{manifest['user']}_{manifest['repo']}_"] = f"{manifest['user']}/{manifest['repo']}"
        elif isinstance(item, Path) and item.name.endswith(_SUFFIX) and is_model_name(item.name.removesuffix(_SUFFIX)):
            unfinished.append(item)
        else:
            others.append(item)
    yield from read_each(
        model_files(others), lambda file: [_found(file, file.path.name, repositories)], lambda file: file.path
    )
    for path in unfinished:
        yield _found(ModelFile((path,), size_of(path)), path.name.removesuffix(_SUFFIX), repositories, UNFINISHED)


def _found(file: ModelFile, name: str, repositories: dict[str, str], problem: str = "") -> Found:
    """A file of the flat cache, which is named after user, repository and file."""
    prefix, repository = _repository(name, repositories)
    parts = parse_name(name[len(prefix) :])
    place = place_in(LLAMA_CPP, file, repository)
    return Found(file, place, name=parts.base, quant=parts.quant, problem=problem)


def _repository(name: str, repositories: dict[str, str]) -> tuple[str, str]:
    """The prefix of a file name that stands for a repository, and the repository."""
    for prefix, repository in repositories.items():
        if name.startswith(prefix) and name[len(prefix) :].casefold() != SUFFIX:
            return prefix, repository
    # Without a manifest: repositories of GGUF files mostly end in -GGUF, and user names have no underscores.
    repository, found, rest = name.partition("-GGUF_")
    if found and "_" in repository and rest.casefold() != SUFFIX:
        return f"{repository}{found}", f"{repository.replace('_', '/', 1)}-GGUF"
    return "", ""
