"""What a user may write to name a model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from workbench.core.errors import ModelFileError, UnknownModelError, did_you_mean
from workbench.core.models import ModelEntry
from workbench.gguf.names import SUFFIX, parse_name

PREFERRED_QUANT = "Q4_K_M"
"""Which of several quantizations a bare name means."""
PREFERRED_BITS = 4.85
"""Where that one is not there: the one with about as many bits per weight."""

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*(?:[:@][\w.-]+)?")
"""A repository of Hugging Face or LM Studio; a relative path may look like that too."""


def names_of(entry: ModelEntry) -> set[str]:
    """Every spelling that means `entry`, folded: its own name and those of its places, also with the quantization."""
    names = {(entry.name, entry.quant)}
    stems = set()
    for place in entry.places:
        file = Path(place.path).name
        stems.add(file.casefold().removesuffix(SUFFIX))
        names |= {(place.name, entry.quant), (parse_name(file).base, parse_name(file).quant)}
    plain = {name.casefold() for name, _ in names if name}
    plain |= {name.removesuffix(":latest") for name in plain}
    return {*stems, *plain, *(f"{name}:{quant}".casefold() for name, quant in names if name and quant)}


def preferred(entries: Iterable[ModelEntry]) -> ModelEntry:
    """The one of several variants that is meant where no quantization is named."""
    return min(
        entries,
        key=lambda entry: (
            bool(entry.problem),
            entry.quant != PREFERRED_QUANT,
            abs((entry.bits_per_weight or 99.0) - PREFERRED_BITS),
        ),
    )


def refuse_other_kinds(ref: str) -> None:
    """Refuse what names something else than a model file.

    Raises:
        UnknownModelError: It does, or it is empty.
    """
    folded = ref.casefold()
    if not ref.strip():
        raise UnknownModelError("The name of the model is empty.", "Name a .gguf file, or `demo`.")
    if folded.startswith(("http://", "https://")):
        raise UnknownModelError(
            f"{ref}: this names a model of a server, and a file is needed here.", "Name a .gguf file, or `demo`."
        )


def absolute(ref: str) -> Path:
    """`ref` as an absolute path; as it is where it can be none."""
    try:
        return Path(ref).expanduser().absolute()
    except (RuntimeError, ValueError):
        return Path(ref)


def is_path(ref: str) -> bool:
    """Whether `ref` can only be meant as a path."""
    if _REPOSITORY.fullmatch(ref) and not ref.casefold().endswith(SUFFIX):
        return False
    separators = {"/", os.sep, os.altsep or "/"}
    return ref.startswith("~") or ref.casefold().endswith(SUFFIX) or any(sign in ref for sign in separators)


def directory_error(path: Path, count: int) -> ModelFileError:
    """The error of a folder with `count` models in the place of a model."""
    files = {0: "no GGUF file", 1: "one GGUF file"}.get(count, f"{count} GGUF files")
    hint = "Name a .gguf file."
    if count:
        hint = f"Name one of them, or put the folder into `model_folders` of the config: {path}"
    return ModelFileError(f"{path}: this is a directory; it holds {files}.", hint)


def nearest_file(path: Path) -> str:
    """A hint for a file that is not there."""
    try:
        siblings = [child.name for child in path.parent.iterdir() if child.name.casefold().endswith(SUFFIX)]
    except (OSError, ValueError):
        return "Its folder is not there either, or cannot be read."
    return did_you_mean(path.name, siblings)
