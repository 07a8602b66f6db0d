"""The models in LM Studio's folders, which it lays out as publisher, model, file; other depths are found as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from workbench.core.models import ScanProblem
from workbench.library.folders import (
    FileId,
    Finding,
    Found,
    ModelFile,
    mode_of,
    place_in,
    read_each,
    read_small,
    walk,
)
from workbench.library.places import Places

LM_STUDIO = "lmstudio"
_MISSING = "{} this folder, which does not exist. Is its disk mounted?"


def models_folders(places: Places) -> dict[Path, str]:
    """The folders in which LM Studio may keep models, each with what to report if it is missing; empty if it may be."""
    homes = {places.home / ".lmstudio": "", places.home / ".cache" / "lm-studio": ""}
    if pointer := _text(places.home / ".lmstudio-home-pointer").strip():
        moved = places.expanded(pointer)
        homes = {moved: "" if mode_of(moved) else _MISSING.format("LM Studio's home was moved to")} | homes
    folders: dict[Path, str] = {}
    # A moved home leaves the former one behind, and a newer version leaves that of an older one.
    for home, missing in homes.items():
        if chosen := _setting(home / "settings.json", "downloadsFolder"):
            folders[places.expanded(chosen)] = _MISSING.format("LM Studio's settings name")
        folders.setdefault(home / "models", missing)
    return folders


def _text(path: Path) -> str:
    try:
        return read_small(path).decode()
    except (OSError, ValueError):
        return ""


def _setting(path: Path, key: str) -> str:
    try:
        settings = json.loads(_text(path) or "{}")
    except (ValueError, RecursionError):
        return ""
    value = settings.get(key) if isinstance(settings, dict) else None
    return value if isinstance(value, str) else ""


def find_lm_studio(places: Places) -> Iterator[Finding]:
    """Every GGUF in LM Studio's folders."""
    seen: set[FileId] = set()
    for folder, missing in models_folders(places).items():
        if not _is_missing(folder):
            yield from _below(folder, seen)
        elif missing:
            yield ScanProblem(folder, missing)


def _is_missing(folder: Path) -> bool:
    try:
        folder.lstat()
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return False


def _below(folder: Path, seen: set[FileId]) -> Iterator[Finding]:
    def found(file: ModelFile) -> list[Finding]:
        above = file.path.parent.relative_to(folder).parts
        # Only publisher and model together are a name in LM Studio.
        return [Found(file, place_in(LM_STUDIO, file, "/".join(above) if len(above) == 2 else ""))]

    yield from read_each(walk(folder, seen), found, lambda file: file.path)
