"""A list of text lines that scrolls without a selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from workbench.ui.widgets.rows import Rows


def without_letters(bindings: Sequence[BindingType]) -> list[BindingType]:
    """Those of a list without letters and the space bar, which mean something else beside it."""
    kept: list[BindingType] = []
    for binding in bindings:
        if isinstance(binding, Binding):
            keys = [key for key in binding.key.split(",") if len(key) > 1 and key != "space"]
            kept.append(replace(binding, key=",".join(keys)))
    return kept


class TextRows(Rows, inherit_bindings=False):
    """Lines that can be scrolled. What is shown anew stays scrolled to where it was."""

    BINDINGS: ClassVar[list[BindingType]] = without_letters(Rows.BINDINGS)

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
