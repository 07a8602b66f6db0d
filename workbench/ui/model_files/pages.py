"""Pages of rows, computed without any widget: running text, and tables to be searched and sorted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from textual.content import Content

from workbench.ui.kit.text import padded, styled

Item = TypeVar("Item")
GAP = 2
"""Columns between two columns of a table."""
WIDE = 100
"""Columns from which there is much room."""


class Page:
    """Rows under a name.

    Args:
        name: The name.
        badge: What stands beside it, such as how many there are.
    """

    searchable = False
    choosable = False

    def __init__(self, name: str, badge: str = "") -> None:
        self.name = name
        self.badge = badge
        self.cursor = 0
        """The row in hand, for when the page is shown again."""

    def count(self, width: int) -> int:
        """How many rows there are in this width."""
        raise NotImplementedError

    def row(self, index: int, width: int) -> Content:
        """One of them."""
        raise NotImplementedError

    def header(self, width: int) -> Content | None:
        """What stays above them."""
        return None

    def note(self) -> str:
        """What is to be said about what is shown."""
        return ""

    def text(self, index: int | None) -> str:
        """What is copied of the row in hand, or of the page."""
        return ""

    def search(self, query: str) -> None:
        """Keep the rows that match."""

    def sort(self, *, turn: bool = False) -> None:
        """Sort by what comes next, or the other way round."""


class TextPage(Page):
    """Running text.

    Args:
        name: The name of the page.
        lay_out: Gives the lines for a width.
        badge: What stands beside the name.
        text: What is copied.
    """

    def __init__(self, name: str, lay_out: Callable[[int], Sequence[Content]], badge: str = "", text: str = "") -> None:
        super().__init__(name, badge)
        self._lay_out = lay_out
        self._width = -1
        self._lines: Sequence[Content] = ()
        self._text = text

    def _laid_out(self, width: int) -> Sequence[Content]:
        if width != self._width:
            self._lines, self._width = self._lay_out(width), width
        return self._lines

    def count(self, width: int) -> int:
        """How many lines it takes."""
        return len(self._laid_out(width))

    def row(self, index: int, width: int) -> Content:
        """One line."""
        lines = self._laid_out(width)
        return lines[index] if index < len(lines) else Content("")

    def text(self, index: int | None) -> str:
        """All of it."""
        return self._text


@dataclass(frozen=True, slots=True)
class Column(Generic[Item]):
    """One column of a table."""

    title: str
    text: Callable[[Item], str]
    width: int = 0
    """Columns on the screen; those with 0 share what the others leave."""
    wide: int = 0
    """The same where there is much room; 0 for no more."""
    right: bool = False
    style: str | Callable[[Item], str] = ""
    key: Callable[[Item], object] | None = None
    """By what it is sorted; None where it is not."""
    descending: bool = False
    """Whether the largest comes first."""
    least: int = 0
    """The width of the screen below which it is left out."""


class TablePage(Page, Generic[Item]):
    """A table.

    Args:
        name: The name of the page.
        items: What it lists.
        columns: What it shows of each.
        found_by: The text that a search looks at.
        copied: What is copied of one.
        what: What the items are, in the plural.
    """

    searchable = True
    choosable = True

    def __init__(
        self,
        name: str,
        items: Sequence[Item],
        columns: Sequence[Column[Item]],
        found_by: Callable[[Item], str],
        copied: Callable[[Item], str],
        what: str,
    ) -> None:
        super().__init__(name, f"{len(items):,}")
        self._items = items
        self._columns = columns
        self._found_by = found_by
        self._copied = copied
        self._what = what
        self._query = ""
        self._sorted: Column[Item] | None = None
        self._turned = False
        self._shown: Sequence[Item] = items
        self._width = WIDE

    @property
    def shown(self) -> Sequence[Item]:
        """What is left by the search, in the order of the table."""
        return self._shown

    def count(self, width: int) -> int:
        """How many items are shown."""
        return len(self._shown)

    def _widths(self, width: int) -> list[tuple[Column[Item], int]]:
        columns = [column for column in self._columns if width >= column.least]
        rooms = [column.wide if column.wide and width >= WIDE else column.width for column in columns]
        rest = max(8, width - sum(rooms) - GAP * (len(columns) - 1) - 2)
        free = max(1, rooms.count(0))
        return [(column, room or rest // free) for column, room in zip(columns, rooms, strict=True)]

    def header(self, width: int) -> Content:
        """The titles; an arrow where the table is sorted."""
        self._width = width
        parts = [(" ", "")]
        for column, room in self._widths(width):
            chosen = column is self._sorted
            arrow = (" ▲" if self._turned == column.descending else " ▼") if chosen else ""
            style = "rows--sorted" if chosen else "rows--header"
            parts += [(padded(column.title + arrow, room, right=column.right), style), (" " * GAP, "")]
        return styled(*parts)

    def row(self, index: int, width: int) -> Content:
        """One item."""
        item = self._shown[index]
        parts = [(" ", "")]
        for column, room in self._widths(width):
            style = column.style(item) if callable(column.style) else column.style
            parts += [(padded(column.text(item), room, right=column.right), style), (" " * GAP, "")]
        return styled(*parts)

    def note(self) -> str:
        """How many are shown, and in which order."""
        shown, all_of_them = len(self._shown), len(self._items)
        some = f"{shown:,} of {all_of_them:,}" if self._query else f"{all_of_them:,}"
        order = f", by {self._sorted.title}" if self._sorted else ""
        return f"{some} {self._what}{order}"

    def text(self, index: int | None) -> str:
        """The item in hand."""
        return self._copied(self._shown[index]) if index is not None and index < len(self._shown) else ""

    def search(self, query: str) -> None:
        """Keep the items whose text has every word of the query."""
        self._query = query.strip().casefold()
        self._arrange()

    def sort(self, *, turn: bool = False) -> None:
        """Sort by the next column that can be, at last in the order of the file; or turn the order round."""
        if turn:
            self._turned = not self._turned
        else:
            in_sight = [column for column, _ in self._widths(self._width)]
            ways = [None, *(column for column in in_sight if column.key is not None)]
            self._sorted = ways[(ways.index(self._sorted) + 1) % len(ways)] if self._sorted in ways else None
            self._turned = False
        self._arrange()

    def sort_at(self, x: int, width: int) -> None:
        """Sort by the column that is at `x`; by the same one again, the other way round."""
        start = 1
        for column, room in self._widths(width):
            if start <= x < start + room + GAP and column.key is not None:
                self._turned = not self._turned if column is self._sorted else False
                self._sorted = column
                self._arrange()
                return
            start += room + GAP

    def _arrange(self) -> None:
        words = self._query.split()
        items: Sequence[Item] = self._items
        if words:
            items = [item for item in items if all(word in self._found_by(item).casefold() for word in words)]
        column = self._sorted
        if column is not None and column.key is not None:
            # A list that is sorted backwards keeps the order of equal items only if it is told to be reversed.
            items = sorted(items, key=_key_of(column), reverse=column.descending != self._turned)
        elif self._turned:
            items = list(reversed(items))
        self._shown = items
        self.cursor = 0


def _key_of(column: Column[Item]) -> Callable[[Item], tuple[str, float]]:
    def key(item: Item) -> tuple[str, float]:
        value = column.key(item) if column.key is not None else ""
        return ("", float(value)) if isinstance(value, int | float) else (str(value).casefold(), 0.0)

    return key
