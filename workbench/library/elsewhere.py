"""What a model file is called in other programs, so that they can be told to use it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping

from workbench.core.errors import UnknownModelError
from workbench.core.models import ModelEntry, Naming
from workbench.library.huggingface import HUGGING_FACE
from workbench.library.llamacpp import LLAMA_CPP
from workbench.library.lmstudio import LM_STUDIO
from workbench.library.ollama import OLLAMA

_TITLES: Mapping[Naming, str] = {"ollama": "Ollama's store", "hf": "Hugging Face"}
_EXAMPLES: Mapping[Naming, str] = {"ollama": "llama3.2:3b", "hf": "hf.co/USER/REPOSITORY:QUANT"}


def name_elsewhere(path: str, naming: Naming, models: Iterable[ModelEntry]) -> str:
    """What FROM may say in the place of `path`.

    Args:
        path: The file of the model.
        naming: Whose names are meant.
        models: The models at hand.

    Raises:
        UnknownModelError: The file is not known by such a name.
    """
    real = os.path.realpath(path)
    for model in models:
        if any(os.path.realpath(place.path) == real for place in model.places):
            for name in _names(model, naming):
                return name
    raise UnknownModelError(
        f"{path} has no name in {_TITLES[naming]} that is known here.",
        f"Write the name yourself, such as {_EXAMPLES[naming]}, or leave it at the path.",
    )


def _names(model: ModelEntry, naming: Naming) -> Iterator[str]:
    for place in model.places:
        if naming == "ollama" and place.source == OLLAMA:
            yield place.name
        elif naming == "hf" and place.source in (HUGGING_FACE, LM_STUDIO, LLAMA_CPP) and place.name.count("/") == 1:
            yield f"hf.co/{place.name}:{model.quant}" if model.quant else f"hf.co/{place.name}"
        elif naming == "hf" and place.source == OLLAMA and place.name.startswith(("hf.co/", "huggingface.co/")):
            yield place.name
