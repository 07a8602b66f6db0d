"""A list of any length, of which only what is in sight is laid out and drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style

KEPT_STRIPS = 2_000
"""Rows that are kept as drawn, at most."""

RowMaker = Callable[[int, int], Content]
"""Lays out one row: its number and the width."""


class Rows(ScrollView, can_focus=True):
    """Shows rows below a header that stays, and a cursor where rows can be chosen.

    A span's style is the name of a component class, so that colours stay in the style sheets.
    """

    DEFAULT_CSS = """
    Rows {
        height: 1fr;
        overflow-x: hidden;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        scrollbar-color: $gauge-track;
        scrollbar-color-hover: $primary;
        scrollbar-color-active: $primary;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;

        & > .rows--header {
            color: $muted;
            text-style: bold;
        }

        & > .rows--sorted {
            color: $text-accent;
            text-style: bold;
        }

        & > .rows--cursor {
            background: $primary 15%;
        }

        &:focus > .rows--cursor {
            background: $primary 30%;
        }

        & > .rows--heading, & > .rows--name {
            color: $title;
            text-style: bold;
        }

        & > .rows--strong {
            text-style: bold;
        }

        & > .rows--dim {
            color: $muted;
        }

        & > .rows--accent {
            color: $text-accent;
        }

        & > .rows--first {
            color: $text-primary;
        }

        & > .rows--figure, & > .rows--second {
            color: $figure;
        }

        & > .rows--good {
            color: $text-success;
        }

        & > .rows--warning {
            color: $text-warning;
        }

        & > .rows--error {
            color: $text-error;
        }

        & > .rows--bar {
            color: $gauge;
        }

        & > .rows--track {
            color: $gauge-track;
        }

        & > .rows--special {
            color: $code-keyword;
            text-style: bold;
        }

        & > .doc--comment {
            color: $code-comment;
            text-style: italic;
        }

        & > .doc--keyword {
            color: $code-keyword;
        }

        & > .doc--builtin {
            color: $code-builtin;
        }

        & > .doc--function {
            color: $code-function;
        }

        & > .doc--number {
            color: $code-number;
        }

        & > .doc--string {
            color: $code-string;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--header", "rows--sorted", "rows--cursor", "rows--heading", "rows--name", "rows--strong", "rows--dim",
        "rows--accent", "rows--figure", "rows--good", "rows--warning", "rows--error", "rows--bar", "rows--track",
        "rows--special", "rows--first", "rows--second",
        "doc--comment", "doc--keyword", "doc--builtin", "doc--function", "doc--number", "doc--string",
    }  # fmt: skip
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", id="rows.up", show=False, tooltip="Go to the row above."),
        Binding("down,j", "move(1)", "Down", id="rows.down", show=False, tooltip="Go to the next row."),
        Binding("pageup", "page(-1)", "Page up", id="rows.page_up", show=False, tooltip="Go one page up."),
        Binding("pagedown,space", "page(1)", "Page down", id="rows.page_down", show=False,
                tooltip="Go one page down."),
        Binding("home,g", "first", "Top", id="rows.top", show=False, tooltip="Go to the first row."),
        Binding("end,G", "last", "End", id="rows.end", show=False, tooltip="Go to the last row."),
        Binding("enter", "choose", "Open", id="rows.choose", tooltip="Open or take the row in hand."),
    ]
    # fmt: on

    @dataclass
    class Moved(Message):
        """Another row has the cursor."""

        rows: Rows
        index: int

        @property
        def control(self) -> Rows:
            """The list."""
            return self.rows

    @dataclass
    class Chosen(Message):
        """A row was chosen."""

        rows: Rows
        index: int

        @property
        def control(self) -> Rows:
            """The list."""
            return self.rows

    @dataclass
    class HeaderClicked(Message):
        """The header was clicked."""

        rows: Rows
        x: int

        @property
        def control(self) -> Rows:
            """The list."""
            return self.rows

    def __init__(self, widget_id: str | None = None) -> None:
        super().__init__(id=widget_id)
        self._count = 0
        self._row: RowMaker = lambda index, width: Content("")
        self._header: Content | None = None
        self._choosable = False
        self._cursor = 0
        self._strips: dict[int, Strip] = {}
        self._styles_by_name: dict[str, Style] = {}

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._count

    @property
    def cursor(self) -> int | None:
        """The row in hand; None where none is."""
        return self._cursor if self._choosable and self._count else None

    @property
    def room(self) -> int:
        """Columns that a row has."""
        return self.scrollable_content_region.width

    def show(
        self, count: int, row: RowMaker, *, header: Content | None = None, choosable: bool = False, cursor: int = 0
    ) -> None:
        """Show other rows.

        Args:
            count: How many.
            row: Lays out each when it comes into sight.
            header: A row above them that stays.
            choosable: Whether one of them has a cursor.
            cursor: The row that gets it.
        """
        self._count, self._row, self._header, self._choosable = count, row, header, choosable
        self._cursor = max(0, min(count - 1, cursor))
        self._strips.clear()
        # The scrollbar has a gutter of its own, so that the width does not depend on how many rows there are.
        self.virtual_size = Size(self.room, count + (header is not None))
        self.refresh()
        # How far it can be scrolled is known only when it is laid out with as many rows.
        self.call_after_refresh(self._keep_in_sight if choosable else self._to_the_top)

    def _to_the_top(self) -> None:
        self.scroll_to(y=0, animate=False)

    def redraw(self) -> None:
        """Lay the rows out anew; they are as many as before."""
        self._strips.clear()
        self.refresh()

    def move_to(self, index: int) -> None:
        """Put the cursor on a row."""
        index = max(0, min(self._count - 1, index))
        if not self._choosable or index == self._cursor:
            return
        for each in (self._cursor, index):
            self._strips.pop(each, None)
        self._cursor = index
        self._keep_in_sight()
        self.refresh()
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
        """Go some rows on."""
        if self._choosable:
            self.move_to(self._cursor + step)
        else:
            self.scroll_relative(y=step, animate=False)

    def action_page(self, direction: int) -> None:
        """Go a page on."""
        self.action_move(direction * max(1, self._rows_in_sight() - 1))

    def action_first(self) -> None:
        """Go to the first row."""
        self.action_move(-self._count)

    def action_last(self) -> None:
        """Go to the last row."""
        self.action_move(self._count)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A row can be chosen only where one is in hand."""
        return self.cursor is not None if action == "choose" else True

    def action_choose(self) -> None:
        """Choose the row in hand."""
        if self.cursor is not None:
            self.post_message(self.Chosen(self, self._cursor))

    def on_click(self, event: events.Click) -> None:
        """A click takes a row in hand, a second one chooses it."""
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
        """Forget what was drawn in the old colours."""
        super().notify_style_update()
        self._strips.clear()
        self._styles_by_name.clear()

    def watch_has_focus(self, focused: bool) -> None:
        """The cursor is brighter with the focus."""
        super().watch_has_focus(focused)
        self._styles_by_name.clear()
        self._strips.clear()

    def _style(self, name: str | Style) -> Style:
        if isinstance(name, Style):
            return name
        style = self._styles_by_name.get(name)
        if style is None:
            style = self._styles_by_name[name] = self.get_visual_style(name, partial=True)
        return style

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw rows; those that were drawn before are kept."""
        if len(self._strips) > KEPT_STRIPS:
            self._strips.clear()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width = self.room
        if self._header is not None:
            if y == 0:
                return self._draw(self._header, width)
            y -= 1
        index = round(self.scroll_y) + y
        if not 0 <= index < self._count:
            return Strip.blank(width, self.visual_style.rich_style)
        strip = self._strips.get(index)
        if strip is None or strip.cell_length != width:
            line = self._row(index, width)
            strip = self._strips[index] = self._draw(line, width, cursor=index == self.cursor)
        return strip

    def _draw(self, line: Content, width: int, *, cursor: bool = False) -> Strip:
        base = self.visual_style
        if cursor:
            base += self._style("rows--cursor")
        segments = [Segment(text, style.rich_style) for text, style in line.render(base, "", self._style) if text]
        return Strip(segments, line.cell_length).adjust_cell_length(width, base.rich_style)
