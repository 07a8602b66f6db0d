"""Typed values out of the JSON body of a request; what has another type is refused by its name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from workbench.serve.errors import invalid

ValueT = TypeVar("ValueT")


class Body:
    """A JSON object. null counts as left out, and unknown fields are ignored."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path

    @classmethod
    def parse(cls, data: bytes) -> Body:
        """The body of a request; an ApiError where it is no JSON object."""
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise invalid(f"The body is not valid JSON: {error}.") from None
        if not isinstance(found, dict):
            raise invalid("The body must be a JSON object.")
        return cls(found)

    @property
    def values(self) -> Mapping[str, Any]:
        """The whole object."""
        return self._values

    def name(self, field: str) -> str:
        """The place of a field in the body, such as `messages.0.role`."""
        return f"{self._path}{field}"

    def raw(self, field: str) -> Any:  # noqa: ANN401 - JSON
        """The value as it is; None where it is left out."""
        return self._values.get(field)

    def text(self, field: str, default: str = "") -> str:
        """A string."""
        return self._typed(field, str, "a string", default)

    def flag(self, field: str, *, default: bool = False) -> bool:
        """A boolean."""
        return self._typed(field, bool, "true or false", default)

    def _typed(self, field: str, kind: type[ValueT], words: str, default: ValueT) -> ValueT:
        value = self.raw(field)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise invalid(f"{self.name(field)} must be {words}.", self.name(field))
        return value

    def number(self, field: str) -> float | None:
        """A finite number."""
        value = self.raw(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise invalid(f"{self.name(field)} must be a number.", self.name(field))
        return value

    def whole(self, field: str) -> int | None:
        """A whole number; 3.0 counts as 3."""
        value = self.number(field)
        if value is not None and value != int(value):
            raise invalid(f"{self.name(field)} must be a whole number.", self.name(field))
        return None if value is None else int(value)

    def texts(self, field: str) -> tuple[str, ...]:
        """A string, or a list of strings."""
        value = self.raw(field)
        if value is None:
            return ()
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise invalid(f"{self.name(field)} must be a string or a list of strings.", self.name(field))
        return tuple(found)

    def part(self, field: str) -> Body:
        """An object; an empty one where it is left out."""
        value = self.raw(field)
        if value is not None and not isinstance(value, dict):
            raise invalid(f"{self.name(field)} must be an object.", self.name(field))
        return Body(value or {}, f"{self.name(field)}.")

    def parts(self, field: str) -> Sequence[Body]:
        """A list of objects."""
        value = self.raw(field)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise invalid(f"{self.name(field)} must be a list of objects.", self.name(field))
        return [Body(each, f"{self.name(field)}.{index}.") for index, each in enumerate(value)]

    def joined_text(self, field: str) -> str:
        """A string, or a list of parts of which only those of text are taken."""
        value = self.raw(field)
        if not isinstance(value, list):
            return self.text(field)
        found = []
        for part in self.parts(field):
            if (kind := part.text("type", "text")) not in ("text", "input_text"):
                raise invalid(f"{part.name('type')}: this model takes no {kind!r}, only text.", part.name("type"))
            found.append(part.text("text"))
        return "".join(found)
