"""Short texts for tables and panels: truncated, padded, wrapped, styled."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import zip_longest

from rich.cells import cell_len, get_character_cell_size, set_cell_size, split_graphemes
from textual.content import Content, Span

from workbench.core.models import ModelEntry
from workbench.ui.kit.sanitize import clean_line

MEASURE = 100
"""The widest that running text is set, in cells: longer lines are hard to read. Code and tables take all the width."""
SHORT_NAME = 22
"""Columns for the model on a narrow screen."""
WAITS, RUNS = ("·", "rows--dim"), ("▸", "rows--figure")
DONE, FAILED = ("✓", "rows--good"), ("✗", "rows--error")
"""The marks of work in a list, with their styles."""


@lru_cache(maxsize=1024)
def styled(*parts: tuple[str, str]) -> Content:
    """Texts with their component classes, one after the other.

    The same parts give the same object, so that an unchanged line is neither built nor compared again.
    """
    spans: list[Span] = []
    length = 0
    for text, style in parts:
        if style and text:
            spans.append(Span(length, length + len(text), style))
        length += len(text)
    return Content("".join(text for text, _ in parts), spans)


def plain(text: str) -> Content:
    """A text of a file, a model, a server or the user for a widget of Textual, which would parse a string as markup."""
    return Content(clean_line(text))


def short_label(model: ModelEntry, room: int = SHORT_NAME) -> str:
    """Name and quantization in few columns; the name is truncated first."""
    name, quant = clean_line(model.name), clean_line(model.quant or "")
    room -= len(quant) + 1 if quant else 0
    return f"{name if len(name) <= room else name[: max(0, room - 1)] + '…'} {quant}".rstrip()


def short_problem(model: ModelEntry) -> str:
    """Why a model cannot be opened, on one line and without its path."""
    return clean_line(model.problem.removeprefix(f"{model.path}: "))


_logger = logging.getLogger(__name__)


def wrap(line: Content, width: int) -> list[Content]:
    """A styled text wrapped to `width`; where Textual fails on it, cut into rows without their styles.

    The text comes from a model, a server or a file: nothing in it may end the program.
    """
    try:
        return line.wrap(width)
    except Exception:
        _logger.exception("The layout of a text failed; it is shown as plain text")
        return [row for text in line.plain.split("\n") for row in fold(Content(text), max(1, width))]


LONGEST_CELL = 400
"""Characters that are read for one cell: a value of a file may have megabytes."""


def cut(text: str, width: int) -> str:
    """`text` on one line, cleaned, and no wider than `width`."""
    line = clean_line(text[:LONGEST_CELL])
    if cell_len(line) <= width and len(text) <= LONGEST_CELL:
        return line
    return set_cell_size(line, max(0, width - 1)).rstrip() + "…" if width > 0 else ""


def cut_path(text: str, width: int) -> str:
    """The end of a path, no wider than `width`."""
    line = clean_line(text)
    if cell_len(line) <= width:
        return line
    start, room = len(line), width - 1
    while start and (room := room - get_character_cell_size(line[start - 1])) >= 0:
        start -= 1
    return f"…{line[start:]}"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """`text` truncated or filled up to `width` columns."""
    line = cut(text, width)
    fill = " " * max(0, width - cell_len(line))
    return fill + line if right else line + fill


def heading(text: str) -> Content:
    """A heading in running text."""
    return styled((text, "rows--heading"))


def paragraph(text: str, width: int, indent: int = 0, style: str = "") -> list[Content]:
    """Running text wrapped to `width`, every line indented."""
    lines = wrap(Content(text), max(10, width - indent))
    return [Content(" " * indent) + (line.stylize(style) if style else line) for line in lines] or [Content("")]


def pairs(rows: Sequence[tuple[str, str]], width: int) -> list[Content]:
    """Names and values in two columns; a long value is wrapped in its column."""
    names = min(24, max((len(name) for name, _ in rows), default=0))
    lines = []
    for name, value in rows:
        wrapped = wrap(Content(value), max(10, width - names - 4)) or [Content("")]
        for number, line in enumerate(wrapped):
            lines.append(styled((f"  {'' if number else name:<{names}}  ", "rows--dim")) + line)
    return lines


def beside(left: Iterable[Content], right: Iterable[Content], width: int) -> list[Content]:
    """Two columns of lines with a rule between them, the left one of `width` cells."""
    rule = styled((" │ ", "rows--track"))
    pairs = zip_longest(left, right, fillvalue=Content(""))
    return [one.pad_right(max(0, width - one.cell_length)) + rule + other for one, other in pairs]


def cut_line(line: Content, width: int) -> Content:
    """A styled line no wider than `width`."""
    return line if line.cell_length <= width else line.truncate(width, ellipsis=True)


def fold(line: Content, width: int) -> list[Content]:
    """A styled line cut into rows of at most `width` cells, wherever that is in a word.

    `Content.fold` looks at all spans of the line for each of its rows.
    """
    if line.cell_length <= width:
        return [line]
    cuts: list[int] = []
    filled = 0
    for start, _, size in split_graphemes(line.plain)[0]:
        filled += size
        if filled > width and start:
            cuts.append(start)
            filled = size
    return line.divide(cuts)
