"""Where the value of each parameter comes from, and what the author of a model recommends.

A model's author recommends sampling parameters in its file. They are used where nothing else sets a value, so it has to
be known which values were set: a temperature of 0.8 may be the default or a choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from workbench.core.formats import shown_format
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling, Value, changed_values, get_value

Origin = Literal[
    "author",
    "config",
    "command line",
    "Modelfile",
    "model",
    "this chat",
    "stored chat",
    "lane",
    "race",
    "bench",
    "eval",
]
"""`author`: the file of the model recommends it; `model`: the user keeps it for that model."""

Origins = Mapping[str, Origin]
"""The origin of each value by parameter name, and of the system prompt as `system`. Without one it is the default."""

ABOVE_KEPT = frozenset({"command line", "this chat", "stored chat", "lane", "race", "eval"})
"""The origins of values that what is kept for a model does not replace."""


def from_origin(names: Iterable[str], origin: Origin) -> dict[str, Origin]:
    """The same origin for all of `names`."""
    return dict.fromkeys(names, origin)


def set_names(origins: Origins) -> frozenset[str]:
    """The parameters that somebody has set for certain: a stored chat does not know."""
    return frozenset(name for name, origin in origins.items() if origin != "stored chat")


def with_recommended(
    sampling: Sampling, origins: Origins, recommended: Iterable[tuple[str, Value]]
) -> tuple[Sampling, Origins]:
    """`sampling` with the values that a model's author recommends, where nothing else has set one.

    The recommended values of another model are dropped.
    """
    kept = {name: origin for name, origin in origins.items() if origin != "author"}
    values: dict[str, Any] = {name: PARAMETERS[name].default for name in origins if name not in kept}
    plain = replace(sampling, **values)
    load = LoadSettings()
    taken: dict[str, Any] = {
        name: value
        for name, value in recommended
        if name not in kept and get_value(plain, load, name) == PARAMETERS[name].default
    }
    return replace(plain, **taken), {**kept, **from_origin(taken, "author")}


def recommended_text(sampling: Sampling, origins: Origins) -> str:
    """A sentence that names the values in use that the model's author recommends; empty for none."""
    load = LoadSettings()
    names = [name for name in PARAMETERS if origins.get(name) == "author"]
    listed = ", ".join(f"{name} {_shown(get_value(sampling, load, name))}" for name in names)
    return f"The model's author recommends {listed}: used where you set nothing else." if listed else ""


def sourced_values(sampling: Sampling, load: LoadSettings, origins: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """`value` and `from` of each parameter that was set or differs from its default; for JSON."""
    changed = changed_values(sampling, load)
    # A stored chat has all values, also those that nobody has set.
    named = {name for name, origin in origins.items() if origin != "stored chat"}
    return {
        name: {"value": get_value(sampling, load, name), "from": origins.get(name)}
        for name in PARAMETERS
        if name in changed or name in named
    }


def settings_text(settings: Mapping[str, Mapping[str, object]]) -> str:
    """Values of `sourced_values` in one line, such as `temperature 0 (author), top_k 20 (config)`."""
    return ", ".join(
        f"{name} {_shown(each['value'])}" + (f" ({each['from']})" if each["from"] else "")
        for name, each in settings.items()
    )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(item if item.isprintable() and item.isascii() else repr(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else shown_format(value) if isinstance(value, str) else str(value)
