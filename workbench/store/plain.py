"""Frozen values from what JSON holds: the way back from `dataclasses.asdict`."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Kind = TypeVar("Kind")


def from_plain(kind: type[Kind], value: object) -> Kind:
    """The value of the type `kind` that `value` stands for.

    What a dataclass does not know is left out, and what is missing has its default.

    Raises:
        ValueError: It stands for no such value.
    """
    found: Kind = _read(kind, value)
    return found


def _read(kind: Any, value: Any) -> Any:  # noqa: ANN401 - a type is any object
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(kind), value)
    if origin is tuple:
        return _read_tuple(get_args(kind), value)
    if origin is Literal:
        fits = value in get_args(kind)
    elif kind is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits:
        raise ValueError(f"{value!r:.80} is no {kind}")
    return value


@cache
def _hints(kind: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a type is any object
    return get_type_hints(kind)


def _read_dataclass(kind: Any, value: Any) -> Any:  # noqa: ANN401 - a type is any object
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.80} is no {kind.__name__}")
    hints = _hints(kind)
    names = [each.name for each in dataclasses.fields(kind) if each.name in value]
    try:
        return kind(**{name: _read(hints[name], value[name]) for name in names})
    except TypeError as error:
        raise ValueError(str(error)) from None


def _read_union(kinds: tuple[Any, ...], value: Any) -> Any:  # noqa: ANN401 - a type is any object
    for kind in kinds:
        try:
            return _read(kind, value)
        except ValueError:
            continue
    raise ValueError(f"{value!r:.80} is none of {kinds}")


def _read_tuple(kinds: tuple[Any, ...], value: Any) -> Any:  # noqa: ANN401 - a type is any object
    if not isinstance(value, list):
        raise ValueError(f"{value!r:.80} is no list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_read(kinds[0], item) for item in value)
    if len(kinds) != len(value):
        raise ValueError(f"{value!r:.80} has {len(value)} items and not {len(kinds)}")
    return tuple(_read(kind, item) for kind, item in zip(kinds, value, strict=True))
