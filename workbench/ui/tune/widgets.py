"""The widgets of the tune screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Label

from workbench.lab.tune.depth import DepthRecord
from workbench.ui.tune.lines import depth_lines
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.lines import Lines

FIELDS = {
    "max-gb": ("≤ GiB", "6, CPU=16"),
    "min-ctx": ("≥ context", "today's"),
    "caches": ("caches", "q8_0,q4_0"),
}
"""The fields, with their labels and what can be typed."""


class TuneLines(Lines):
    """Lines in the colours of a tuning."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--heading", "rows--name", "rows--dim", "rows--accent", "rows--figure", "rows--good", "rows--warning",
        "rows--error", "plot--axis", "plot--tick", "plot--interval", "plot--mark", "plot--label",
    }  # fmt: skip


class DepthPlot(TuneLines):
    """The plot of a depth measurement, as high as there is room."""

    def __init__(self) -> None:
        super().__init__(widget_id="tune-plot")
        self._record: DepthRecord | None = None

    def show(self, record: DepthRecord) -> None:
        self._record = record
        self.set_lines(depth_lines(record, *self.content_size))

    def on_resize(self) -> None:
        if self._record is not None:
            self.show(self._record)


class TuneFields(Horizontal):
    """The constraints, and the cache types that may be used."""

    def compose(self) -> ComposeResult:
        for name, (label, typed) in FIELDS.items():
            yield Label(label, classes="tune-name", markup=False)
            yield InputLine(f"tune-{name}", typed)

    def text(self, name: str) -> str:
        return self.query_one(f"#tune-{name}", Input).value
