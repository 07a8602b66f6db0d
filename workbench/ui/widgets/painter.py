"""Draws the styled lines of a widget, and keeps the finished rows.

Whatever part of the screen changed, the framework asks every widget there for all of its rows. A row that is kept is
the same object as before, with all that was worked out for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.color import Color
from textual.content import Content
from textual.filter import LineFilter
from textual.geometry import Region, Spacing
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

_logger = logging.getLogger(__name__)

KEPT_ROWS = 400
"""Finished rows that are kept: each is some tens of objects, which the garbage collector goes through repeatedly."""

_Surroundings = tuple[Sequence[LineFilter], Color, Spacing, int]
"""What a finished row depends on besides its line: filters, background, the gutter, and the width without it."""


def styles_of(module: str) -> str:
    """The default style sheet of a widget: the `.tcss` file beside its module."""
    return Path(module).with_suffix(".tcss").read_text(encoding="utf-8")


class LinePainter:
    """Draws lines whose spans name component classes of a widget, so that colours stay in the style sheets."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._finished: dict[Hashable, Strip] = {}
        self._surroundings: _Surroundings | None = None
        self._styles: dict[str, Style] = {}

    def forget(self, *rows: Hashable) -> None:
        """Draw some rows anew, the next time; without an argument, all of them."""
        for row in rows:
            self._finished.pop(row, None)
        if not rows:
            self._finished.clear()

    def forget_styles(self) -> None:
        """Look the styles up anew, and draw every row with them."""
        self._finished.clear()
        self._styles.clear()

    def style(self, name: str | Style) -> Style:
        """The style of a component class."""
        if isinstance(name, Style):
            return name
        style = self._styles.get(name)
        if style is None:
            style = self._styles[name] = self._widget.get_visual_style(name, partial=True)
        return style

    def draw(self, line: Content, width: int, base: Style) -> Strip:
        """A line, cut or filled up to a width, on a base style; without its styles where Textual fails on them."""
        try:
            segments = [Segment(text, style.rich_style) for text, style in line.render(base, "", self.style) if text]
        except Exception:
            # The text comes from a model, a server or a file: nothing in it may end the program.
            _logger.exception("The drawing of a line failed; it is shown as plain text")
            segments = [Segment(line.plain, base.rich_style)]
        return Strip(segments, line.cell_length).adjust_cell_length(width, base.rich_style)

    def render_lines(
        self, crop: Region, width: int, row_at: Callable[[int], Hashable | None], draw: Callable[[int], Strip]
    ) -> list[Strip] | None:
        """The rows of a part of the widget; None for a widget with a border, which is left to the framework.

        `row_at` gives what identifies the row at a height, None for an empty one. Width and height are without the
        gutter: padding and scrollbars.
        """
        widget = self._widget
        if widget.styles.gutter != widget.styles.padding:
            return None
        gutter = widget.gutter
        now = (widget.get_line_filters(), widget.background_colors[1], gutter, width)
        if now != self._surroundings or len(self._finished) > KEPT_ROWS:
            self._surroundings = now
            self._finished.clear()
        strips = []
        for y in crop.line_range:
            y -= gutter.top
            row = row_at(y)
            strip = self._finished.get(row) if row is not None else None
            if strip is None:
                strip = self._finish(draw(y) if row is not None else None, now)
                if row is not None:
                    self._finished[row] = strip
            strips.append(strip)
        if crop.column_span != (0, width + gutter.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def _finish(self, strip: Strip | None, surroundings: _Surroundings) -> Strip:
        """A row with the padding beside it and the filters of the framework applied."""
        filters, background, gutter, width = surroundings
        beside = RichStyle.from_color(bgcolor=background.rich_color)
        if strip is None:
            strip = Strip.blank(width + gutter.width, beside)
        elif gutter.width:
            sides = [Strip.blank(columns, beside) for columns in (gutter.left, gutter.right)]
            strip = Strip.join([sides[0], strip, sides[1]])
        for each in filters:
            strip = strip.apply_filter(each, background)
        return strip
