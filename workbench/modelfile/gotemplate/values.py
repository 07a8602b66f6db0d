"""The values of templates, with the semantics of Go.

The data of a template consists of these types only, so that a template cannot access Python objects. Text is `str`; a
lone surrogate is a byte that is not UTF-8 (as with the error handler `surrogateescape`), because text in Go consists of
bytes and `slice` can cut through a character.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final


class Nothing:
    """No value: the result of a pipeline that is nil in Go. It prints `<no value>`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = Nothing()


@dataclass(slots=True, eq=False)
class Struct:
    """A value with a fixed set of fields: another field is an error, and it always tests true."""

    type_name: str
    """Its type in Go, for errors."""
    fields: Mapping[str, Value]
    document: Value
    """Its form in JSON."""
    printed: str | None = None
    """Its printed form; None for that of any struct."""


class PrintedList(list["Value"]):
    """A list with printed and JSON forms of its own; its JSON form is None for Go's nil.

    Its printed form is None for that of any list. `remake` makes a list of the same kind from a part of it.
    """

    __slots__ = ("document", "printed", "remake")

    def __init__(
        self,
        items: Sequence[Value],
        document: Value,
        printed: str | None,
        remake: Callable[[list[Value]], list[Value]] = list,
    ) -> None:
        super().__init__(items)
        self.document = document
        self.printed = printed
        self.remake = remake


class Members(dict[str, "Value"]):
    """The JSON form of a value whose members keep their order; those of other maps are sorted."""

    __slots__ = ()


class PrintedMap(dict[str, "Value"]):
    """A map with printed and JSON forms of its own; its JSON form is None for Go's nil."""

    __slots__ = ("document", "printed")

    def __init__(self, items: Mapping[str, Value], document: Value, printed: str) -> None:
        super().__init__(items)
        self.document = document
        self.printed = printed


Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"] | Struct | Nothing
"""None is Go's nil in a map or a list. Keys of maps are texts."""


class FunctionError(Exception):
    """A function refuses its arguments; the evaluator adds its name and position."""


def as_bytes(text: str) -> bytes:
    """The bytes of a text in Go."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(data: bytes) -> str:
    """The inverse of `as_bytes`."""
    return data.decode("utf-8", "surrogateescape")


def is_byte(character: str) -> bool:
    """Whether a character stands for a byte that is not UTF-8."""
    return "\udc80" <= character <= "\udcff"


def sound_text(text: str) -> str:
    """`text` with U+FFFD for lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def is_true(value: Value) -> bool:
    """Whether `if` takes the first branch: for all but false, 0, "", nil and empty values."""
    return isinstance(value, Struct) or (not isinstance(value, Nothing) and bool(value))


def is_nil(value: Value) -> bool:
    """Whether `value` is nil in Go, which an empty list or map need not be."""
    return value is None or (isinstance(value, PrintedList | PrintedMap) and value.document is None)


def without_nothing(value: Value) -> Value:
    """`value` as an argument of a function, where no value is nil."""
    return None if isinstance(value, Nothing) else value


_TYPES = {
    bool: ("bool", "a bool"),
    int: ("int", "a whole number"),
    float: ("float64", "a decimal number"),
    str: ("string", "a text"),
    list: ("[]interface {}", "a list"),
    dict: ("map[string]interface {}", "a map"),
}
"""The types of Go by those of Python, and in words."""


def _type_names(value: Value) -> tuple[str, str]:
    if isinstance(value, Struct):
        return value.type_name, f"an {value.type_name}"
    return next((_TYPES[kind] for kind in type(value).__mro__ if kind in _TYPES), ("<nil>", "nil"))


def type_name(value: Value) -> str:
    """The type of `value` in Go."""
    return _type_names(value)[0]


def described(value: Value) -> str:
    """The type of `value` in words, for errors."""
    return _type_names(value)[1]


def size_of(value: Value) -> int:
    """The cost of reading `value` once, in characters of text."""
    if isinstance(value, str):
        return len(value)
    # Reading an element takes much less time than writing one.
    return 1 + (len(value) // 64 if isinstance(value, list | dict) else 0)
