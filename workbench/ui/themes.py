"""Reading themes: one TOML file per theme, with the fields of Textual's `Theme` and a table `[variables]`."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import Theme

from workbench.core.errors import did_you_mean

log = logging.getLogger(__name__)

COLOURS = tuple(each.name for each in fields(Theme) if each.type in ("str", "str | None") and each.name != "name")
NUMBERS = ("luminosity_spread", "text_alpha")
KEYS = (*COLOURS, *NUMBERS, "dark", "variables")

FALLBACK = Theme(
    "workbench-built-in",
    primary="#7aa2f7",
    secondary="#9d8cf2",
    accent="#e0af68",
    warning="#e0af68",
    error="#f7768e",
    success="#9ece6a",
    foreground="#d5d9e6",
    background="#11131a",
    surface="#171a23",
    panel="#1e222e",
    dark=True,
)
"""The theme that is used when no file can be read."""

# The default of each of our own variables: a colour of the theme.
_FOLLOWS = {
    "you": "primary",
    "figure": "accent",
    "graph": "primary",
    "gauge": "primary",
    "gauge-track": "panel",
    "gauge-warn": "warning",
    "gauge-critical": "error",
    "title": "primary",
    "muted": "foreground-muted",
    "code-background": "panel",
    "code-keyword": "secondary",
    "code-builtin": "accent",
    "code-function": "primary",
    "code-number": "warning",
    "code-string": "success",
    "code-comment": "foreground",
}
OWN_VARIABLES = tuple(_FOLLOWS)
"""The variables of the style sheets beyond Textual's own; the `[variables]` of a theme may set each."""


class _Refused(Exception):
    """Why a theme is ignored."""


def variable_defaults(theme: Theme) -> dict[str, str]:
    """The values of our own variables under a theme that does not set them."""
    generated = theme.to_color_system().generate()
    return {name: generated[follows] for name, follows in _FOLLOWS.items()}


def _colour(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _Refused(f"{key} must be a colour in quotes, and is {value!r}.")
    try:
        Color.parse(value)
    except ColorParseError:
        raise _Refused(f"{key} = {value!r} is no colour; write #rrggbb or a CSS name.") from None
    return value


def _variables(own: object, known: Iterable[str]) -> dict[str, str]:
    if not isinstance(own, Mapping):
        raise _Refused("variables must be a table.")
    names = set(known)
    for key, value in own.items():
        if key not in names:
            raise _Refused(f"{key!r} is no variable of a theme. {did_you_mean(key, names)}".rstrip())
        if key in OWN_VARIABLES:
            _colour(key, value)
        elif not isinstance(value, str):
            raise _Refused(f"{key} must be a text, and is {value!r}.")
    return dict(own)


def theme_from(name: str, values: Mapping[str, object], variables: Iterable[str]) -> Theme:
    """The theme with the `values` of a file; `variables` are the names that its `[variables]` may set."""
    unknown = [key for key in values if key not in KEYS]
    if unknown:
        raise _Refused(f"{unknown[0]!r} is no key of a theme. {did_you_mean(unknown[0], KEYS)}".rstrip())
    if "primary" not in values:
        raise _Refused("the colour 'primary' is missing.")
    checked: dict[str, Any] = {key: _colour(key, values[key]) for key in COLOURS if key in values}
    for key in NUMBERS:
        value = values.get(key, 0.5)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Refused(f"{key} must be a number, and is {value!r}.")
        if key in values:
            checked[key] = float(value)
    dark = values.get("dark", True)
    if not isinstance(dark, bool):
        raise _Refused(f"dark must be true or false, and is {dark!r}.")
    own = _variables(values.get("variables", {}), variables)
    return Theme(name, dark=dark, variables=own, **checked)


def load_themes(folders: Sequence[Path]) -> tuple[dict[str, Theme], list[str]]:
    """Every theme in `folders` by its name, and the names of the files that are ignored, each with the reason.

    Of two themes with one name, the one in the later folder counts. Without any theme, there is the built-in one.
    """
    known = [*FALLBACK.to_color_system().generate(), *OWN_VARIABLES]
    themes: dict[str, Theme] = {}
    problems: list[str] = []
    for folder in folders:
        for file in sorted(folder.glob("[!.]*.toml")):
            try:
                values = tomllib.loads(file.read_text(encoding="utf-8"))
                themes[file.stem] = theme_from(file.stem, values, known)
            except _Refused as refused:
                problems.append(f"{file.name}: {refused}")
            except Exception as error:
                if not isinstance(error, OSError | ValueError):
                    log.exception("%s cannot be read", file)
                problems.append(f"{file.name}: cannot be read: {error}")
    if not themes:
        themes[FALLBACK.name] = FALLBACK
    return themes, problems
