"""The results of a measurement: verdict, table, raw samples of the selected row, and plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.getters import query_one

from workbench.core.errors import WorkbenchError
from workbench.lab.bench.job import BenchJob
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.record import BenchRecord, lay_beside
from workbench.ui.bench.curves import Plot, plots_of
from workbench.ui.bench.summary import beside_lines, sweep_lines, verdict_lines
from workbench.ui.bench.tables import BenchTable, change_table, table_of
from workbench.ui.experiment.result_lines import ResultLines
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import styled
from workbench.ui.widgets.rows import Rows, without_keys

if TYPE_CHECKING:
    from workbench.ui.bench.plot import BenchPlot

DETAIL_ROWS = 2
LEAST_PLOT = 34
"""Terminal columns that a plot needs; with less there is only one."""


class ResultRows(Rows, inherit_bindings=False):
    """The rows of the table; nothing opens, but the selected row has details."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"gauge--track"}
    BINDINGS: ClassVar[list[BindingType]] = without_keys(Rows.BINDINGS, {"enter"})


class BenchResults(Vertical):
    """Shows a measurement."""

    verdict = query_one("#bench-verdict", ResultLines)
    table = query_one("#bench-table", ResultRows)
    detail = query_one("#bench-detail", ResultLines)
    plots = query_one("#bench-plots", Horizontal)

    def __init__(self) -> None:
        super().__init__(id="bench-results")
        self._record: BenchRecord | None = None
        self._table: BenchTable[Any] | None = None
        self._failures: tuple[WorkbenchError, ...] = ()
        self._added = 0
        self._instead: Callable[[int], Sequence[Content]] | None = None
        """What is shown in place of a measurement, for a width."""
        self._plan: BenchPlan | None = None
        """The plan of a measurement that runs."""
        self._plots: tuple[Plot, ...] = ()
        self._follow = True
        """Whether the newest row is selected, until the user selects another."""

    def compose(self) -> ComposeResult:
        yield ResultLines(widget_id="bench-verdict")
        yield ResultRows("bench-table")
        yield ResultLines(widget_id="bench-detail")
        yield Horizontal(id="bench-plots")

    def on_resize(self) -> None:
        self.call_after_refresh(self._lay_out)

    def clear(self, lines: Callable[[int], Sequence[Content]]) -> None:
        """Show no measurement, and lines for a width instead."""
        self._record = self._table = None
        self._follow = True
        self._instead = lines
        self.verdict.set_lines(lines(self.room))
        self._show_table()
        self._show_plots(())

    def show(self, record: BenchRecord, job: BenchJob | None = None) -> None:
        """Show a measurement, with what only its job knows."""
        failures, added = (job.failures, job.added) if job is not None else ((), 0)
        plan = job.plan if job is not None and job.running else None
        if self._record is not None and self._record.id != record.id:
            self._follow = True
        shown = record, tuple(failures), added, plan
        if shown == (self._record, self._failures, self._added, self._plan):
            return
        self._record, self._failures, self._added, self._plan = shown
        self._lay_out()

    def compare(self, first: BenchRecord, second: BenchRecord) -> None:
        self._record, self._follow, self._instead = None, False, None
        changes = lay_beside(first, second)
        self._table = change_table(changes, first, second)
        self.verdict.set_lines(beside_lines(first, second, self.room, common=bool(changes)))
        self._show_table(0)
        self._show_plots(())

    @property
    def room(self) -> int:
        """Terminal columns for running text."""
        return max(20, self.size.width - 3)

    def _lay_out(self) -> None:
        record = self._record
        if record is None and self._instead is not None:
            self.verdict.set_lines(self._instead(self.room))
        if record is None or not self.size.width:
            return
        width = self.verdict.size.width or self.size.width - 2
        said = sweep_lines(record.sweep, width) if record.sweep is not None else []
        self.verdict.set_lines([*said, *verdict_lines(record.duels, width, self._added)])
        self._table = table_of(record, self._failures, self._plan)
        self._show_table(self._table.newest if self._follow else self.table.cursor or 0)
        self._show_plots(plots_of(record))

    def _show_table(self, cursor: int = 0) -> None:
        table = self._table
        if table is None or not len(table):
            self.table.show(0, lambda *_: Content(""))
            self.detail.set_lines([])
            return
        header = table.header(self.table.room) if self.table.room else None
        self.table.show(len(table), table.line, header=header, choosable=True, cursor=cursor)
        self._show_detail(cursor)

    @on(Rows.Moved)
    def _moved(self, event: Rows.Moved) -> None:
        event.stop()
        self._follow = False
        self._show_detail(event.index)

    def _show_detail(self, index: int) -> None:
        if self._table is None or not 0 <= index < len(self._table):
            return
        width = max(20, self.detail.size.width or self.size.width - 2)
        text = clean_line(self._table.detail(index))
        lines = styled((text, "rows--dim")).wrap(width) if text else []
        if len(lines) > DETAIL_ROWS:
            lines = [*lines[: DETAIL_ROWS - 1], lines[DETAIL_ROWS - 1][: width - 1] + Content("…")]
        self.detail.set_lines(list(lines))

    # Plots

    def _show_plots(self, plots: tuple[Plot, ...]) -> None:
        if len(plots) > 1 and self.size.width < 2 * LEAST_PLOT:
            # The second plot is of decode, which matters most.
            plots = plots[-1:]
        if plots == self._plots and len(self.plots.children) == len(plots):
            return
        self._plots = plots
        self.plots.display = bool(plots)
        shown: list[BenchPlot] = list(self.plots.children)  # type: ignore[arg-type]
        for widget in shown[len(plots) :]:
            widget.remove()
        for widget, plot in zip(shown, plots, strict=False):
            widget.show(plot)
        if len(plots) > len(shown):
            from workbench.ui.bench.plot import BenchPlot

            self.plots.mount(*(BenchPlot(plot) for plot in plots[len(shown) :]))
