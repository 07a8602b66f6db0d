"""The settings that a user keeps for a model: they apply whenever it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from workbench.core.models import ModelEntry
from workbench.core.origins import ABOVE_KEPT, Origins
from workbench.core.parameters import Value
from workbench.core.recipe import Recipe

SYSTEM = "system"
"""The key of the system prompt beside those of the parameters."""


class KeptSettings(Protocol):
    """Keeps parameters and a system prompt for models, by their names."""

    def of(self, model: ModelEntry) -> Mapping[str, Value]:
        """What is kept for a model, by parameter name; the system prompt is `system`."""

    def keep(self, model: ModelEntry, values: Mapping[str, Value]) -> str:
        """Keep values for a model, beside those that are kept already. Returns the name under which they are kept.

        Raises:
            WorkbenchError: A value is wrong, or the file cannot be read or written; nothing is changed.
        """

    def forget(self, model: ModelEntry, names: Iterable[str] | None = None) -> tuple[str, ...]:
        """Remove values for a model, all of them where `names` is None. Returns the names of those that were kept.

        Raises:
            WorkbenchError: As `keep`.
        """


def taken(recipe: Recipe, origins: Origins) -> tuple[str, dict[str, Value], Origins]:
    """The system prompt and the parameters of a recipe, and where they come from.

    What is kept for a model replaces no value that was set for a chat or a lane.
    """
    above = {name for name in recipe.kept if origins.get(name) in ABOVE_KEPT}
    values = {name: value for name, value in recipe.parameters if name not in above}
    system = "" if SYSTEM in above else recipe.system
    names = [*values, *([SYSTEM] if system else [])]
    return system, values, {name: "model" if name in recipe.kept else "Modelfile" for name in names}


def kept_recipe(values: Mapping[str, Value]) -> Recipe:
    """What is kept for a model, in the form of what accompanies it."""
    parameters = tuple((name, value) for name, value in values.items() if name != SYSTEM)
    return Recipe(system=str(values.get(SYSTEM, "")), parameters=parameters, kept=frozenset(values))
