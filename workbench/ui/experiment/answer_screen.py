"""The base of the screens that answer one question: fields, the answer, a plot, and the rows behind it."""

from __future__ import annotations

from pathlib import PurePath
from typing import ClassVar

from textual.app import ComposeResult
from textual.getters import query_one
from textual.widget import Widget

from workbench.ui.experiment.result_lines import ResultLines, ResultPlot
from workbench.ui.experiment.screen import ExperimentScreen
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.rows import Rows


class AnswerScreen(ExperimentScreen):
    """Answers a question about one model."""

    CSS_PATH: ClassVar[list[str | PurePath]] = ["../experiment/answer_screen.tcss", "screen.tcss"]
    AUTO_FOCUS = "#rows"
    NO_PLOT: ClassVar[str]
    """What is shown where there is nothing to draw."""

    head = query_one("#head", ResultLines)
    answer = query_one("#answer", ResultLines)
    plot = query_one(ResultPlot)
    rows = query_one("#rows", Rows)
    state = query_one("#state", ResultLines)

    def _fields(self) -> Widget:
        """The fields below the head."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield ResultLines(widget_id="head")
        yield self._fields()
        yield ResultLines(widget_id="answer")
        yield ResultPlot("plot", self.NO_PLOT)
        yield Rows("rows")
        yield ResultLines(widget_id="state")
        yield KeyBar()

    def action_stop(self) -> None:
        """Stop, or go to the rows where nothing runs."""
        if self.running:
            super().action_stop()
        else:
            self.rows.focus()
