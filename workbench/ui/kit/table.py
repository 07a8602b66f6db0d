"""The table of this program: columns with widths, alignment and order; cells that are text or styled text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from textual.content import Content, Span

from workbench.ui.kit.text import cut_line, padded

Item = TypeVar("Item")
WIDE = 100
"""Width of a table, in terminal columns, from which `Column.wide` applies."""
LEAST_FLEXIBLE = 8
"""Width that a column without a fixed width keeps, however narrow the table."""
MOST_FLEXIBLE = 56
"""Width of a column without a fixed width that has figures behind it: they stay beside what they belong to."""
_NUMBER = re.compile(r"\d{1,12}")


@lru_cache(maxsize=8192)
def natural(text: str) -> str:
    """A sort key for `text` in which digits count as numbers and upper case is no different from lower case."""
    return _NUMBER.sub(lambda digits: digits[0].zfill(12), text.casefold())


@dataclass(frozen=True)
class Column(Generic[Item]):
    """One column of a table. All widths are terminal columns."""

    title: str
    cell: Callable[[Item], str | Content]
    """Text, which gets `style`, or content that is already styled and harmless."""
    width: int = 0
    """0: the columns without a width share what the others leave."""
    wide: int = 0
    """The width in a table of at least `WIDE` columns; 0: the same."""
    right: bool = False
    style: str = ""
    key: Callable[[Item], object] | None = None
    """The sort key; None: the table cannot be sorted by this column."""
    descending: bool = False
    """Whether the first press sorts the largest to the top."""
    least: int = 0
    """Width of the table below which the column is left out."""


class Table(Generic[Item]):
    """Lays out rows in columns.

    `indent` and `gap` are terminal columns before the first column and between two. While the columns without a width
    would get less than `least_flexible`, the last column is left out; two always stay.

    Example:
        >>> table = Table([Column("name", str), Column("letters", lambda text: str(len(text)), 7, right=True)])
        >>> table.row("llama", 20).plain
        'llama              5'
    """

    def __init__(
        self,
        columns: Sequence[Column[Item]],
        *,
        indent: int = 0,
        gap: int = 2,
        least_flexible: int = LEAST_FLEXIBLE,
    ) -> None:
        self.columns = columns
        self._indent = indent
        self._gap = gap
        self._least_flexible = least_flexible
        self._layout: tuple[int, list[tuple[Column[Item], int]]] = (-1, [])

    def laid_out(self, width: int) -> list[tuple[Column[Item], int]]:
        if width != self._layout[0]:
            self._layout = (width, self._lay_out(width))
        return self._layout[1]

    def _lay_out(self, width: int) -> list[tuple[Column[Item], int]]:
        shown = [
            (column, column.wide if column.wide and width >= WIDE else column.width)
            for column in self.columns
            if width >= column.least
        ]
        while True:
            flexible = sum(not room for _, room in shown)
            rest = width - self._indent - sum(room for _, room in shown) - self._gap * (len(shown) - 1)
            if rest >= flexible * self._least_flexible or len(shown) <= 2:
                break
            shown.pop()
        each = max(LEAST_FLEXIBLE, rest // max(1, flexible))
        last = max((index for index, (column, _) in enumerate(shown) if column.right), default=0)
        return [
            (column, room or (min(each, MOST_FLEXIBLE) if index < last else each))
            for index, (column, room) in enumerate(shown)
        ]

    def header(self, width: int, by: Column[Item] | None = None, *, ascending: bool = True) -> Content:
        """The titles; the one of column `by` is marked with the direction of the order."""
        cells: list[str | Content] = []
        for column, _ in self.laid_out(width):
            arrow = ("↑" if ascending else "↓") if column is by else ""
            # Beside a figure the arrow stands in front, so that the title ends where the figures do.
            title = f"{arrow}{column.title}" if column.right else f"{column.title} {arrow}".rstrip()
            cells.append(Content.styled(title, "rows--sorted" if arrow else "rows--header"))
        return self._joined(cells, self.laid_out(width))

    def row(self, item: Item, width: int, span: tuple[int, int, Content] | None = None) -> Content:
        """One item; `span` puts content in place of the cells of the columns from one index up to another."""
        columns = self.laid_out(width)
        if span is None:
            return self._joined([column.cell(item) for column, _ in columns], columns)
        first, end, content = span
        room = sum(each for _, each in columns[first:end]) + self._gap * (end - first - 1)
        before, behind = columns[:first], columns[end:]
        return self._joined(
            [*(column.cell(item) for column, _ in before), content, *(column.cell(item) for column, _ in behind)],
            [*before, (Column("", lambda _: content), room), *behind],
        )

    def column_at(self, x: int, width: int) -> Column[Item] | None:
        """The column at offset `x` of a row, the gap behind it included."""
        start = self._indent
        for column, room in self.laid_out(width):
            if start <= x < start + room + self._gap:
                return column
            start += room + self._gap
        return None

    def _joined(self, cells: Sequence[str | Content], columns: Sequence[tuple[Column[Item], int]]) -> Content:
        texts = [" " * self._indent]
        spans: list[Span] = []
        length = self._indent
        for cell, (column, room) in zip(cells, columns, strict=True):
            if isinstance(cell, str):
                text = padded(cell, room, right=column.right)
                if column.style:
                    spans.append(Span(length, length + len(text), column.style))
            else:
                shown = cut_line(cell, room)
                fill = " " * (room - shown.cell_length)
                text = fill + shown.plain if column.right else shown.plain + fill
                offset = length + (len(fill) if column.right else 0)
                spans += [Span(start + offset, end + offset, style) for start, end, style in shown.spans]
            texts += [text, " " * self._gap]
            length += len(text) + self._gap
        return Content("".join(texts[:-1]), spans)
