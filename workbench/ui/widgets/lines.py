"""The base of everything that this program draws itself: styled lines, each drawn once.

A screen of nested widgets costs a layout and a style look-up for each of them; lines cost neither. What changed since
the last time is found by comparing lines, and only those rows are drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.color import Color
from textual.content import Content
from textual.filter import LineFilter
from textual.geometry import Region, Size, Spacing
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget


def expect_growth(widget: Widget, rows: int) -> None:
    """Tell a widget the height that the coming layout will find.

    A layout that finds another height than the widget knew of asks for a second layout, and the whole screen is drawn
    twice for each row that an answer grows by.
    """
    width, height = widget.virtual_size
    widget.set_reactive(Widget.virtual_size, Size(width, max(0, height + rows)))


_RowLook = tuple[Sequence[LineFilter], Color, Spacing, int]
"""What the finished rows depend on besides the lines: filters, background, padding, and the width without it."""

KEPT_ROWS = 400
"""So many rows are kept. Each is some tens of objects, which the garbage collector goes through again and again."""


class Lines(Widget):
    """Shows styled lines.

    A span's style is the name of a component class of the widget, so that colours stay in the style sheets.
    """

    DEFAULT_CSS = """
    Lines {
        height: auto;
    }
    """

    INDENT: ClassVar[int] = 0
    """Empty columns to the left of the lines."""

    def __init__(self, *, widget_id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=widget_id, classes=classes)
        self.auto_links = False
        self._lines: list[Content] = []
        self._rows: dict[int, Strip] = {}
        self._row_look: _RowLook | None = None
        self._styles_by_name: dict[str, Style] = {}

    @property
    def lines(self) -> Sequence[Content]:
        """What is shown."""
        return self._lines

    def set_lines(self, lines: Sequence[Content]) -> int:
        """Show `lines`; only those that differ from what is shown are drawn. Returns the growth in rows."""
        return self.replace_lines(0, lines)

    def replace_lines(self, start: int, lines: Sequence[Content]) -> int:
        """Put `lines` in place of line `start` and all that follow; only those that differ are drawn.

        Returns:
            By how many rows the widget grows.
        """
        shown = self._lines[start:]
        changed = [
            start + index
            for index, line in enumerate(lines)
            if index >= len(shown) or (line is not shown[index] and not line.is_same(shown[index]))
        ]
        self._lines[start:] = lines
        # A widget that is higher than its lines would go on to show those that are gone.
        for y in (*changed, *range(len(self._lines), start + len(shown))):
            self._rows.pop(y, None)
        growth = len(lines) - len(shown)
        if growth:
            expect_growth(self, growth)
            self.refresh(layout=True)
        elif changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))
        return growth

    def forget_drawn(self) -> None:
        """Draw every row anew, the next time."""
        self._rows.clear()

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """All the width there is."""
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """One row a line."""
        return len(self._lines)

    def notify_style_update(self) -> None:
        """Forget what was drawn in the old colours."""
        super().notify_style_update()
        self.forget_drawn()
        self._styles_by_name.clear()

    def selection_updated(self, selection: Selection | None) -> None:
        """Draw the selection."""
        self.forget_drawn()
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text."""
        return selection.extract("\n".join(line.plain for line in self._lines)), "\n"

    def _style(self, name: str | Style) -> Style:
        if isinstance(name, Style):
            return name
        style = self._styles_by_name.get(name)
        if style is None:
            style = self._styles_by_name[name] = self.get_visual_style(name, partial=True)
        return style

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw rows; those that were drawn before are the same objects, with all that was worked out for them.

        Whatever is drawn of the screen, the framework asks every widget for all of its rows, so the rows are kept here.
        A widget with a border of its own leaves that to the framework.
        """
        padding = self.gutter
        if padding != self.styles.padding:
            return super().render_lines(crop)
        look = (self.get_line_filters(), self.background_colors[1], padding, self.size.width)
        if look != self._row_look:
            self._row_look = look
            self._rows.clear()
        first, rows = padding.top, self._rows
        strips = [rows.get(y - first) or self._finish(y - first, look) for y in crop.line_range]
        if crop.column_span != (0, look[3] + padding.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def _finish(self, y: int, look: _RowLook) -> Strip:
        """A row with what stands beside it and what the framework makes of it; `y` counts from the first line."""
        filters, background, padding, width = look
        is_line = 0 <= y < self.size.height
        beside = RichStyle.from_color(bgcolor=background.rich_color)
        if is_line:
            strip = self.render_line(y)
            if padding.width:
                sides = [Strip.blank(columns, beside) for columns in (padding.left, padding.right)]
                strip = Strip.join([sides[0], strip, sides[1]])
        else:
            strip = Strip.blank(width + padding.width, beside)
        for each in filters:
            strip = strip.apply_filter(each, background)
        if is_line:
            if len(self._rows) >= KEPT_ROWS:
                self._rows.clear()
            self._rows[y] = strip
        return strip

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width, indent = self.size.width, self.INDENT
        base = self.visual_style
        # A widget that was just removed may still be in the frame that is being drawn.
        if y >= len(self._lines) or not self.is_attached:
            return Strip.blank(width, base.rich_style)
        line = self._lines[y]
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(y)) is not None:
            start, end = span
            selected = Style.from_styles(self.screen.get_component_styles("screen--selection"))
            line = line.stylize(selected, start, None if end == -1 else end)
        segments = [Segment(text, style.rich_style) for text, style in line.render(base, "", self._style) if text]
        strip = Strip(segments, line.cell_length).adjust_cell_length(width - indent, base.rich_style)
        strip = strip.apply_offsets(0, y)
        return Strip.join([Strip.blank(indent, base.rich_style), strip]) if indent else strip
