"""The dialog that lists the requests of other programs."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.getters import query_one

from workbench.core.serving import ServedRequest, Serving
from workbench.core.units import duration_text
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.keys import key
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import DONE, FAILED, RUNS, WAITS, cut, styled
from workbench.ui.widgets.list_lines import ListLines
from workbench.ui.widgets.rows import Rows

LOOK_SECONDS = 0.5
_MARKS = {"waiting": WAITS, "prefill": RUNS, "decode": RUNS, "failed": FAILED, "cancelled": WAITS}
_HEADS = ("client", "state", "TTFT", "tokens/s", "prompt, cached")
_WIDTHS = (11, 10, 10, 17)
"""The columns after the first."""


class ServingDialog(Dialog[bool]):
    """Lists who asks; the result is whether the service is to end."""

    CSS_PATH = "serving_dialog.tcss"
    AUTO_FOCUS = "#requests"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("serving.stop", "x", "Stop", "End the service of the model to other programs."),
    ]

    rows = query_one("#requests", Rows)
    details = query_one(ListLines)

    def __init__(self, serving: Serving) -> None:
        super().__init__()
        self._serving = serving
        self._requests: tuple[ServedRequest, ...] = ()

    def compose(self) -> ComposeResult:
        title = f"Served at {self._serving.url}/v1"
        with dialog_box("serving-box", title, "x stops serving · Esc closes, and it goes on"):
            yield Rows("requests")
            yield ListLines(widget_id="request-details")

    def on_mount(self) -> None:
        self.call_after_refresh(self.look)
        self.set_interval(LOOK_SECONDS, self.look)

    def on_resize(self) -> None:
        self.call_after_refresh(self.look)

    def look(self) -> None:
        """Show the requests as they are now; the selected one stays selected."""
        if not self.is_attached:
            return
        cursor, before = self.rows.cursor or 0, self._requests
        selected = before[cursor].number if cursor < len(before) else 0
        self._requests = tuple(self._serving.requests())
        cursor = next((at for at, each in enumerate(self._requests) if each.number == selected), 0)
        if self._requests:
            header = styled((_columns(_HEADS, self.rows.room), "rows--dim"))
            count = len(self._requests)
            self.rows.show(count, self._row, header=header, choosable=True, cursor=cursor, hold=True)
        else:
            empty = styled(("Nobody has asked yet.", "rows--dim"))
            self.rows.show(1, lambda *_: empty)
        self._show_details()

    def _row(self, index: int, width: int) -> Content:
        if index >= len(self._requests):
            return Content("")
        request = self._requests[index]
        mark, style = _MARKS.get(request.state, DONE)
        return styled((f" {mark}", style), (_columns(_texts(request), width)[2:], ""))

    @on(Rows.Moved)
    def _show_details(self) -> None:
        cursor = self.rows.cursor or 0
        if cursor < len(self._requests):
            request = self._requests[cursor]
            metrics = request.metrics
            ago = duration_text(max(0.0, time.time() - request.began))
            written = f"{fmt.count(metrics.completion_tokens)} tokens written"
            text = f"request {request.number}, {request.route}, {ago} ago, {written}"
            self.details.set_lines([styled((cut(clean_line(text), self.details.size.width), "rows--dim"))])
        else:
            self.details.set_lines([])

    def action_stop(self) -> None:
        self.dismiss(True)


def _texts(request: ServedRequest) -> tuple[str, ...]:
    metrics = request.metrics
    prompt = f"{fmt.count(metrics.prompt_tokens)}, {fmt.count(metrics.cached_tokens)}"
    return (
        clean_line(request.client),
        request.state,
        fmt.milliseconds(metrics.ttft_ms),
        fmt.rate(metrics.decode_tps),
        prompt,
    )


def _columns(texts: tuple[str, ...], width: int) -> str:
    first, *others = texts
    room = max(8, width - sum(_WIDTHS) - 3)
    name = cut(first, room)
    cells = "".join(f"{text:>{size}}" for text, size in zip(others, _WIDTHS, strict=True))
    return f"   {name}{' ' * (room - Content(name).cell_length)}{cells}"
