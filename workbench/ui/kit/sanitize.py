"""Nothing that a model, a file or a server says reaches the terminal as anything but text.

Control characters are shown as their pictures, one for one and without looking at their neighbours. An escape sequence
that is cut in two by the stream is therefore as harmless as a whole one, and the reader sees that it was there.
"""

from __future__ import annotations

REPLACEMENT = "\ufffd"

_CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
# Overrides and isolates reorder what stands around them: text could be made to read as something else.
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
_LINE_TABLE = {**_TABLE, 0x0A: " ", 0x09: " ", 0x2028: " ", 0x2029: " "}


def clean(text: str) -> str:
    """`text` with nothing in it that a terminal would obey; every line end becomes a newline, tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_TABLE)


def clean_line(text: str) -> str:
    """`text` made harmless and put on one line."""
    if text.isascii() and text.isprintable():
        return text
    return text.replace("\r\n", " ").replace("\r", " ").translate(_LINE_TABLE)


class StreamCleaner:
    """Cleans a text that comes in pieces, with the same outcome as `clean` of the whole."""

    def __init__(self) -> None:
        self._after_return = False

    def feed(self, chunk: str) -> str:
        """The clean form of the next piece."""
        if self._after_return and chunk:
            # The line end was given already for the return at the end of the last piece.
            chunk = chunk.removeprefix("\n")
            self._after_return = False
        if chunk.endswith("\r"):
            self._after_return = True
        return clean(chunk)
