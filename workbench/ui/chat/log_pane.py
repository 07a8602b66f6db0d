"""The log of the workers, at the bottom of the screen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.getters import query_one
from textual.screen import Screen
from typing_extensions import override

from workbench.core.logbook import LogBook, LogLine
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import styled, wrap
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.lines import Lines

SHOWN_LINES = 1_000
REFRESH_SECONDS = 0.5


class LogLines(Lines):
    """The newest log lines, wrapped to the width."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--debug", "log--info", "log--warning", "log--error", "log--source"}

    def __init__(self) -> None:
        super().__init__()
        self._logged: deque[LogLine] = deque(maxlen=SHOWN_LINES)
        self._width = 0

    def add(self, new: Sequence[LogLine]) -> None:
        """Show more lines."""
        rows = self._lines if self._logged else []
        self._logged += new
        if self._width:
            self.set_lines([*rows, *_rows(new, self._width)][-SHOWN_LINES:])

    @override
    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        if width != self._width:
            self._width = width
            nothing = [styled(("Nothing was logged yet.", "log--debug"))]
            self._lines = _rows(self._logged, width)[-SHOWN_LINES:] or nothing
            self.forget_drawn()
        return len(self._lines)


class LogPane(VerticalScroll):
    """Follows the log while it is shown."""

    text = query_one(LogLines)

    def __init__(self, logs: LogBook) -> None:
        super().__init__(id="log-pane")
        self._logs = logs
        self._last = 0
        self.border_title = "Log"

    def compose(self) -> ComposeResult:
        yield LogLines()

    def on_mount(self) -> None:
        self.anchor()
        self.look()
        self.set_interval(REFRESH_SECONDS, self.look)

    def look(self) -> None:
        if new := self._logs.since(self._last):
            self._last = new[-1].number
            self.text.add(new)


def toggle_log(screen: Screen[object], logs: LogBook) -> None:
    """Show the log above the keys of a screen, or hide it."""
    if panes := screen.query(LogPane):
        panes.remove()
    elif bars := screen.query_children(KeyBar):
        screen.mount(LogPane(logs), before=bars.first())


def _rows(lines: Iterable[LogLine], width: int) -> list[Content]:
    """Log lines as rows; what does not fit stands below the text, not below its level."""
    rows: list[Content] = []
    for line in lines:
        level, source = f"{line.level:<8}", f"{clean_line(line.source):<12} "
        head = styled((level, f"log--{line.level}"), (source, "log--source"))
        style = "" if line.level in ("info", "debug") else f"log--{line.level}"
        room = max(10, width - head.cell_length)
        first, *rest = wrap(styled((clean_line(line.text), style)), room) or [Content("")]
        rows += [head + first, *(Content(" " * head.cell_length) + row for row in rest)]
    return rows
