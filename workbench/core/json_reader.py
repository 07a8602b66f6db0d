"""Typed values from parsed JSON: the inverse of `dataclasses.asdict`, for every file and pipe of the program."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from workbench.core.errors import ParameterError
from workbench.core.parameters import LoadSettings, Sampling, check_value

Kind = TypeVar("Kind")

LARGEST_INT = 2**63 - 1
_WORDS: Mapping[Any, str] = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The bounds of a number, both included: `Annotated[int, NumberRange(0, 9, "a digit")]`."""

    low: float
    high: float
    text: str
    """The numbers in words, for errors."""


def read_json(kind: type[Kind], value: object, place: str = "the document", *, strict: bool = False) -> Kind:
    """Convert a parsed JSON value to a typed one.

    Dataclasses are read from objects, tuples from lists, literals from one of their values; fields that are missing get
    their defaults. `Sampling` and `LoadSettings` are checked against the ranges of their parameters. `place` names the
    value in errors.

    `strict` is for files that somebody else may have written: it refuses unknown fields, which are ignored otherwise,
    and numbers that are not finite or need more than 64 bits.

    Raises:
        ValueError: The value does not fit; the message names the field, such as "'at' of message 2 is not a number".
    """
    found: Kind = _JsonReader(strict=strict, salvage=False).read(kind, value, place)
    return found


def salvage_json(kind: type[Kind], value: object) -> Kind | None:
    """As `read_json`, but a field that does not fit gets its default; None where nothing can be read."""
    try:
        found: Kind = _JsonReader(strict=False, salvage=True).read(kind, value, "")
    except ValueError:
        return None
    return found


@cache
def _hints(kind: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a type is any object
    return get_type_hints(kind, include_extras=True)


@dataclass(frozen=True, slots=True)
class _JsonReader:
    strict: bool
    salvage: bool

    def read(self, kind: Any, value: Any, place: str) -> Any:  # noqa: ANN401 - a type is any object
        if dataclasses.is_dataclass(kind):
            return self._dataclass(kind, value, place)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            return self._union(arguments, value, place)
        if origin is tuple:
            return self._tuple(arguments, value, place)
        if origin is Literal:
            if value not in arguments:
                raise ValueError(f"{place} is not one of {', '.join(map(repr, arguments))}")
            return value
        if origin is Annotated:
            number, bounds = self._scalar(arguments[0], value, place), arguments[1]
            if not bounds.low <= number <= bounds.high:
                raise ValueError(f"{place} is not {bounds.text}")
            return number
        return value if kind is object else self._scalar(kind, value, place)

    def _scalar(self, kind: Any, value: Any, place: str) -> Any:  # noqa: ANN401 - a type is any object
        fits = isinstance(value, int | float if kind is float else kind) and (
            kind is bool or not isinstance(value, bool)
        )
        if fits and self.strict and isinstance(value, int | float):
            fits = math.isfinite(value) if isinstance(value, float) else abs(value) <= LARGEST_INT
        if not fits:
            raise ValueError(f"{place} is not {_WORDS.get(kind, kind)}")
        try:
            return float(value) if kind is float else value
        except OverflowError:
            raise ValueError(f"{place} is too large") from None

    def _dataclass(self, kind: Any, value: Any, place: str) -> Any:  # noqa: ANN401 - a type is any object
        if not isinstance(value, dict):
            raise ValueError(f"{place} is not an object")
        hints = _hints(kind)
        if self.strict:
            for name in value:
                if name not in hints:
                    raise ValueError(f"{place} has a field {name[:60]!r}, which this version does not know")
        found = {}
        for field in dataclasses.fields(kind):
            name = field.name
            if name in value:
                try:
                    found[name] = self._field(kind, name, value[name], place)
                except ValueError:
                    if not self.salvage:
                        raise
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise ValueError(f"{place} has no {name!r}")
        return kind(**found)

    def _field(self, kind: Any, name: str, value: Any, place: str) -> Any:  # noqa: ANN401 - a type is any object
        if kind not in (Sampling, LoadSettings):
            return self.read(_hints(kind)[name], value, f"{name!r} of {place}")
        try:
            return check_value(name, value)
        except ParameterError as error:
            raise ValueError(f"{place}: {error}".rstrip(".")) from None

    def _union(self, kinds: tuple[Any, ...], value: Any, place: str) -> Any:  # noqa: ANN401 - a type is any object
        if value is None and types.NoneType in kinds:
            return None
        *others, last = (kind for kind in kinds if kind is not types.NoneType)
        for kind in others:
            try:
                return self.read(kind, value, place)
            except ValueError:
                continue
        return self.read(last, value, place)

    def _tuple(self, kinds: tuple[Any, ...], value: Any, place: str) -> Any:  # noqa: ANN401 - a type is any object
        if not isinstance(value, list):
            raise ValueError(f"{place} is not a list")
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(value)
        if len(kinds) != len(value):
            raise ValueError(f"{place} is not a list of {len(kinds)}")
        items = enumerate(zip(kinds, value, strict=True), 1)
        return tuple(self.read(kind, item, f"item {number} of {place}") for number, (kind, item) in items)
