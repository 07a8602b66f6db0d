"""The dialog of the quantizations that run, wait, or have ended."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.getters import query_one

from workbench.core.units import duration_text
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.keys import key
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import DONE, FAILED, RUNS, WAITS, cut, cut_path, paragraph, styled
from workbench.ui.quantize.job_bar import job_label, speed_text
from workbench.ui.quantize.queue import QuantizeQueue, QueuedQuantization
from workbench.ui.widgets.list_lines import ListLines
from workbench.ui.widgets.rows import Rows

_MARKS = {"waiting": WAITS, "running": RUNS, "stopped": WAITS, "done": DONE, "failed": FAILED}


class JobsDialog(Dialog[QueuedQuantization | None]):
    """Shows the progress of each job; Enter loads one that is ready."""

    CSS_PATH = "jobs_dialog.tcss"
    AUTO_FOCUS = "#jobs-list"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("jobs.stop", "x,delete", "Stop", "Stop the selected job, or take it off the list."),
    ]

    rows = query_one("#jobs-list", Rows)
    details = query_one(ListLines)

    def __init__(self, queue: QuantizeQueue) -> None:
        super().__init__()
        self._queue = queue

    def compose(self) -> ComposeResult:
        keys = "Enter loads a ready one · x stops · Esc closes, and they continue"
        with dialog_box("jobs-box", "Quantizations", keys):
            yield Rows("jobs-list")
            yield ListLines(widget_id="job-details")

    def on_mount(self) -> None:
        jobs, running = self._queue.jobs, self._queue.running
        self.call_after_refresh(self._show, jobs.index(running) if running else len(jobs) - 1)

    def on_resize(self) -> None:
        self.call_after_refresh(self.look)

    def _show(self, cursor: int) -> None:
        if jobs := self._queue.jobs:
            self.rows.show(len(jobs), self._row, choosable=True, cursor=cursor)
        else:
            empty = "Nothing is being made. Select a model and quantize it."
            lines = paragraph(empty, self.rows.room, 0, "rows--dim")
            self.rows.show(len(lines), lambda index, _: lines[index])
        self._show_details()

    def look(self) -> None:
        if self.is_attached:
            self._show(self.rows.cursor or 0)

    def _row(self, index: int, width: int) -> Content:
        jobs = self._queue.jobs
        if index >= len(jobs):
            return Content("")
        queued = jobs[index]
        mark, style = _MARKS[queued.state]
        word = {"waiting": "waits", "done": "ready"}.get(queued.state, queued.state)
        if queued.state == "running":
            word = f"{100 * queued.progress.fraction:.0f} %" if queued.progress else "begins"
        name = job_label(queued, max(10, width - 24))
        state = f"{fmt.size(queued.result.size_bytes)}  {word}" if queued.result else word
        gap = " " * max(1, width - 4 - Content(name).cell_length - len(state))
        return styled((f" {mark} ", style), (name, "rows--strong"), (gap, ""), (state, style))

    @property
    def selected(self) -> QueuedQuantization | None:
        jobs, cursor = self._queue.jobs, self.rows.cursor
        return jobs[cursor] if cursor is not None and cursor < len(jobs) else None

    @on(Rows.Moved)
    def _show_details(self) -> None:
        queued, width = self.selected, self.details.size.width
        self.details.set_lines(_details(queued, width) if queued is not None and width else [])

    @on(Rows.Chosen)
    def _chosen(self) -> None:
        if self.selected is not None and self.selected.state == "done":
            self.dismiss(self.selected)

    def action_stop(self) -> None:
        if (queued := self.selected) is None:
            return
        (self._queue.stop if queued.is_active else self._queue.remove)(queued)
        self.look()


def _details(queued: QueuedQuantization, width: int) -> list[Content]:
    job, progress, result = queued.work, queued.progress, queued.result
    lines = [_pair("from", cut_path(str(job.source), width - 12)), _pair("to", cut_path(str(job.target), width - 12))]
    if queued.error is not None:
        lines += paragraph(clean_line(queued.error.message), width, 0, "rows--error")
        lines += paragraph(clean_line(queued.error.hint), width, 0, "rows--dim")
    elif result is not None:
        figures = f"{fmt.size(result.size_bytes)}, {result.bits_per_weight:.2f} bits per weight"
        lines.append(_pair("made", f"{figures}, in {duration_text(result.seconds)}"))
        for warning in result.warnings:
            lines += paragraph(clean_line(warning), width, 0, "rows--warning")
    elif queued.state == "running" and progress is not None:
        times = f"{duration_text(progress.seconds)} so far, {duration_text(progress.seconds_left)} left"
        lines += [
            _pair("tensor", f"{progress.done:,} of {progress.total:,}  {cut(progress.tensor, width - 30)}"),
            _pair("speed", f"{speed_text(progress)}, {times}"),
            bar(progress.fraction, max(10, width - 8), "rows--figure")
            + styled((f" {100 * progress.fraction:5.1f} %", "rows--figure")),
        ]
    else:
        lines.append(_pair("state", _STATES[queued.state]))
    return lines


_STATES = {
    "running": "works out the types of its tensors",
    "stopped": "stopped; it left no file behind",
    "waiting": "waits for the jobs before it",
}


def _pair(name: str, value: str) -> Content:
    return styled((f"{name:<9}", "rows--dim"), (value, ""))
