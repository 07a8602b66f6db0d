"""The list of models, and the panel beside it."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from workbench.core.models import ModelEntry
from workbench.ui.models.model_list import Shelf
from workbench.ui.models.rows import header_row, list_row
from workbench.ui.widgets.lines import Lines
from workbench.ui.widgets.rows import Rows
from workbench.ui.widgets.text_rows import without_letters


class ShelfLines(Lines):
    """Rows above and below the list, in the classes of a list."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--name", "rows--dim", "rows--accent", "rows--figure", "rows--good", "rows--warning", "rows--error",
        "rows--strong", "rows--sorted",
    }  # fmt: skip


class ModelRows(Rows, inherit_bindings=False):
    """The models, as many as there may be."""

    BINDINGS: ClassVar[list[BindingType]] = without_letters(Rows.BINDINGS)

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
