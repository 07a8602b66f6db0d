"""Long pastes in a message, folded to one row each."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from workbench.core.prompt_text import Range
from workbench.ui.kit.sanitize import clean
from workbench.ui.kit.text import cut_line, styled
from workbench.ui.markdown.plain import PlainDocument
from workbench.ui.prompt.pastes import summary

OPENED_CHARACTERS = 200_000
"""Characters of an unfolded message that are shown: wrapping more would delay the next frame."""


def folded_lines(text: str, folds: Sequence[Range], width: int, style: str) -> tuple[list[Content], frozenset[int]]:
    """The rows of a message with parts of it folded, and the numbers of the rows in `style` that stand for those."""
    lines: list[Content] = []
    marks = set()
    place = 0
    for start, end in folds:
        lines += _wrapped(text[place:start], width)
        marks.add(len(lines))
        note = f"▸ {summary(text[start:end])}, folded here; all of it is sent"
        lines.append(cut_line(styled((note, style)), width))
        # Text after a paste gets a row of its own, without the blank that separated the two. Several blanks are an
        # indentation, and stay.
        place = end + (text.startswith(" ", end) and not text.startswith("  ", end))
    return lines + _wrapped(text[place:], width), frozenset(marks)


def opened_lines(text: str, width: int, style: str) -> list[Content]:
    """A message with nothing folded; a very long one is truncated."""
    lines = _wrapped(text[:OPENED_CHARACTERS], width)
    if len(text) > OPENED_CHARACTERS:
        note = f"… and {len(text) - OPENED_CHARACTERS:,} more characters, which were sent and can be copied"
        lines.append(cut_line(styled((note, style)), width))
    return lines


def _wrapped(text: str, width: int) -> list[Content]:
    if not (text := clean(text).strip("\n")):
        return []
    document = PlainDocument()
    document.append(text)
    document.resize(width)
    return document.lines
