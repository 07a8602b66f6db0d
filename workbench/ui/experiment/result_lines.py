"""Lines and plots of results: as in a list, with bold figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeAlias

from workbench.lab.canvas import Part
from workbench.ui.kit.text import cut, styled
from workbench.ui.widgets.list_lines import ListLines
from workbench.ui.widgets.painter import styles_of

Draw: TypeAlias = Callable[[int, int], Sequence[Sequence[Part]]]
"""The rows of a plot with a width and a height in cells; empty where there is nothing to draw."""


class ResultLines(ListLines):
    """Shows lines with figures and verdicts."""

    DEFAULT_CSS = styles_of(__file__)


class ResultPlot(ResultLines):
    """Shows a plot, as high as there is room."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "plot--axis", "plot--tick", "plot--interval", "plot--mark", "plot--estimate", "plot--chosen", "plot--label",
    }  # fmt: skip

    def __init__(self, widget_id: str, nothing: str) -> None:
        """`nothing` is shown where there is nothing to draw."""
        super().__init__(widget_id=widget_id)
        self._nothing = nothing
        self._draw: Draw | None = None

    def show(self, draw: Draw | None) -> None:
        self._draw = draw
        width, height = self.content_size
        if draw is None or height <= 0:
            self.set_lines([])
        elif rows := draw(width, height):
            self.set_lines([styled(*((text, f"plot--{part}" if part else "") for text, part in row)) for row in rows])
        else:
            self.set_lines([styled((cut(self._nothing, width), "rows--dim"))])

    def on_resize(self) -> None:
        self.show(self._draw)
