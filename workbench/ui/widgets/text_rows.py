"""A list of text lines that scrolls without a selection."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content

from workbench.ui.widgets.rows import Rows, without_keys


class TextRows(Rows, inherit_bindings=False):
    """Lines that can be scrolled. New lines keep the scroll position."""

    BINDINGS: ClassVar[list[BindingType]] = without_keys(Rows.BINDINGS, {"space"})

    def __init__(self, widget_id: str) -> None:
        super().__init__(widget_id)
        self.lines: Sequence[Content] = ()

    def show_lines(self, lines: Sequence[Content], *, top: bool = False) -> None:
        """Show lines, from the `top` if they are about something else than those before."""
        pairs = enumerate(zip_longest(lines, self.lines, fillvalue=Content("")))
        changed = [number for number, (new, old) in pairs if new is not old and not new.is_same(old)]
        if len(lines) == len(self.lines) and not changed and not top:
            return
        self.lines = lines
        # As many rows as there is room for, so that the screen is not laid out anew for each selected model.
        count = max(len(lines), self.scrollable_content_region.height)
        if count != self.count:
            place = 0 if top else self.scroll_y
            self.show(count, self._line)
            if place:
                self.call_after_refresh(self.scroll_to, y=place, animate=False)
            return
        if changed:
            self.redraw(*changed)
        if top:
            self.scroll_to(y=0, animate=False)

    def _line(self, index: int, _width: int) -> Content:
        return self.lines[index] if index < len(self.lines) else Content("")
