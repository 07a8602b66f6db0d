"""llama.cpp's own caches: the older one is flat, the newer one laid out like the Hugging Face cache."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from workbench.core.models import Place, ScanProblem
from workbench.gguf.names import SUFFIX, parse_name
from workbench.library.folders import (
    Finding,
    Found,
    ModelFile,
    is_model_name,
    listed,
    put_together,
    reason,
    size_of,
)
from workbench.library.huggingface import find_in_cache
from workbench.library.places import Places

LLAMA_CPP = "llama.cpp"
UNFINISHED = ".downloadInProgress"
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
    files: dict[Path, int] = {}
    unfinished: list[Path] = []
    repositories: dict[str, str] = {}
    for item in listed(folder, optional=optional):
        if isinstance(item, ScanProblem):
            yield item
        elif manifest := _MANIFEST.fullmatch(item.name):
            repositories[f"{manifest['user']}_{manifest['repo']}_"] = f"{manifest['user']}/{manifest['repo']}"
        elif item.name.endswith(UNFINISHED) and is_model_name(item.name.removesuffix(UNFINISHED)):
            unfinished.append(item)
        elif is_model_name(item.name):
            try:
                status = item.stat()
            except OSError as error:
                yield ScanProblem(item, reason(error))
                continue
            if not stat.S_ISDIR(status.st_mode):
                files[item] = status.st_size
    for file in put_together(files):
        yield _found(file, file.path.name, repositories)
    for path in unfinished:
        problem = "incomplete: the download was not finished. Start it again to go on with it."
        yield _found(ModelFile((path,), size_of(path)), path.name.removesuffix(UNFINISHED), repositories, problem)


def _found(file: ModelFile, name: str, repositories: dict[str, str], problem: str = "") -> Found:
    """A file of the flat cache, which is named after user, repository and file."""
    prefix, repository = _repository(name, repositories)
    parts = parse_name(name[len(prefix) :])
    place = Place(LLAMA_CPP, str(file.path), str(file.path), repository)
    return Found(file, place, name=parts.base, quant=parts.quant, problem=problem)


def _repository(name: str, repositories: dict[str, str]) -> tuple[str, str]:
    """The beginning of a file name that stands for a repository, and the repository."""
    for prefix, repository in repositories.items():
        if name.startswith(prefix) and name[len(prefix) :].casefold() != SUFFIX:
            return prefix, repository
    # Without a manifest beside it: repositories of GGUF files are mostly called so, and users have no underscores.
    repository, found, rest = name.partition("-GGUF_")
    if found and "_" in repository and rest.casefold() != SUFFIX:
        return f"{repository}{found}", f"{repository.replace('_', '/', 1)}-GGUF"
    return "", ""
