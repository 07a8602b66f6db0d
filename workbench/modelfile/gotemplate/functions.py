"""The functions that a template can call: those of Go, and those of Ollama."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import quote_plus

from workbench.modelfile.gotemplate.data import MESSAGE
from workbench.modelfile.gotemplate.json_text import to_json
from workbench.modelfile.gotemplate.printf import sprint, sprintf, sprintln
from workbench.modelfile.gotemplate.values import (
    FunctionError,
    PrintedList,
    Struct,
    Value,
    as_bytes,
    described,
    from_bytes,
    is_byte,
    is_nil,
    is_true,
    type_name,
)

_Call = Callable[[Sequence[Value], int, date], Value]


@dataclass(frozen=True, slots=True)
class Signature:
    """A function and its parameters."""

    call: _Call
    """Given the arguments, the longest result in characters, and the date; raises a FunctionError if it refuses."""
    least: int
    most: int | None
    """None for no limit."""
    texts: float = 0
    """How many of the first arguments must be text."""
    pace: int = 32
    """Characters of text that it processes in about the time of one step."""
    is_formatted: bool = False
    """Whether its first argument is a format of printf, whose verbs cost steps too."""


def _plain(call: Callable[[Sequence[Value]], Value]) -> _Call:
    return lambda values, *_: call(values)


# Comparisons.

_NO_ORDER = "values of this type have no order"


def _kind(value: Value) -> str:
    return type_name(value) if isinstance(value, bool | int | float | str) else ""


def _is_equal(left: Value, right: Value) -> bool:
    kind = _kind(left)
    if left is None or right is None:
        return is_nil(left) and is_nil(right)
    if kind != _kind(right) or described(left) != described(right):
        raise FunctionError(f"{described(left)} cannot be compared with {described(right)}")
    if kind:
        return left == right
    if is_nil(left) or is_nil(right):
        return is_nil(left) and is_nil(right)
    if type_name(left) == MESSAGE:
        # Go has pointers to messages.
        return left is right
    raise FunctionError(f"{described(left)} cannot be compared")


def _equal(values: Sequence[Value]) -> bool:
    if len(values) == 1:
        raise FunctionError("there is nothing to compare with")
    return any(_is_equal(values[0], other) for other in values[1:])


def _is_less(left: Value, right: Value) -> bool:
    kind = _kind(left)
    if not kind or not _kind(right):
        raise FunctionError(_NO_ORDER)
    if kind != _kind(right):
        raise FunctionError(f"{described(left)} cannot be compared with {described(right)}")
    if isinstance(left, str) and isinstance(right, str):
        return as_bytes(left) < as_bytes(right)
    if not isinstance(left, int | float) or not isinstance(right, int | float) or isinstance(left, bool):
        raise FunctionError(_NO_ORDER)
    return left < right


def _is_at_most(left: Value, right: Value) -> bool:
    return _is_less(left, right) or _is_equal(left, right)


# Lists, maps and text.


def _length(values: Sequence[Value]) -> int:
    match values[0]:
        case str() as text:
            return len(as_bytes(text))
        case list() | dict() as items:
            return len(items)
        case other:
            raise FunctionError(f"{described(other)} has no length")


def _position(index: Value, last: int) -> int:
    if isinstance(index, bool) or not isinstance(index, int):
        raise FunctionError(f"{described(index)} is not an index")
    if not 0 <= index <= last:
        raise FunctionError(f"the index {index} is out of range")
    return index


def _index(values: Sequence[Value]) -> Value:
    item, *indexes = values
    if item is None:
        raise FunctionError("nil has no elements")
    for index in indexes:
        match item:
            case str():
                data = as_bytes(item)
                item = data[_position(index, len(data) - 1)]
            case list():
                item = item[_position(index, len(item) - 1)]
            case dict():
                if not isinstance(index, str):
                    raise FunctionError(f"the keys of this map are texts, and this is {described(index)}")
                item = item.get(index)
            case _:
                raise FunctionError(f"{described(item)} has no elements")
    return item


def _slice(values: Sequence[Value]) -> Value:
    item, *indexes = values
    if len(indexes) > 3:
        raise FunctionError(f"{len(indexes)} indexes are too many")
    if not isinstance(item, str | list):
        raise FunctionError(f"{described(item)} cannot be sliced")
    if isinstance(item, str) and len(indexes) == 3:
        raise FunctionError("text takes two indexes")
    whole: bytes | list[Value] = as_bytes(item) if isinstance(item, str) else item
    bounds = [_position(index, len(whole)) for index in indexes]
    if bounds != sorted(bounds):
        raise FunctionError(f"the indexes {', '.join(map(str, bounds))} do not rise")
    part = whole[bounds[0] if bounds else 0 : bounds[1] if len(bounds) > 1 else len(whole)]
    if isinstance(part, bytes):
        return from_bytes(part)
    return item.remake(part) if isinstance(item, PrintedList) else part


# Text for other formats.

_HTML = str.maketrans({'"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"})
_JS_SPECIAL = re.compile(r"[\\'\"<>&=\x00-\x1f]|[^\x00-\x7f]")


def _escaped(escape: Callable[[str], str]) -> _Call:
    """A function that prints its arguments and escapes the text."""
    return lambda values, room, _: escape(sprint(["<no value>" if value is None else value for value in values], room))


def _escape_for_js(match: re.Match[str]) -> str:
    character = match.group()
    if character in "\\'\"":
        return f"\\{character}"
    if not character.isascii() and (character.isprintable() or is_byte(character)):
        return character
    return f"\\u{ord(character):04X}"


def _json(values: Sequence[Value]) -> str:
    try:
        return to_json(values[0])
    except ValueError:
        # Ollama ignores what cannot be encoded.
        return ""


def _call(values: Sequence[Value]) -> Value:
    raise FunctionError(f"{described(values[0])} is not a function")


# Ollama's own.

_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def _typescript(value: Value) -> str:
    if not isinstance(value, Struct) or value.type_name != "api.ToolProperty":
        return "any"
    alternatives, types = value.fields["AnyOf"], value.fields["Type"]
    if isinstance(alternatives, list) and alternatives:
        return " | ".join(_typescript(each) for each in alternatives)
    names = [_TYPESCRIPT.get(each, "any") for each in types if isinstance(each, str)] if isinstance(types, list) else []
    return " | ".join(names) or "any"


def _day(shift: int) -> _Call:
    return lambda _, __, today: (today + timedelta(days=shift)).isoformat()


GO_FUNCTIONS: Mapping[str, Signature] = {
    # The evaluator implements these two itself: they do not evaluate all of their arguments.
    "and": Signature(_plain(lambda values: values[-1]), 1, None),
    "or": Signature(_plain(lambda values: values[-1]), 1, None),
    "not": Signature(_plain(lambda values: not is_true(values[0])), 1, 1),
    "len": Signature(_plain(_length), 1, 1),
    "index": Signature(_plain(_index), 1, None),
    "slice": Signature(_plain(_slice), 1, None),
    "print": Signature(lambda values, room, _: sprint(values, room), 0, None),
    "println": Signature(lambda values, room, _: sprintln(values, room), 0, None),
    "printf": Signature(
        lambda values, room, _: sprintf(str(values[0]), values[1:], room), 1, None, texts=1, pace=64, is_formatted=True
    ),
    "html": Signature(_escaped(lambda text: text.translate(_HTML)), 0, None),
    "js": Signature(_escaped(lambda text: _JS_SPECIAL.sub(_escape_for_js, text)), 0, None, pace=4),
    "urlquery": Signature(_escaped(lambda text: quote_plus(as_bytes(text))), 0, None, pace=8),
    "call": Signature(_plain(_call), 1, None),
    "eq": Signature(_plain(_equal), 1, None),
    "ne": Signature(_plain(lambda values: not _is_equal(*values)), 2, 2),
    "lt": Signature(_plain(lambda values: _is_less(*values)), 2, 2),
    "le": Signature(_plain(lambda values: _is_at_most(*values)), 2, 2),
    "gt": Signature(_plain(lambda values: not _is_at_most(*values)), 2, 2),
    "ge": Signature(_plain(lambda values: not _is_less(*values)), 2, 2),
}

OLLAMA_FUNCTIONS: Mapping[str, Signature] = {
    "json": Signature(_plain(_json), 1, 1, pace=16),
    "currentDate": Signature(_day(0), 0, None, texts=math.inf),
    "yesterdayDate": Signature(_day(-1), 0, None, texts=math.inf),
    "toTypeScriptType": Signature(_plain(lambda values: _typescript(values[0])), 1, 1),
}

FUNCTIONS: Mapping[str, Signature] = {**GO_FUNCTIONS, **OLLAMA_FUNCTIONS}
