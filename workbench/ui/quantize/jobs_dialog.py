"""The quantizations that are being made, that wait, and that are ready."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.getters import query_one

from workbench.ui.dialogs.base import Dialog
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, cut_path, paragraph, styled
from workbench.ui.quantize.job_bar import duration, order_label, speed_text
from workbench.ui.quantize.queue import Order, QuantizeQueue
from workbench.ui.widgets.lines import Lines
from workbench.ui.widgets.rows import Rows

_MARKS = {
    "waiting": ("·", "rows--dim", "waits"),
    "running": ("▸", "rows--figure", ""),
    "done": ("✓", "rows--good", "ready"),
    "stopped": ("·", "rows--dim", "stopped"),
    "failed": ("✗", "rows--error", "failed"),
}


class JobDetails(Lines):
    """The job in hand."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "job--label", "job--bar", "job--figure", "rows--error", "rows--dim", "rows--warning", "gauge--track",
    }  # fmt: skip


class JobsDialog(Dialog[Order | None]):
    """Shows how far each job is; Enter takes what is ready.

    Args:
        queue: The jobs.
    """

    CSS_PATH = "jobs_dialog.tcss"
    AUTO_FOCUS = "#jobs-list"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s,delete", "stop", "Stop", id="jobs.stop", tooltip="Stop the job in hand, or take it off the list."),
    ]

    rows = query_one("#jobs-list", Rows)
    details = query_one(JobDetails)

    def __init__(self, queue: QuantizeQueue) -> None:
        super().__init__()
        self._queue = queue

    def compose(self) -> ComposeResult:
        """The list above the job in hand."""
        with Vertical(id="jobs-box", classes="dialog-box") as box:
            box.border_title = "Quantizations"
            box.border_subtitle = "Enter loads what is ready · s stops · Esc closes, and they go on"
            yield Rows("jobs-list")
            yield JobDetails()

    def on_mount(self) -> None:
        """Begin with the job that runs."""
        orders = self._queue.orders
        running = self._queue.running
        start = orders.index(running) if running else len(orders) - 1
        self.call_after_refresh(self._show, start)

    def on_resize(self) -> None:
        """Lay out anew."""
        self.call_after_refresh(self.look)

    def _show(self, cursor: int) -> None:
        orders = self._queue.orders
        if orders:
            self.rows.show(len(orders), self._row, choosable=True, cursor=cursor)
        else:
            empty = styled(("Nothing is being made. Choose a model and quantize it.", "rows--dim"))
            self.rows.show(1, lambda *_: empty)
        self._show_details()

    def look(self) -> None:
        """Show how far they are."""
        if self.is_attached:
            self._show(self.rows.cursor or 0)

    def _row(self, index: int, width: int) -> Content:
        orders = self._queue.orders
        if index >= len(orders):
            return Content("")
        order = orders[index]
        mark, style, word = _MARKS[order.state]
        if order.state == "running":
            word = f"{100 * order.progress.fraction:.0f} %" if order.progress else "begins"
        name = order_label(order, max(10, width - 24))
        said = f"{fmt.size(order.result.size_bytes)}  {word}" if order.result else word
        gap = " " * max(1, width - 4 - Content(name).cell_length - len(said))
        return styled((f" {mark} ", style), (name, "rows--strong"), (gap, ""), (said, style))

    @property
    def order(self) -> Order | None:
        """The job in hand."""
        orders, cursor = self._queue.orders, self.rows.cursor
        return orders[cursor] if cursor is not None and cursor < len(orders) else None

    @on(Rows.Moved)
    def _moved(self) -> None:
        self._show_details()

    def _show_details(self) -> None:
        order, width = self.order, self.details.size.width
        if order is None or not width:
            self.details.set_lines([])
            return
        job, progress = order.job, order.progress
        lines = [_pair("from", cut_path(str(job.source), width - 12))]
        lines.append(_pair("to", cut_path(str(job.target), width - 12)))
        if order.error is not None:
            lines += paragraph(clean_line(order.error.message), width, 0, "rows--error")
            lines += paragraph(clean_line(order.error.hint), width, 0, "rows--dim")
        elif order.result is not None:
            result = order.result
            figures = f"{fmt.size(result.size_bytes)}, {result.bits_per_weight:.2f} bits per weight"
            lines.append(_pair("made", f"{figures}, in {duration(result.seconds)}"))
            for warning in result.warnings:
                lines += paragraph(clean_line(warning), width, 0, "rows--warning")
        elif order.state == "running" and progress is not None:
            lines.append(
                _pair("tensor", f"{progress.done:,} of {progress.total:,}  {cut(progress.tensor, width - 30)}")
            )
            times = f"{duration(progress.seconds)} so far, {duration(progress.seconds_left)} left"
            lines.append(_pair("speed", f"{speed_text(progress)}, {times}"))
            lines.append(
                bar(progress.fraction, max(10, width - 8), "job--bar")
                + styled((f" {100 * progress.fraction:5.1f} %", "job--figure"))
            )
        elif order.state == "running":
            lines.append(_pair("state", "works out the types of its tensors"))
        elif order.state == "stopped":
            lines.append(_pair("state", "stopped; nothing is left of it"))
        else:
            lines.append(_pair("state", "waits until the ones before it are made"))
        self.details.set_lines(lines)

    @on(Rows.Chosen)
    def _chosen(self) -> None:
        if self.order is not None and self.order.state == "done":
            self.dismiss(self.order)

    def action_stop(self) -> None:
        """Stop the job in hand, or take it off the list."""
        if (order := self.order) is None:
            return
        if order.is_over:
            self._queue.forget(order)
        else:
            self._queue.stop(order)
        self.look()


def _pair(name: str, value: str) -> Content:
    return styled((f"{name:<9}", "job--label"), (value, ""))
