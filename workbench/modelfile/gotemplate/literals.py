"""Parse the literals of Go: strings, characters and numbers. All functions raise ValueError for text that is none."""

from __future__ import annotations

import math
import re

_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_ESCAPE = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\'\"])|x(?P<byte>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))|(?P<wrong>\\)"
)
_HEXADECIMAL = re.compile(r"0[xX](?:_?[0-9a-fA-F])+")
_OCTAL = re.compile(r"0[oO]?(?:_?[0-7])+")
_BINARY = re.compile(r"0[bB](?:_?[01])+")
_WHOLE = re.compile(r"0|[1-9](?:_?[0-9])*")
_DIGITS = r"[0-9](?:_?[0-9])*"
_FLOAT = re.compile(rf"(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_HEXADECIMAL_FLOAT = re.compile(
    r"0[xX](?:(?:_?[0-9a-fA-F])+(?:\.(?:[0-9a-fA-F](?:_?[0-9a-fA-F])*)?)?|\.[0-9a-fA-F](?:_?[0-9a-fA-F])*)"
    r"[pP][+-]?[0-9](?:_?[0-9])*"
)
LONGEST_NUMBER = 400
"""In characters. The largest float has 309 digits."""


def _point(match: re.Match[str], quote: str) -> int | bytes:
    """The value of an escape: a code point, or one byte."""
    groups = match.groupdict()
    if simple := groups["simple"]:
        if simple in "'\"" and simple != quote:
            raise ValueError(f"\\{simple} is not an escape between {quote}")
        return _SIMPLE.get(simple) or ord(simple)
    if digits := groups["byte"]:
        return bytes([int(digits, 16)])
    if digits := groups["octal"]:
        if int(digits, 8) > 255:
            raise ValueError(f"{match.group()} is larger than a byte")
        return bytes([int(digits, 8)])
    if digits := groups["short"] or groups["long"]:
        point = int(digits, 16)
        if point > 0x10FFFF or 0xD800 <= point < 0xE000:
            raise ValueError(f"{match.group()} is not a character")
        return point
    raise ValueError(f"{match.string[match.start() : match.start() + 2]} is not an escape")


def unquote(literal: str) -> str:
    r"""The text of a string literal in double quotes or back quotes.

    A byte from \x or an octal escape that is not valid UTF-8 with its neighbours becomes a lone surrogate, as with the
    error handler `surrogateescape`.
    """
    inner = literal[1:-1]
    if literal.startswith("`"):
        return inner.replace("\r", "")
    if "\\" not in inner:
        return inner
    parts: list[bytes] = []
    last = 0
    for match in _ESCAPE.finditer(inner):
        point = _point(match, '"')
        parts.append(inner[last : match.start()].encode("utf-8", "surrogateescape"))
        parts.append(point if isinstance(point, bytes) else chr(point).encode())
        last = match.end()
    parts.append(inner[last:].encode("utf-8", "surrogateescape"))
    return b"".join(parts).decode("utf-8", "surrogateescape")


def character_value(literal: str) -> int:
    """The code point of a character in single quotes."""
    inner = literal[1:-1]
    if len(inner) == 1 and inner != "\\":
        return ord(inner)
    match = _ESCAPE.fullmatch(inner)
    if match is None:
        raise ValueError(f"{literal} is not one character")
    point = _point(match, "'")
    return point[0] if isinstance(point, bytes) else point


def number_value(literal: str) -> int | float:
    """The value of a number: an int if it is written as one, otherwise a float."""
    if len(literal) > LONGEST_NUMBER:
        raise ValueError("a number cannot be that long")
    sign = -1 if literal.startswith("-") else 1
    digits = literal.lstrip("+-") if literal[:1] in ("+", "-") else literal
    plain = digits.replace("_", "")
    for pattern, base in ((_HEXADECIMAL, 16), (_BINARY, 2), (_OCTAL, 8), (_WHOLE, 10)):
        if pattern.fullmatch(digits):
            # Go also accepts octal numbers with a bare leading zero, which Python does not.
            whole = int(plain.lower().replace("o", "") if base == 8 else plain, base)
            if not -(2**63) <= sign * whole < 2**63:
                raise ValueError(f"{literal} does not fit in 64 bits")
            return sign * whole
    if _HEXADECIMAL_FLOAT.fullmatch(digits):
        try:
            value = float.fromhex(plain)
        except OverflowError:
            value = math.inf
    elif _FLOAT.fullmatch(digits) and not plain.isdecimal():
        value = float(plain)
    else:
        raise ValueError(f"{literal} is not a number")
    if math.isinf(value):
        raise ValueError(f"{literal} does not fit in 64 bits")
    return sign * value
