"""What may be typed in place of a model's name: a path, a folder, or the address of a server."""

from __future__ import annotations

import os
import re
from pathlib import Path

from workbench.core.models import ModelEntry
from workbench.core.servers import is_server_ref
from workbench.core.user_path import expanded

_HOST_AND_PORT = re.compile(r"(?:localhost|[\w-]+(?:\.[\w-]+)*):\d{2,5}(?:/\S*)?")
_PATH = re.compile(r"(?:~|\.{0,2}[/\\]|[A-Za-z]:[\\/]).*")
MOST_FOUND = 200
"""Models of a folder that are listed."""


def typed_address(text: str) -> str:
    """The address of a server that was typed, with or without `http://`; empty where it is none."""
    text = text.strip()
    if is_server_ref(text):
        return text
    return f"http://{text}" if _HOST_AND_PORT.fullmatch(text) else ""


def typed_path(text: str) -> Path | None:
    """The path that was typed; None where the text is no path."""
    text = text.strip()
    return expanded(text) if _PATH.fullmatch(text) or text.endswith(".gguf") else None


def is_model_file(path: Path) -> bool:
    """Whether a file looks like a model or a Modelfile."""
    return path.suffix.casefold() == ".gguf" or "modelfile" in path.name.casefold()


def completed(text: str) -> str:
    """A typed path, completed as far as the folders and models there agree; unchanged where nothing fits."""
    folder, part = os.path.split(text.strip())
    try:
        found = [
            each.name + ("/" if each.is_dir() else "")
            for each in expanded(folder or ".").iterdir()
            if each.name.startswith(part) and (each.is_dir() or is_model_file(each)) and (part or each.name[0] != ".")
        ]
    except OSError:
        return text
    while found and not all(name.startswith(found[0]) for name in found):
        found[0] = found[0][:-1]
    return text.strip() + found[0][len(part) :] if found else text


def models_at(path: Path) -> list[ModelEntry]:
    """The model files at a path, which may be a folder, by their names; reads the folder."""
    try:
        files = sorted(filter(is_model_file, path.iterdir())) if path.is_dir() else [path] if path.is_file() else []
        return [
            ModelEntry(str(file), file.stem, None, str(file), file.stat().st_size, source=str(file.parent))
            for file in files[:MOST_FOUND]
        ]
    except OSError:
        return []
