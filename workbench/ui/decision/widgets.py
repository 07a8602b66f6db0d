"""Widgets in the colours of a decision."""

from __future__ import annotations

from typing import ClassVar

from workbench.lab.decision.record import DecisionRecord
from workbench.ui.decision.lines import plot_lines
from workbench.ui.widgets.lines import Lines


class DecisionLines(Lines):
    """Lines in the colours of a decision."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--heading", "rows--name", "rows--dim", "rows--accent", "rows--figure", "rows--good", "rows--warning",
        "rows--error", "plot--axis", "plot--tick", "plot--interval", "plot--mark", "plot--estimate", "plot--chosen",
        "plot--label",
    }  # fmt: skip


class DecisionPlot(DecisionLines):
    """The plot, as high as there is room."""

    def __init__(self) -> None:
        super().__init__(widget_id="decision-plot")
        self._record: DecisionRecord | None = None

    def show(self, record: DecisionRecord | None) -> None:
        self._record = record
        width, height = self.content_size
        self.set_lines([] if record is None else plot_lines(record, width, height))

    def on_resize(self) -> None:
        self.show(self._record)
