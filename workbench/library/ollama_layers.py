"""The recipe of a model in Ollama's store: the layers beside its weights, which were made from its Modelfile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from workbench.core.chat import Message
from workbench.core.errors import ModelFileError, ModelfileError
from workbench.core.parameters import Value
from workbench.core.recipe import Recipe
from workbench.library.entries import printable
from workbench.library.folders import read_small
from workbench.library.ollama import Manifest, blob_of, layers_and_config
from workbench.modelfile.syntax import ROLES
from workbench.modelfile.values import IGNORED, kind_of, out_of_range, used_values

INSTEAD_OF_RENDERER = "It is not available here: the chat template of the GGUF file takes its place."
"""What happens to a model that names a renderer."""

MEDIA = "application/vnd.ollama.image."


def read_layers(manifest: Manifest) -> tuple[Path, Recipe]:
    """The weights of a model and its recipe.

    Raises:
        ModelFileError: The manifest or a blob that it names cannot be read, or there are no weights for llama.cpp.
    """
    try:
        layers, config = layers_and_config(manifest)
        by_kind = {kind: blob_of(manifest, layer) for kind, layer in _kinds(layers)}
        if (weights := by_kind.get("model")) is None:
            raise ModelFileError(
                f"{manifest.name}: its manifest names no weights that llama.cpp reads.", "Name a GGUF file."
            )
        notes = list(_not_honoured(str(manifest.name), by_kind, config))
        renderer = str(config.get("renderer") or "")
        parameters = used_values(dict(_parameters(by_kind.get("params"), notes)))
        if (draft := by_kind.get("draft")) is not None:
            parameters = (*parameters, ("speculation", str(draft)))
        recipe = Recipe(
            adapter=str(by_kind.get("adapter", "")),
            template="" if renderer else _text(by_kind.get("template") or by_kind.get("prompt")),
            renderer=printable(renderer),
            parser=printable(str(config.get("parser") or "")),
            system=_text(by_kind.get("system")),
            parameters=parameters,
            messages=tuple(_messages(by_kind.get("messages"))),
            notes=tuple(map(printable, notes)),
        )
    except (OSError, ValueError, RecursionError, OverflowError) as error:
        raise ModelFileError(
            f"{manifest.path}: a file that this manifest of Ollama names cannot be read: {error}.",
            f"Run `ollama pull {manifest.name}`.",
        ) from error
    return weights, recipe


def _kinds(layers: list[dict[str, object]]) -> Iterator[tuple[str, dict[str, object]]]:
    for layer in layers:
        kind = layer.get("mediaType")
        if isinstance(kind, str) and kind.startswith(MEDIA):
            yield kind.removeprefix(MEDIA), layer


def _not_honoured(name: str, by_kind: Mapping[str, Path], config: Mapping[str, object]) -> Iterator[str]:
    if renderer := config.get("renderer"):
        yield f"{name} has the renderer {renderer} of Ollama. {INSTEAD_OF_RENDERER}"
    if parser := config.get("parser"):
        yield f"{name} has the parser {parser} of Ollama, which is not supported here."
    if "projector" in by_kind:
        yield f"{name} accepts images in Ollama, but only text here."


def _text(path: Path | None) -> str:
    """The text of a layer, with U+FFFD for each byte that is not UTF-8, as Go writes it in JSON."""
    return (
        "" if path is None else re.sub("[\udc80-\udcff]", "\ufffd", read_small(path).decode("utf-8", "surrogateescape"))
    )


def _parameters(path: Path | None, notes: list[str]) -> Iterator[tuple[str, Value]]:
    if path is None:
        return
    content = json.loads(read_small(path))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a JSON object")
    for name, value in content.items():
        if name in IGNORED:
            continue
        try:
            taken = _as_kind(name, value)
        except (ModelfileError, ValueError, OverflowError):
            notes.append(f"The parameter {name} of the base is not valid.")
            continue
        if reason := out_of_range(name, taken):
            notes.append(f"The parameter {name} of the base is not used: {reason.removesuffix('.')}.")
        yield name, taken


def _as_kind(name: str, value: object) -> Value:
    """A JSON value as the type of its parameter; Go sometimes writes whole numbers as fractions."""
    match kind_of(name), value:
        case "int", int() | float() if not isinstance(value, bool) and float(value).is_integer():
            return int(value)
        case "float", int() | float() if not isinstance(value, bool):
            return float(value)
        case "bool", bool():
            return value
        case "strings", str():
            return (value,)
        case "strings", list() if all(isinstance(item, str) for item in value):
            return tuple(value)
    raise ValueError(name)


def _messages(path: Path | None) -> Iterator[Message]:
    if path is None:
        return
    content = json.loads(read_small(path))
    if not isinstance(content, list):
        raise ValueError(f"{path}: not a JSON array")
    for item in content:
        role = next((role for role in ROLES if isinstance(item, dict) and role == item.get("role")), None)
        text = item.get("content") if role else None
        if role is None or not isinstance(text, str):
            raise ValueError(f"{path}: not a message")
        yield Message(role, text)
