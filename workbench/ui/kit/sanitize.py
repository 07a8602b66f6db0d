"""Makes the text of models, files and servers safe for the terminal.

Control characters are shown as their pictures, one for one and independent of their neighbours. An escape sequence
that is cut in two by the stream is therefore as harmless as a whole one, and the reader sees that it was there.
"""

from __future__ import annotations

import re

from rich.cells import get_character_cell_size

REPLACEMENT = "\ufffd"
MAX_MARKS = 30
"""Combining characters that one letter keeps, the limit of UAX #15 for stream-safe text; more of them are dropped.

They take no cells, so that without a limit a row would hold a text of any length.
"""
_JOINER = "\u200d"
# What may be a run of characters without a width. The joiner takes the next character into its own cell; the two
# alternatives exclude each other, which keeps the search linear.
_PERHAPS_RUN = re.compile(rf"(?:[^\x00-\xac\xae-\u02ff]|(?<={_JOINER})[\x00-\x09\x0b-\xac\xae-\u02ff]){{{MAX_MARKS},}}")

_CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
# Overrides and isolates reorder the text around them, so that it could be made to read as something else.
_BIDI_CONTROLS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_TABLE: dict[int, str] = {
    **_CONTROL_PICTURES,
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), REPLACEMENT),
    **dict.fromkeys(_BIDI_CONTROLS, REPLACEMENT),
    # A lone surrogate cannot be encoded: writing it would end the program.
    **dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT),
    0x2028: "\n",
    0x2029: "\n",
    0xFEFF: "",
}
_TO_SPACES = {0x0A: " ", 0x09: " "}


def _without_floods(run: re.Match[str]) -> str:
    """A run of characters with no more than `MAX_MARKS` of them in one cell."""
    kept: list[str] = []
    marks = 0
    joined = False
    for character in run[0]:
        is_joiner = character == _JOINER
        if not joined and get_character_cell_size(character):
            marks = 0
        elif marks + is_joiner < MAX_MARKS:
            # The letter that a joiner takes into the cell has to fit as well.
            marks += 1
        else:
            continue
        joined = is_joiner
        kept.append(character)
    return "".join(kept)


def _limited(text: str) -> str:
    return text if text.isascii() else _PERHAPS_RUN.sub(_without_floods, text)


def _harmless(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_TABLE)


def clean(text: str) -> str:
    """`text` with nothing in it that a terminal would obey; every line end becomes a newline, tabs stay."""
    return text if text.isascii() and text.isprintable() else _limited(_harmless(text))


def clean_line(text: str) -> str:
    """`text` made harmless and put on one line."""
    return text if text.isascii() and text.isprintable() else _limited(_harmless(text).translate(_TO_SPACES))


class StreamCleaner:
    """Cleans a text that comes in pieces, with the same outcome as `clean` of the whole."""

    def __init__(self) -> None:
        self._after_return = False
        self._last = ""
        """The end of the text so far: the last letter with its marks is in it."""

    def feed(self, chunk: str) -> str:
        if self._after_return and chunk:
            # The newline was already given for the carriage return at the end of the last piece.
            chunk = chunk.removeprefix("\n")
            self._after_return = False
        if chunk.endswith("\r"):
            self._after_return = True
        cleaned = _limited(self._last + _harmless(chunk))[len(self._last) :]
        self._last = (self._last + cleaned)[-MAX_MARKS - 1 :]
        return cleaned
