"""The base of the widgets that this program draws itself: styled lines, each drawn once.

A screen of nested widgets costs a layout and a style look-up for each of them; lines cost neither. A new set of lines
is compared with the old one, and only the rows that differ are drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.content import Content
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from workbench.ui.widgets.painter import LinePainter


def expect_growth(widget: Widget, rows: int) -> None:
    """Set the height of a widget that the coming layout will find.

    A layout that finds another height asks for a second layout, and the whole screen is drawn twice for each row that
    an answer grows by.
    """
    width, height = widget.virtual_size
    widget.set_reactive(Widget.virtual_size, Size(width, max(0, height + rows)))


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
        self._painter = LinePainter(self)

    @property
    def lines(self) -> Sequence[Content]:
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
        if gone := (*changed, *range(len(self._lines), start + len(shown))):
            self._painter.forget(*gone)
        growth = len(lines) - len(shown)
        if growth:
            expect_growth(self, growth)
            self.refresh(layout=True)
        elif changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))
        return growth

    def replace_line(self, y: int, line: Content) -> None:
        if not line.is_same(self._lines[y]):
            self._lines[y] = line
            self._painter.forget(y)
            self.refresh(Region(0, y, self.size.width, 1))

    def forget_drawn(self) -> None:
        self._painter.forget()

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._painter.forget_styles()

    def selection_updated(self, selection: Selection | None) -> None:
        self.forget_drawn()
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract("\n".join(line.plain for line in self._lines)), "\n"

    def render_lines(self, crop: Region) -> list[Strip]:
        width, height = self.size
        row_at = lambda y: y if 0 <= y < height else None  # noqa: E731
        drawn = self._painter.render_lines(crop, width, row_at, self.render_line)
        return super().render_lines(crop) if drawn is None else drawn

    def render_line(self, y: int) -> Strip:
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
        strip = self._painter.draw(line, width - indent, base).apply_offsets(0, y)
        return Strip.join([Strip.blank(indent, base.rich_style), strip]) if indent else strip
