"""Locate the statements of a TOML text: tomllib returns the values of a file, but not their lines.

The text must be valid: nothing is checked here.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass

_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*+")
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*')"""
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*+")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_STRING = (
    r"""(?:\"{3}(?:\\[\s\S]|(?!\"{3})[^\\])*+\"{3,5}|'{3}(?:(?!'{3})[\s\S])*+'{3,5}|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*')"""
)
_WHOLE_STRING = re.compile(_STRING)
_BARE = re.compile(r"[^,\]}#\r\n]*")
_IN_BRACKETS = re.compile(rf"(?P<open>[\[{{])|(?P<close>[\]}}])|{_STRING}|#[^\n]*|[^\[\]{{}}\"'#]+")


@dataclass(frozen=True, slots=True)
class Statement:
    """A `key = value`, or the header of a table."""

    keys: tuple[str, ...]
    """The whole path of the key, with that of its table."""
    line: int
    """Counted from 1."""
    start: int
    """Where the key or the header starts in the text."""
    value_start: int
    end: int
    """Where the value or the header ends."""
    is_header: bool = False


def key_path(text: str) -> tuple[str, ...]:
    """The parts of a dotted key."""
    parts = []
    value: object = tomllib.loads(f"{text} = 0")
    while isinstance(value, dict):
        part, value = next(iter(value.items()))
        parts.append(part)
    return tuple(parts)


def _value_end(text: str, start: int) -> int:
    if text.startswith(("[", "{"), start):
        depth, position = 0, start
        while match := _IN_BRACKETS.match(text, position):
            position = match.end()
            depth += bool(match["open"]) - bool(match["close"])
            if depth == 0:
                break
        return position
    match = _WHOLE_STRING.match(text, start) or _BARE.match(text, start)
    return start + len(match.group().rstrip()) if match else start


def scan(text: str) -> list[Statement]:
    """The statements of `text`, in order."""
    statements: list[Statement] = []
    table: tuple[str, ...] = ()
    line, counted, position = 1, 0, 0
    while space := _SPACE.match(text, position):
        start = space.end()
        line += text.count("\n", counted, start)
        counted = start
        is_header = text.startswith("[", start)
        key_start = start
        while is_header and text[key_start] in "[ \t":
            key_start += 1
        key = _KEY.match(text, key_start)
        if key is None:
            break
        keys = key_path(key.group())
        if is_header:
            table = keys
            line_end = text.find("\n", key.end())
            position = len(text) if line_end < 0 else line_end
            statements.append(Statement(keys, line, start, start, position, is_header=True))
            continue
        equals = _EQUALS.match(text, key.end())
        value_start = equals.end() if equals else key.end()
        position = _value_end(text, value_start)
        statements.append(Statement(table + keys, line, start, value_start, position))
    return statements
