"""The models in LM Studio's folder, which is laid out as publisher, model, file."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

from workbench.core.models import ScanProblem
from workbench.library.folders import (
    Finding,
    Found,
    listed,
    mode_of,
    model_files,
    place_in,
    read_each,
    read_small,
    subfolders,
)
from workbench.library.places import Places

LM_STUDIO = "lmstudio"


def models_folders(places: Places) -> list[Path]:
    """The folders in which LM Studio keeps models: the chosen one, and the default one. They need not exist."""
    home = _home(places)
    chosen = _setting(home / "settings.json", "downloadsFolder")
    return [*([places.expanded(chosen)] if chosen else []), home / "models"]


def _home(places: Places) -> Path:
    pointer = _text(places.home / ".lmstudio-home-pointer").strip()
    if pointer:
        return places.expanded(pointer)
    older = places.home / ".cache" / "lm-studio"
    return older if stat.S_ISDIR(mode_of(older)) else places.home / ".lmstudio"


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
    """Every GGUF of LM Studio: exactly two levels below its folder."""
    for folder in dict.fromkeys(models_folders(places)):
        for publisher in subfolders(folder):
            for model in [publisher] if isinstance(publisher, ScanProblem) else subfolders(publisher):
                yield from [model] if isinstance(model, ScanProblem) else _files(model)


def _files(folder: Path) -> Iterator[Finding]:
    name = f"{folder.parent.name}/{folder.name}"
    yield from read_each(
        model_files(listed(folder)),
        lambda file: [Found(file, place_in(LM_STUDIO, file, name))],
        lambda file: file.path,
    )
