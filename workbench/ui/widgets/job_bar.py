"""The progress of long work, in one row above the keys of every screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import App
from textual.content import Content
from textual.screen import ModalScreen

from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.lines import Lines
from workbench.ui.widgets.painter import styles_of

LOOK_SECONDS = 0.5
LineMaker = Callable[[int], Content | None]
"""Lays out the row for a width; None where there is nothing to show."""


class JobBar(Lines):
    """Shows one kind of work; a click on it is an action of the program."""

    DEFAULT_CSS = styles_of(__file__)
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "job--name", "job--run", "job--bar", "job--done", "job--failed", "job--key", "gauge--track",
    }  # fmt: skip

    def __init__(self, kind: str, line: LineMaker, action: str) -> None:
        super().__init__(classes="job-bar")
        self.kind = kind
        self._line = line
        self._action = action

    def on_mount(self) -> None:
        self.call_after_refresh(self.look)
        # The work may end while another screen is shown.
        self.set_interval(LOOK_SECONDS, self.look)

    def on_resize(self) -> None:
        self.look()

    def look(self) -> None:
        if not self.size.width:
            return
        line = self._line(self.size.width)
        if line is None:
            self.remove()
        else:
            self.set_lines([line])

    async def on_click(self) -> None:
        await self.app.run_action(self._action)


def show_bar(app: App[None], kind: str, line: LineMaker, action: str) -> None:
    """Show, draw again or remove the bar of a kind of work, on the screen below all dialogs."""
    screen = next((each for each in reversed(app.screen_stack) if not isinstance(each, ModalScreen)), None)
    if screen is None:
        return
    bars = [bar for bar in screen.query_children(JobBar) if bar.kind == kind]
    if not bars and line(screen.size.width) is not None:
        keybars = screen.query_children(KeyBar)
        screen.mount(JobBar(kind, line, action), before=keybars.first() if keybars else None)
    for bar in bars:
        bar.look()
