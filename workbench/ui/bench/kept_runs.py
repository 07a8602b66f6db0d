"""The dialog with the kept runs of the bench."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.widgets import Label

from workbench.lab.bench.record import BenchRecord
from workbench.lab.run_book import RunBook
from workbench.ui.bench.summary import kept_row
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.widgets.rows import Rows, without_keys


class RunRows(Rows, inherit_bindings=False):
    """The kept runs."""

    # The space bar marks a run here.
    BINDINGS: ClassVar[list[BindingType]] = without_keys(Rows.BINDINGS, {"space"})


class KeptRunsDialog(Dialog[tuple[BenchRecord, ...] | None]):
    """Lists runs; returns the one that was opened, or the two to compare."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("bench_runs.mark", "space", "Mark", "Mark the selected run, to compare the next one with it."),
    ]

    list = query_one("#bench-runs", RunRows)
    state = query_one("#bench-runs-state", Label)

    def __init__(self, book: RunBook[BenchRecord]) -> None:
        super().__init__()
        self._book = book
        self._records: Sequence[BenchRecord] = ()
        self._marked: str | None = None

    def compose(self) -> ComposeResult:
        keys = "Enter opens · Space marks one to compare · Esc closes"
        with dialog_box("bench-runs-box", "Earlier measurements", keys):
            yield RunRows("bench-runs")
            yield Label("", id="bench-runs-state", markup=False)

    def on_mount(self) -> None:
        self.list.focus()
        self._read()

    @work(group="runs", exit_on_error=False, description="read the kept runs")
    async def _read(self) -> None:
        self._records = await self._book.kept()
        self._show()

    def _show(self) -> None:
        records = self._records
        self.list.show(
            len(records),
            lambda index, width: kept_row(records[index], width, marked=records[index].id == self._marked),
            choosable=True,
            cursor=self.list.cursor or 0,
        )
        self._describe()

    @on(Rows.Moved)
    def _describe(self) -> None:
        if not self._records:
            self.state.update("No measurement is kept yet.")
            return
        record = self._records[self.list.cursor or 0]
        command = clean_line(" ".join(("workbench", *record.command)))
        self.state.update(f"{len(self._records)} kept · {command}")

    def action_mark(self) -> None:
        if self._records:
            run = self._records[self.list.cursor or 0].id
            self._marked = None if self._marked == run else run
            self._show()

    @on(Rows.Chosen)
    def _open(self, event: Rows.Chosen) -> None:
        wanted = {self._marked, self._records[event.index].id}
        # The newest stands first in the list; the later run is compared with the earlier one.
        self.dismiss(tuple(record for record in reversed(self._records) if record.id in wanted))
