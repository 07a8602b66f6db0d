"""JSON as Go's `encoding/json` writes it."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal

from workbench.modelfile.gotemplate.values import FunctionError, Members, PrintedList, PrintedMap, Struct, Value

MAX_DEPTH = 100
"""The deepest nesting of lists and maps."""

_ESCAPED = re.compile("[<>&\u2028\u2029\udc80-\udcff]")
_EXPONENT = re.compile(r"e([+-])0(\d)$")


def to_json(value: Value, depth: int = 0) -> str:
    """`value` in one line without blanks, the keys of maps sorted, `<`, `>` and `&` escaped; `depth` is its nesting.

    Raises:
        FunctionError: It is nested too deep.
        ValueError: It contains a float that JSON cannot represent.
    """
    if depth > MAX_DEPTH:
        raise FunctionError(f"a value nested more than {MAX_DEPTH} deep cannot be written as JSON")
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int():
            return str(value)
        case float():
            return _float(value)
        case Struct() | PrintedList() | PrintedMap():
            return to_json(value.document, depth)
        case list():
            return f"[{','.join(to_json(element, depth + 1) for element in value)}]"
        case dict():
            members = value.items() if isinstance(value, Members) else sorted(value.items())
            return f"{{{','.join(f'{_text(key)}:{to_json(member, depth + 1)}' for key, member in members)}}}"
        case _:
            return "null"


def _text(text: str) -> str:
    return _ESCAPED.sub(_escape, json.dumps(text, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return "\\ufffd" if "\udc80" <= character <= "\udcff" else f"\\u{ord(character):04x}"


def _float(number: float) -> str:
    if not math.isfinite(number):
        raise ValueError(f"{number} cannot be written as JSON")
    if number == 0 or 1e-6 <= abs(number) < 1e21:
        return format_plain(number)
    return _EXPONENT.sub(r"e\1\2", repr(number))


def format_plain(number: float) -> str:
    """The shortest decimal form of a finite number that parses back to it, without an exponent."""
    return f"{_shortest(number):f}"


def shortest_digits(number: float) -> tuple[str, int]:
    """The fewest digits that parse back to `number`, and its exponent: 0.DIGITS times ten to that power."""
    return "".join(map(str, _shortest(number).as_tuple().digits)), _shortest(number).adjusted() + 1


def _shortest(number: float) -> Decimal:
    return Decimal(repr(number)).normalize()
