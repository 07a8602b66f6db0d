"""The values that a template can meet, and what Go thinks of them.

Only what stands here can be in the data of a template: nothing of Python can be reached from one. Text is `str`, where
a lone surrogate stands for a byte that is no UTF-8 (as the error handler `surrogateescape` has it), because Go's text
is made of bytes and its `slice` can cut through a character.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final


class Nothing:
    """No value at all: what Go has where a pipeline came to nil. It prints `<no value>`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = Nothing()


class Struct:
    """A value with a fixed set of fields: asking for another field is an error, and it always tests true.

    Args:
        type_name: Its type in Go, for errors.
        fields: Its fields by name.
        document: What `json` makes of it.
        printed: What it prints as, where it is not what Go does for every struct.
    """

    __slots__ = ("document", "fields", "printed", "type_name")

    def __init__(
        self, type_name: str, fields: Mapping[str, Value], document: Value, printed: str | None = None
    ) -> None:
        self.type_name = type_name
        self.fields = fields
        self.document = document
        self.printed = printed


class PrintedList(list["Value"]):
    """A list that prints as a text of its own.

    Args:
        items: Its elements.
        document: What `json` makes of it.
        printed: What it prints as.
    """

    __slots__ = ("document", "printed")

    def __init__(self, items: Sequence[Value], document: Value, printed: str) -> None:
        super().__init__(items)
        self.document = document
        self.printed = printed


class Members(dict[str, "Value"]):
    """What JSON holds of a struct: its members stay in their order, where those of other maps are sorted."""

    __slots__ = ()


class PrintedMap(dict[str, "Value"]):
    """A map that prints as a text of its own.

    Args:
        items: What it holds.
        printed: What it prints as.
    """

    __slots__ = ("printed",)

    def __init__(self, items: Mapping[str, Value], printed: str) -> None:
        super().__init__(items)
        self.printed = printed


Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"] | Struct | Nothing
"""None is Go's nil in a map or a list. Keys of maps are texts."""


class FunctionError(Exception):
    """A function that refuses its arguments; the evaluator adds the name and the place."""


def as_bytes(text: str) -> bytes:
    """The bytes of a text as Go has it."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(data: bytes) -> str:
    """The text that some bytes are; `as_bytes` gives them back."""
    return data.decode("utf-8", "surrogateescape")


def sound_text(text: str) -> str:
    """`text` with U+FFFD for everything that is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def is_true(value: Value) -> bool:
    """Whether `if` takes the first branch: everything but false, 0, "", nil, and what is empty."""
    return isinstance(value, Struct) or (not isinstance(value, Nothing) and bool(value))


def without_nothing(value: Value) -> Value:
    """`value` as a function gets it: there, no value at all is nil."""
    return None if isinstance(value, Nothing) else value


def type_name(value: Value) -> str:
    """The type of `value` in Go."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
        case dict():
            return "map[string]interface {}"
        case Struct():
            return value.type_name
        case _:
            return "<nil>"


def described(value: Value) -> str:
    """What `value` is, in words."""
    match value:
        case bool():
            return "a bool"
        case int():
            return "a whole number"
        case float():
            return "a decimal number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "a map"
        case Struct():
            return f"an {value.type_name}"
        case _:
            return "nil"


def size_of(value: Value) -> int:
    """What it may cost to look at `value` once, in characters of text."""
    if isinstance(value, str):
        return len(value)
    # An element is looked at much faster than it takes to write one.
    return 1 + (len(value) // 64 if isinstance(value, list | dict) else 0)
