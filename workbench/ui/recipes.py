"""What a Modelfile brings to a conversation, in words."""

from __future__ import annotations

from pathlib import PurePath

from workbench.core.models import ModelEntry
from workbench.core.parameters import Value
from workbench.core.recipe import Recipe
from workbench.ui.kit.sanitize import clean_line

SHOWN_PARAMETERS = 4
"""So many parameters are told with their values."""


def brought(model: ModelEntry, taken: Recipe) -> str:
    """What came of a model's Modelfile, such as `The Modelfile brings a system prompt and temperature 0.2`.

    Args:
        model: The model that is open, with its recipe.
        taken: What the conversation took of it.
    """
    own = model.recipe or Recipe()
    parts = [f"the adapter {PurePath(own.adapter).name}"] if own.adapter else []
    parts += ["a chat template"] if own.template else []
    parts += ["a system prompt"] if taken.system else []
    parts += [f"{name} {_short(value)}" for name, value in taken.parameters[:SHOWN_PARAMETERS]]
    if more := len(taken.parameters) - SHOWN_PARAMETERS:
        parts += [f"{more} more {'parameter' if more == 1 else 'parameters'}"] if more > 0 else []
    if count := len(taken.messages):
        parts.append("a message" if count == 1 else f"{count} messages")
    *most, last = parts or ["the model alone"]
    listed = f"{', '.join(most)} and {last}" if most else last
    return clean_line(f"The Modelfile brings {listed}.")


def _short(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(repr(text) if len(text) <= 12 else f"{text[:11]!r}…" for text in value[:3])
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
