"""Pages of a model file, computed without any widget: running text, and tables to be searched and sorted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic

from textual.content import Content

from workbench.ui.kit.table import Column, Item, Table


class TextPage:
    """Running text: `lay_out` gives its lines for a width, `copied` is the text to copy."""

    def __init__(
        self, name: str, lay_out: Callable[[int], Sequence[Content]], badge: str = "", copied: str = ""
    ) -> None:
        self.name = name
        self.badge = badge
        self.copied = copied
        self.lines = lru_cache(maxsize=1)(lay_out)

    def row(self, index: int, width: int) -> Content:
        lines = self.lines(width)
        return lines[index] if index < len(lines) else Content("")


@dataclass(eq=False)
class TablePage(Generic[Item]):
    """A table."""

    name: str
    items: Sequence[Item]
    columns: Sequence[Column[Item]]
    searched: Callable[[Item], str]
    """The text of an item that a search looks at."""
    copied: Callable[[Item], str]
    """The text of an item to copy."""
    plural: str
    """The name of the items."""

    def __post_init__(self) -> None:
        self.badge = f"{len(self.items):,}"
        self.cursor = 0
        """The selected row, restored when the page is shown again."""
        self.shown = self.items
        """The items that match, in the order of the table."""
        self._table = Table(self.columns, indent=1)
        self._query = ""
        self._sorted: Column[Item] | None = None
        self._reversed = False
        self._width = 0

    def header(self, width: int) -> Content:
        self._width = width
        ascending = self._sorted is None or self._sorted.descending == self._reversed
        return self._table.header(width - 1, self._sorted, ascending=ascending)

    def row(self, index: int, width: int) -> Content:
        return self._table.row(self.shown[index], width - 1)

    def note(self) -> str:
        """How many rows are shown, and in which order."""
        some = f"{len(self.shown):,} of " if self._query else ""
        order = f", by {self._sorted.title}" if self._sorted else ""
        return f"{some}{len(self.items):,} {self.plural}{order}"

    def search(self, query: str) -> None:
        self._query = query.strip().casefold()
        self._arrange()

    def sort(self, *, reverse: bool = False) -> None:
        """Sort by the next column, or reverse the order."""
        if reverse:
            self._reversed = not self._reversed
        else:
            # After the last column comes the order of the file.
            columns = [column for column, _ in self._table.laid_out(self._width - 1) if column.key is not None]
            following = columns.index(self._sorted) + 1 if self._sorted in columns else 0
            self._sorted = columns[following] if following < len(columns) else None
            self._reversed = False
        self._arrange()

    def sort_at(self, x: int, width: int) -> None:
        """Sort by the column at offset `x`; reverse the order if it is sorted by that one already."""
        column = self._table.column_at(x, width - 1)
        if column is not None and column.key is not None:
            self._reversed = not self._reversed if column is self._sorted else False
            self._sorted = column
            self._arrange()

    def _arrange(self) -> None:
        words = self._query.split()
        items = [item for item in self.items if all(word in self.searched(item).casefold() for word in words)]
        if (column := self._sorted) is not None:
            items.sort(key=_key_of(column), reverse=column.descending != self._reversed)
        elif self._reversed:
            items.reverse()
        self.shown = items
        self.cursor = 0


Page = TextPage | TablePage[Any]


def _key_of(column: Column[Item]) -> Callable[[Item], tuple[str, float]]:
    def key(item: Item) -> tuple[str, float]:
        value = column.key(item) if column.key is not None else ""
        return ("", float(value)) if isinstance(value, int | float) else (str(value).casefold(), 0.0)

    return key
