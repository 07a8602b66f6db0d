"""A plot of a measurement. Importing this imports textual-plot and NumPy: it is done with the first figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.getters import query_one
from textual_plot import HiResMode, PlotWidget

from workbench.core.units import ticks_between
from workbench.ui.bench.curves import DASHES, MARKS, Plot, dashed
from workbench.ui.kit.text import cut, styled
from workbench.ui.widgets.lines import Lines

_COLOURS = ("first", "second", "third", "fourth")
ROWS_A_TICK = 2
"""Rows that a figure at the side takes."""


class PlotTitle(Lines):
    """The title of a plot, and the marks of its curves."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "plot--title", "plot--across", *(f"plot--{colour}" for colour in _COLOURS),
    }  # fmt: skip


class PlotCanvas(PlotWidget, can_focus=False, inherit_bindings=False):
    """The curves themselves: each has a colour of the theme, a mark and a kind of line."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "plot--zero", "plot--end", "plot--marked", *(f"plot--{colour}" for colour in _COLOURS),
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__(allow_pan_and_zoom=False)
        self._plot: Plot | None = None
        self._drawn: object = None

    def on_mount(self) -> None:
        # A narrow frame: what it says stands in the title.
        self.margin_top, self.margin_bottom, self.margin_left = 0, 1, 8
        self._draw()

    def show(self, plot: Plot) -> None:
        self._plot = plot
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._draw()

    def _colour(self, name: str) -> str:
        colour = self.get_component_rich_style(f"plot--{name}").color
        return colour.name if colour is not None else "white"

    def _draw(self) -> None:
        plot = self._plot
        if plot is None or not self.is_mounted or not self.size.height:
            return
        key = (plot, self.size, *(self._colour(name) for name in (*_COLOURS, "zero", "end", "marked")))
        if key == self._drawn:
            return
        self._drawn = key
        self.clear()
        places = [place for curve in plot.curves for place, _ in curve.points]
        first, last = min(places), max(places)
        margin = (last - first) * 0.02 or 0.5
        self.set_xlimits(first - margin, last + margin)
        self.set_ylimits(plot.low, plot.high)
        self.set_xticks(list(plot.ticks))
        self.set_yticks(list(ticks_between(plot.low, plot.high, max(1, (self.size.height - 3) // ROWS_A_TICK))))
        # Braille characters have two dots by four.
        dot = (
            (last - first + 2 * margin) / max(1, 2 * (self.size.width - self.margin_left)),
            (plot.high - plot.low) / max(1, 4 * (self.size.height - self.margin_bottom)),
        )
        for level, style in plot.levels:
            ends = [(first - margin, level), (last + margin, level)]
            self._line(ends, () if style == "zero" else DASHES[1], self._colour(style), dot)
        for number, curve in enumerate(plot.curves):
            colour = self._colour(_COLOURS[number])
            if curve.line and len(curve.points) > 1:
                self._line(curve.points, DASHES[number], colour, dot)
            x, y = [place for place, _ in curve.points], [figure for _, figure in curve.points]
            self.scatter(x, y, marker=MARKS[number], marker_style=colour)
            if curve.marked:
                marked_x, marked_y = [x[each] for each in curve.marked], [y[each] for each in curve.marked]
                self.scatter(marked_x, marked_y, marker="*", marker_style=self._colour("marked"))

    def _line(
        self, points: Sequence[tuple[float, float]], dashes: Sequence[int], colour: str, dot: tuple[float, float]
    ) -> None:
        x, y = zip(*(dashed(points, dashes, dot) if dashes else points), strict=True)
        if dashes:
            self.scatter(x, y, marker_style=colour, hires_mode=HiResMode.BRAILLE)
        else:
            self.plot(x, y, line_style=colour, hires_mode=HiResMode.BRAILLE)


class BenchPlot(Vertical):
    """A plot under its title."""

    title_line = query_one(PlotTitle)
    canvas = query_one(PlotCanvas)

    def __init__(self, plot: Plot) -> None:
        super().__init__()
        self._plot = plot

    def compose(self) -> ComposeResult:
        yield PlotTitle()
        yield PlotCanvas()

    def on_mount(self) -> None:
        self.show(self._plot)

    def on_resize(self) -> None:
        self.title_line.set_lines([self._title()])

    def show(self, plot: Plot) -> None:
        self._plot = plot
        self.canvas.show(plot)
        self.title_line.set_lines([self._title()])

    def _title(self) -> Content:
        plot, width = self._plot, max(10, self.size.width - 2)
        parts = [(plot.title, "plot--title")]
        # The names of the curves matter more than what every reader guesses.
        if len(plot.curves) == 1 or width > 50:
            parts.append((f" by {plot.across}", "plot--across"))
        left = width - sum(len(text) for text, _ in parts)
        if len(plot.curves) > 1:
            room = max(4, left // len(plot.curves) - 4)
            for number, curve in enumerate(plot.curves):
                name = f"  {MARKS[number]} {cut(curve.label, room)}"
                if len(name) <= left:
                    parts.append((name, f"plot--{_COLOURS[number]}"))
                    left -= len(name)
        if plot.left_out and left > 12:
            parts.append((f"  and {plot.left_out} more", "plot--across"))
        return styled(*parts)
