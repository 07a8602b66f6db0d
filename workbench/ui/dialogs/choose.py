"""A dialog that offers some rows, and a line to type something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.events import Click
from textual.getters import query_one
from textual.screen import Screen
from textual.widgets import Input

from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.rows import Rows


class ChooseDialog(Dialog[int | str | None]):
    """Returns the index of the chosen row, or the typed text; without `typed`, a placeholder, nothing is typed."""

    CSS_PATH = "choose.tcss"

    rows = query_one("#choose-rows", Rows)

    def __init__(self, title: str, rows: Sequence[str], typed: str = "", *, cursor: int = 0) -> None:
        super().__init__()
        self._title = title
        self._texts = [clean_line(row) for row in rows]
        self._typed = typed
        self._cursor = cursor

    def compose(self) -> ComposeResult:
        keys = f"Enter chooses{' · Tab to type' if self._typed and self._texts else ''} · Esc closes"
        with dialog_box("choose-box", self._title, keys):
            yield Rows("choose-rows")
            if self._typed:
                yield InputLine("choose-typed", self._typed)

    def on_mount(self) -> None:
        texts = self._texts
        self.rows.styles.height = len(texts)
        self.rows.show(
            len(texts), lambda index, width: Content(cut(texts[index], width)), choosable=True, cursor=self._cursor
        )
        (self.rows if texts else self.query_one(Input)).focus()

    @on(Rows.Chosen)
    def _choose(self, event: Rows.Chosen) -> None:
        self.dismiss(event.index)

    def on_click(self, event: Click) -> None:
        if event.widget is self.rows and self.rows.cursor is not None:
            self.dismiss(self.rows.cursor)

    @on(Input.Submitted)
    def _type(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())


@dataclass(frozen=True, slots=True)
class ScreenSetting:
    """A setting of a screen: its values, the one that counts, and what takes the index of another one."""

    values: Sequence[str]
    current: int
    choose: Callable[[int], object]


def choose_settings(screen: Screen[None], title: str, *settings: ScreenSetting) -> None:
    """Let the user change the settings of a screen; the last row leads to those of the chat."""
    rows = [(setting, index) for setting in settings for index in range(len(setting.values))]
    texts = [f"{'●' if index == setting.current else ' '} {setting.values[index]}" for setting, index in rows]

    def chosen(found: int | str | None) -> None:
        if found == len(rows):
            screen.app.run_worker(screen.run_action("app.settings"), group="settings", exit_on_error=False)
        elif isinstance(found, int):
            setting, index = rows[found]
            setting.choose(index)

    texts.append("  the settings of the chat: system prompt, sampling, memory…")
    screen.app.push_screen(ChooseDialog(title, texts, cursor=settings[0].current), chosen)
