"""Names of models: the references that a user may write, and the names that other programs use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from workbench.core.errors import ModelFileError, UnknownModelError, did_you_mean
from workbench.core.models import ModelEntry, Naming
from workbench.core.user_path import expanded
from workbench.gguf.names import SUFFIX, parse_name
from workbench.library.huggingface import HUGGING_FACE
from workbench.library.llamacpp import LLAMA_CPP
from workbench.library.lmstudio import LM_STUDIO
from workbench.library.ollama import OLLAMA

PREFERRED_QUANT = "Q4_K_M"
"""The quantization that a bare name stands for."""
PREFERRED_BITS = 4.85
"""Without it, the quantization with about this many bits per weight."""

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*(?:[:@][\w.-]+)?")
"""A repository of Hugging Face or LM Studio; a relative path may look the same."""

_TITLES: Mapping[Naming, str] = {"ollama": "Ollama's store", "hf": "Hugging Face"}
_EXAMPLES: Mapping[Naming, str] = {"ollama": "llama3.2:3b", "hf": "hf.co/USER/REPOSITORY:QUANT"}


def names_of(entry: ModelEntry) -> set[str]:
    """Every reference to `entry`, in lower case: its names, and those of its places, with and without quantization."""
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
    """The one of several quantizations that a name without quantization stands for."""
    return min(
        entries,
        key=lambda entry: (
            bool(entry.problem),
            entry.quant != PREFERRED_QUANT,
            abs((entry.bits_per_weight or 99.0) - PREFERRED_BITS),
        ),
    )


def refuse_other_kinds(ref: str) -> None:
    """Refuse an empty reference, and the address of a server, with an UnknownModelError."""
    folded = ref.casefold()
    if not ref.strip():
        raise UnknownModelError("The name of the model is empty.", "Name a .gguf file, or `demo`.")
    if folded.startswith(("http://", "https://")):
        raise UnknownModelError(
            f"{ref}: this is the address of a server; a file is needed here.", "Name a .gguf file, or `demo`."
        )


def absolute(ref: str) -> Path:
    """`ref` as an absolute path."""
    return expanded(ref).absolute()


def without_hub(ref: str) -> str:
    """A reference without the host of Hugging Face before it."""
    host, _, rest = ref.partition("/")
    return rest if rest and host.casefold() in {"hf.co", "huggingface.co"} else ref


def is_path(ref: str) -> bool:
    """Whether `ref` can only be a path."""
    if _REPOSITORY.fullmatch(ref) and not ref.casefold().endswith(SUFFIX):
        return False
    separators = {"/", os.sep, os.altsep or "/"}
    return ref.startswith("~") or ref.casefold().endswith(SUFFIX) or any(sign in ref for sign in separators)


def directory_error(path: Path, count: int) -> ModelFileError:
    """The error for a reference to a folder that holds `count` models."""
    files = {0: "no GGUF file", 1: "one GGUF file"}.get(count, f"{count} GGUF files")
    hint = "Name a .gguf file."
    if count:
        hint = f"Name one of them, or add the folder to `model_folders` in the config: {path}"
    return ModelFileError(f"{path}: this is a directory; it holds {files}.", hint)


def nearest_file(path: Path) -> str:
    """A hint for a file that does not exist."""
    try:
        names = (child.name for child in path.parent.iterdir())
        siblings = [name for name in names if name.casefold().endswith(SUFFIX) and not name.startswith(".")]
    except (OSError, ValueError):
        return "Its folder does not exist either, or cannot be read."
    return did_you_mean(path.name, siblings)


def name_elsewhere(path: str, naming: Naming, models: Iterable[ModelEntry]) -> str:
    """The name of the file `path` in another program, for a FROM line; an UnknownModelError where it has none."""
    real = os.path.realpath(path)
    for model in models:
        if any(os.path.realpath(place.path) == real for place in model.places):
            for name in _names_of_stores(model, naming):
                return name
    raise UnknownModelError(
        f"{path} has no known name in {_TITLES[naming]}.",
        f"Write the name yourself, such as {_EXAMPLES[naming]}, or keep the path.",
    )


def _names_of_stores(model: ModelEntry, naming: Naming) -> Iterator[str]:
    for place in model.places:
        if naming == "ollama" and place.source == OLLAMA:
            yield place.name
        elif naming == "hf" and place.source in (HUGGING_FACE, LM_STUDIO, LLAMA_CPP) and place.name.count("/") == 1:
            yield f"hf.co/{place.name}:{model.quant}" if model.quant else f"hf.co/{place.name}"
        elif naming == "hf" and place.source == OLLAMA and place.name.startswith(("hf.co/", "huggingface.co/")):
            yield place.name
