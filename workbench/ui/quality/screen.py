"""The screen of a measurement of quality: how much candidates differ from a reference over a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.getters import query_one

from workbench.core.errors import CancelledError, QualityError, WorkbenchError
from workbench.lab.quality.job import QualitySeries
from workbench.lab.quality.record import QualityRecord
from workbench.lab.quality.report import FORMS, beside
from workbench.ui.dialogs.choose import ScreenSetting, choose_settings
from workbench.ui.experiment.result_lines import ResultLines
from workbench.ui.experiment.screen import ExperimentScreen, shared_key
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, cut_line, styled
from workbench.ui.quality.lines import QualityRow, detail_lines, header, progress_line, record_rows, row_line
from workbench.ui.quality.setup import DEPTHS, QualitySetup
from workbench.ui.services import Services
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.rows import Rows
from workbench.ui.widgets.text_rows import TextRows
from workbench.ui.widgets.worker_errors import WorkerHandle
from workbench.ui.workspace.workspace import Workspace

EXPORTS = {
    ".md": "Markdown      tables and sentences, to read",
    ".json": "JSON          everything but the figures of each token",
    ".csv": "CSV           one row a candidate",
}


class QualityScreen(ExperimentScreen):
    """Measures candidates against a reference, live, and shows where they differ most."""

    CSS_PATH: ClassVar[list[str | PurePath]] = ["../evals/screen.tcss", "screen.tcss"]
    AUTO_FOCUS = "#quality-rows"
    STOP = "quality.stop"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        shared_key("quality.start", "Measure the candidates against the reference."),
        shared_key("quality.stop", "Stop, and keep what is done."),
        key("quality.text", "ctrl+l", "Text", "Choose the text: a file, or conversations."),
        shared_key("quality.add", "Add a candidate, such as another quantization; without a reference, choose that."),
        key("quality.caches", "ctrl+t", "Cache types",
            "Add the reference itself as a candidate, with other cache types or settings."),
        shared_key("quality.settings", "Choose how many tokens come before each chunk: none, 4k, 16k, or all three."),
        shared_key("quality.remove", "Remove the candidate added last.", show=False),
        shared_key("quality.runs", "Open an earlier measurement."),
        key("quality.beside", "ctrl+b", "Beside",
            "Lay an earlier measurement beside the one that is shown.", show=False),
        shared_key("quality.export", "Write the result as Markdown, JSON or CSV."),
    ]
    # fmt: on

    head = query_one("#quality-head", ResultLines)
    rows = query_one("#quality-rows", Rows)
    detail = query_one("#quality-detail", TextRows)
    state = query_one("#quality-state", ResultLines)

    def __init__(self, services: Services, workspace: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__("quality", services, workspace, key_for)
        self._setup = QualitySetup(self, self._may_change, self._paint)
        self._series: QualitySeries | None = None
        self._work = WorkerHandle(self, "measure quality")
        self._shown: list[QualityRecord] = []

    def compose(self) -> ComposeResult:
        yield ResultLines(widget_id="quality-head")
        yield Rows("quality-rows")
        yield TextRows("quality-detail")
        yield ResultLines(widget_id="quality-state")
        yield KeyBar()

    def on_screen_resume(self) -> None:
        self._setup.follow(self.workspace.model)
        self._paint()

    @property
    def running(self) -> bool:
        return self._series is not None and self._series.running

    # Drawing

    def _paint(self) -> None:
        width = max(20, self.size.width - 2)
        rows = self._rows()
        with self.app.batch_update():
            self.head.set_lines([cut_line(line, width) for line in self._head()])
            self.rows.show(
                len(rows),
                lambda index, room: row_line(rows[index], room),
                header=header(self.rows.room or width),
                choosable=True,
                cursor=self.rows.cursor or 0,
                hold=True,
            )
            self._show_detail()
            line = self._said.text
            if not line and self._series is not None and self._series.running:
                line = progress_line(self._series, width)
            self.state.set_lines([line or styled((cut(self._hint(), width), "rows--dim"))])

    def _rows(self) -> list[QualityRow]:
        """What is done, what runs, and what would be measured."""
        if self._shown:
            return record_rows(self._shown)
        depths, figures = self._setup.depths, None
        rows = []
        if self._series is not None:
            rows = record_rows(self._series.records)
            depths = tuple(plan.depth for plan in self._series.plans[len(self._series.records) :])
            figures = self._series.progress.figures if self._series.progress is not None else None
            if not self.running:
                return rows
        for place, depth in enumerate(depths):
            for number, candidate in enumerate(self._setup.candidates):
                found = figures[number] if figures is not None and not place else None
                rows.append(QualityRow(candidate.label(self._setup.reference), depth, found))
        return rows

    def _head(self) -> list[Content]:
        setup = self._setup
        reference = setup.reference.label if setup.reference is not None else "none yet"
        text = f"{setup.name}, {len(setup.text):,} characters" if setup.text else "none yet"
        depth = " and ".join(f"{depth:,}" for depth in setup.depths)
        if self._shown:
            first = self._shown[0]
            reference, text = first.reference.label, f"{first.text}, {first.tokens:,} tokens"
            depth = " and ".join(f"{record.depth:,}" for record in self._shown)
        return [
            styled(("QUALITY  ", "rows--heading"), ("reference ", "rows--dim"), (clean_line(reference), "rows--name")),
            styled(("text ", "rows--dim"), (clean_line(text), "rows--name"), (f"  depth {depth}", "rows--dim")),
        ]

    def _hint(self) -> str:
        if self._shown:
            return f"{', '.join(record.id for record in self._shown)}, kept."
        keys = {"text": "text", "add": "quantization", "caches": "cache type", "settings": "depth", "start": "measure"}
        return ", ".join(f"{self.key_for(f'quality.{name}')}: {word}" for name, word in keys.items())

    @on(Rows.Moved, "#quality-rows")
    def _show_detail(self) -> None:
        rows, cursor = self._rows(), self.rows.cursor
        shown = cursor is not None and cursor < len(rows) and self.detail.room
        self.detail.show_lines(detail_lines(rows[cursor], self.detail.room) if shown and cursor is not None else [])

    # What is measured

    def _may_change(self) -> bool:
        """Whether it can be changed now: an earlier result is closed, a running measurement stays."""
        if self._busy():
            return False
        self._shown, self._series = [], None
        return True

    def action_add(self) -> None:
        self._setup.add()

    def action_caches(self) -> None:
        self._setup.add_cache()

    def action_text(self) -> None:
        self._setup.choose_text()

    def action_settings(self) -> None:
        if self._may_change():
            texts = ["depth " + " and ".join(f"{depth:,}" for depth in depths) for depths in DEPTHS]
            depth = ScreenSetting(texts, DEPTHS.index(self._setup.depths), self._set_depths)
            choose_settings(self, "Settings of the measurement", depth)

    def _set_depths(self, index: int) -> None:
        self._setup.depths = DEPTHS[index]
        self._paint()

    def action_remove(self) -> None:
        if self._may_change():
            self._setup.remove()
            self._paint()

    # Measuring

    def action_start(self) -> None:
        if not self._may_change():
            return
        services = self.services
        try:
            if services.quality is None:
                raise QualityError("Nothing here can compute the logits of a text.")
            plans = self._setup.plan().at_depths(self._setup.depths)
        except WorkbenchError as error:
            self.say(str(error), 8.0)
            return
        self._said.clear()
        self._series = QualitySeries(plans, services.quality, self._repainter.changed)
        self._work.start(self._measure(self._series))
        self._repainter.changed()

    async def _measure(self, series: QualitySeries) -> None:
        try:
            await series.run()
        except CancelledError as error:
            self.say(str(error))
        except WorkbenchError as error:
            self.say(str(error), 15.0)
        self._shown = list(series.records)
        if series.warnings:
            self.say(series.warnings[0], 8.0)
        self._paint()

    def _stop(self) -> None:
        if self._series is not None:
            self._series.stop()

    # Results

    def action_runs(self) -> None:
        if self._may_change():
            self._choose_run("Earlier measurements", self._open)

    def action_beside(self) -> None:
        if not self._shown:
            self.say(f"{self.key_for('quality.runs')} opens a measurement first.")
            return
        first = self._shown[0]

        def compare(second: QualityRecord) -> None:
            self.lay_beside("Two measurements", beside(first, second))

        self._choose_run("Lay beside it", compare)

    @work(group="runs", exclusive=True, exit_on_error=False, description="read the kept measurements")
    async def _choose_run(self, title: str, then: Callable[[QualityRecord], None]) -> None:
        tools = self.services.quality
        records = [] if tools is None else list(await tools.quality_runs.kept())

        def row(record: QualityRecord) -> str:
            return f"{record.id}  {', '.join(each.model.label for each in record.candidates)}  over {record.text}"

        self._choose_earlier(title, records, row, then, "No measurement is kept yet.")

    def _open(self, record: QualityRecord) -> None:
        self._shown = [record]
        self._paint()

    def action_export(self) -> None:
        records = self._shown
        if not records:
            self.say("There is nothing to export yet.")
            return
        self.export("the measurement", EXPORTS, f"quality {records[0].id}", lambda form: FORMS[form](records))

    async def leave(self) -> None:
        await self._work.end(self._series)
