"""A list of any length, of which only the visible rows are laid out and drawn."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.ui.keys import key
from workbench.ui.widgets.painter import LinePainter, styles_of

RowMaker = Callable[[int, int], Content]
"""Lays out one row: its number and the width."""
RowKey = Callable[[int], Hashable]
"""Gives what identifies all that a row shows, by its number."""
_HEADER = "header"


def without_keys(bindings: Iterable[BindingType], keys: Container[str]) -> list[BindingType]:
    """Bindings without some keys, which a list or its screen uses for other actions."""
    return [
        replace(binding, key=",".join(left))
        for binding in bindings
        if isinstance(binding, Binding) and (left := [key for key in binding.key.split(",") if key not in keys])
    ]


class Rows(ScrollView, can_focus=True):
    """Shows rows below a header that stays, with a cursor where rows can be chosen.

    A span's style is the name of a component class, so that colours stay in the style sheets.
    """

    DEFAULT_CSS = styles_of(__file__)
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--header", "rows--sorted", "rows--cursor", "rows--heading", "rows--name", "rows--strong", "rows--dim",
        "rows--accent", "rows--figure", "rows--good", "rows--warning", "rows--error", "rows--bar", "rows--track",
        "rows--first", "rows--second", "doc--number",
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        key("rows.up", "up,k", "Up", "Go to the row above.", action="move(-1)", show=False),
        key("rows.down", "down,j", "Down", "Go to the next row.", action="move(1)", show=False),
        key("rows.page_up", "pageup", "Page up", "Go one page up.", action="page(-1)", show=False),
        key("rows.page_down", "pagedown,space", "Page down", "Go one page down.", action="page(1)", show=False),
        key("rows.top", "home,g", "Top", "Go to the first row.", action="first", show=False),
        key("rows.end", "end,G", "End", "Go to the last row.", action="last", show=False),
        key("rows.help", "question_mark", "Help", "Explain the screen.", action="app.help", show=False),
        key("rows.choose", "enter", "Open", "Open or choose the selected row."),
    ]

    @dataclass
    class _RowsMessage(Message):
        rows: Rows

        @property
        def control(self) -> Rows:
            return self.rows

    @dataclass
    class Moved(_RowsMessage):
        """Another row has the cursor."""

        index: int

    @dataclass
    class Chosen(_RowsMessage):
        """A row was chosen."""

        index: int

    @dataclass
    class HeaderClicked(_RowsMessage):
        """The header was clicked."""

        x: int

    def __init__(self, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id)
        self._count = 0
        self._row: RowMaker = lambda index, width: Content("")
        self._key: RowKey | None = None
        self._header: Content | None = None
        self._choosable = False
        self._cursor = 0
        self._painter = LinePainter(self)

    @property
    def count(self) -> int:
        return self._count

    @property
    def cursor(self) -> int | None:
        """The selected row; None where none is."""
        return self._cursor if self._choosable and self._count else None

    @property
    def room(self) -> int:
        """Columns that a row has."""
        return self.scrollable_content_region.width

    def show(
        self,
        count: int,
        row: RowMaker,
        *,
        header: Content | None = None,
        choosable: bool = False,
        cursor: int = 0,
        hold: bool = False,
        key: RowKey | None = None,
    ) -> None:
        """Show other rows; `row` lays each out when it becomes visible.

        A row whose `key` is the same as before, at whatever place, is not laid out again.
        The row `cursor` is selected if they are `choosable`; `hold` leaves it at the height of the one before.
        """
        height = self._cursor - round(self.scroll_y) if hold and self._count else -1
        if key is None or self._key is None:
            self._painter.forget()
        self._painter.forget(_HEADER)
        self._count, self._row, self._header, self._choosable, self._key = count, row, header, choosable, key
        self._cursor = max(0, min(count - 1, cursor))
        self._set_height(count + (header is not None))
        self.refresh()
        if self.show_vertical_scrollbar:
            self._scroll_to_cursor(self._cursor, height)
        # A list that was short can be scrolled only after the layout.
        self.call_after_refresh(self._scroll_to_cursor, self._cursor, height)

    def _set_height(self, rows: int) -> None:
        """Set how far the list can be scrolled. Only a scrollbar that appears or vanishes needs another layout."""
        # The scrollbar has a gutter of its own, so that the width does not depend on how many rows there are.
        size = Size(self.room, rows)
        wanted = self.styles.overflow_y == "scroll" or rows > self.container_size.height
        if not self.container_size or self.show_vertical_scrollbar != wanted:
            self.virtual_size = size
            return
        self.set_reactive(Rows.virtual_size, size)
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.window_virtual_size = rows

    def _scroll_to_cursor(self, cursor: int, height: int) -> None:
        if not self._choosable:
            self.scroll_to(y=0, animate=False)
        elif cursor == self._cursor:
            if height >= 0:
                self.scroll_to(y=max(0, cursor - height), animate=False)
            self._keep_in_sight()

    def redraw(self, *rows: int) -> None:
        """Draw some rows anew; without an argument, all of them. Their number stays the same."""
        self._painter.forget(*(self._identity(row) for row in rows))
        top = round(self.scroll_y) - (self._header is not None)
        self.refresh(*(Region(0, row - top, self.room, 1) for row in rows))

    def move_to(self, index: int) -> None:
        index = max(0, min(self._count - 1, index))
        if not self._choosable or index == self._cursor:
            return
        before, self._cursor = self._cursor, index
        self.redraw(before, index)
        self._keep_in_sight()
        self.post_message(self.Moved(self, index))

    def _rows_in_sight(self) -> int:
        return max(1, self.scrollable_content_region.height - (self._header is not None))

    def _keep_in_sight(self) -> None:
        top, height = round(self.scroll_y), self._rows_in_sight()
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False)

    def action_move(self, step: int) -> None:
        if self._choosable:
            self.move_to(self._cursor + step)
        else:
            self.scroll_relative(y=step, animate=False)

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self._rows_in_sight() - 1))

    def action_first(self) -> None:
        self.action_move(-self._count)

    def action_last(self) -> None:
        self.action_move(self._count)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.cursor is not None if action == "choose" else True

    def action_choose(self) -> None:
        if self.cursor is not None:
            self.post_message(self.Chosen(self, self._cursor))

    def on_click(self, event: events.Click) -> None:
        if self._header is not None and event.y == 0:
            self.post_message(self.HeaderClicked(self, event.x))
            return
        index = round(self.scroll_y) + event.y - (self._header is not None)
        if not self._choosable or not 0 <= index < self._count:
            return
        if event.chain >= 2 and index == self._cursor:
            self.action_choose()
        self.move_to(index)

    # Drawing

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._painter.forget_styles()

    def watch_has_focus(self, focused: bool) -> None:
        super().watch_has_focus(focused)
        self._painter.forget_styles()

    def render_lines(self, crop: Region) -> list[Strip]:
        drawn = self._painter.render_lines(crop, self.room, self._identity_at, self.render_line)
        return super().render_lines(crop) if drawn is None else drawn

    def _identity_at(self, y: int) -> Hashable | None:
        index = self._row_at(y)
        return None if index is None else _HEADER if index < 0 else self._identity(index)

    def _identity(self, index: int) -> Hashable:
        """Identifies what the row at an index shows, the cursor included."""
        return (index if self._key is None else self._key(index), index == self.cursor)

    def _row_at(self, y: int) -> int | None:
        """The index of the row at a height of the widget; -1 for the header, None where there is none."""
        if self._header is not None:
            if y == 0:
                return -1
            y -= 1
        index = round(self.scroll_y) + y
        return index if 0 <= index < self._count else None

    def render_line(self, y: int) -> Strip:
        width, base, index = self.room, self.visual_style, self._row_at(y)
        if index is None:
            return Strip.blank(width, base.rich_style)
        if index < 0 and self._header is not None:
            return self._painter.draw(self._header, width, base)
        if index == self.cursor:
            base += self._painter.style("rows--cursor")
        return self._painter.draw(self._row(index, width), width, base)
