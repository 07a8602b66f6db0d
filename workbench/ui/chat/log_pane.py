"""The log of the workers, at the bottom of the screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen

from workbench.core.logbook import LogBook, LogLine
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import styled
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.lines import Lines

SHOWN_LINES = 1_000
REFRESH_SECONDS = 0.5


class LogLines(Lines):
    """The log lines."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--debug", "log--info", "log--warning", "log--error", "log--source"}


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
            lines = [*(self.text.lines if self._last else ()), *map(_line, new)]
            self._last = new[-1].number
            self.text.set_lines(lines[-SHOWN_LINES:])
        elif not self._last:
            self.text.set_lines([styled(("Nothing was logged yet.", "log--debug"))])


def toggle_log(screen: Screen[object], logs: LogBook) -> None:
    """Show the log above the keys of a screen, or hide it."""
    if panes := screen.query(LogPane):
        panes.remove()
    elif bars := screen.query_children(KeyBar):
        screen.mount(LogPane(logs), before=bars.first())


def _line(line: LogLine) -> Content:
    return styled(
        (f"{line.level:<8}", f"log--{line.level}"),
        (f"{clean_line(line.source):<12} ", "log--source"),
        (clean_line(line.text), "" if line.level in ("info", "debug") else f"log--{line.level}"),
    )
