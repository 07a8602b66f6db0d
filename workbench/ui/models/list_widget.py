"""The list of models, and the panel beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from workbench.core.models import ModelEntry
from workbench.ui.models.model_list import Shelf
from workbench.ui.models.rows import header_row, list_row
from workbench.ui.widgets.lines import Lines
from workbench.ui.widgets.rows import Rows


class ShelfLines(Lines):
    """Rows above and below the list, in the classes of a list."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--name", "rows--dim", "rows--accent", "rows--figure", "rows--good", "rows--warning", "rows--error",
        "rows--strong", "rows--sorted",
    }  # fmt: skip


def _plain(bindings: Sequence[BindingType]) -> list[BindingType]:
    """Those of a list without letters and the space bar, which mean something else beside it."""
    kept: list[BindingType] = []
    for binding in bindings:
        if isinstance(binding, Binding):
            keys = [key for key in binding.key.split(",") if len(key) > 1 and key != "space"]
            kept.append(replace(binding, key=",".join(keys)))
    return kept


class ModelRows(Rows, inherit_bindings=False):
    """The models, as many as there may be."""

    BINDINGS: ClassVar[list[BindingType]] = _plain(Rows.BINDINGS)

    def show_shelf(self, shelf: Shelf, current: ModelEntry | None) -> None:
        """Show a list; the row in hand stays where it is on the screen, if that is possible.

        Args:
            shelf: The list.
            current: The model that is open in the chat.
        """
        rows = shelf.rows
        offset = (self.cursor or 0) - round(self.scroll_y) if self.count else 0
        self.show(
            len(rows),
            lambda index, width: list_row(shelf, rows[index], width, current),
            header=header_row(shelf, self.room),
            choosable=True,
            cursor=shelf.cursor,
        )
        self.call_after_refresh(self._hold, shelf.cursor, offset)

    def _hold(self, cursor: int, offset: int) -> None:
        if self.cursor == cursor and offset >= 0:
            self.scroll_to(y=max(0, cursor - offset), animate=False)
            self.call_after_refresh(self._keep_in_sight)


class TextRows(Rows, inherit_bindings=False):
    """Lines that can be scrolled. What is shown anew stays scrolled to where it was."""

    BINDINGS: ClassVar[list[BindingType]] = _plain(Rows.BINDINGS)

    def __init__(self, widget_id: str) -> None:
        super().__init__(widget_id)
        self.lines: Sequence[Content] = ()

    def show_lines(self, lines: Sequence[Content], *, top: bool = False) -> None:
        """Show lines.

        Args:
            lines: All of them.
            top: Whether they are about something else than those before.
        """
        same = len(lines) == len(self.lines) and all(
            new is old or new.is_same(old) for new, old in zip(lines, self.lines, strict=True)
        )
        if same and not top:
            return
        self.lines = lines
        # As many rows as there is room for, so that the screen is not laid out anew for each model in hand.
        count = max(len(lines), self.scrollable_content_region.height)
        if count != self.count:
            place = 0 if top else self.scroll_y
            self.show(count, self._line)
            if place:
                self.call_after_refresh(self.scroll_to, y=place, animate=False)
            return
        self.redraw()
        if top:
            self.scroll_to(y=0, animate=False)

    def _line(self, index: int, _width: int) -> Content:
        return self.lines[index] if index < len(self.lines) else Content("")
