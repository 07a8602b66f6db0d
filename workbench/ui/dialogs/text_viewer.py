"""Dialogs that show a long text, and the elements of an array, in full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Key
from textual.getters import query_one
from textual.widgets import Input, Label

from workbench.core.errors import WorkbenchError
from workbench.gguf.model_files import ModelFiles
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import cut, fold, styled
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.rows import Rows

LONGEST_TEXT = 200_000
"""Characters of a text that are shown."""
SHORT_LINES, BOX_ROWS = 12, 4
"""Lines of a short text at most, and the rows of the box around it."""


class TextDialog(Dialog[None]):
    """A text to scroll through; `lay_out` gets a number of columns. The class `-wide` gives it all of them."""

    CSS_PATH = "text_viewer.tcss"
    AUTO_FOCUS = "#value-rows"

    box = query_one("#value-box", Vertical)
    rows = query_one("#value-rows", Rows)

    def __init__(self, title: str, lay_out: Callable[[int], list[Content]], *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._title = title
        self._lay_out = lay_out

    def compose(self) -> ComposeResult:
        with dialog_box("value-box", cut(self._title, 70), "↑ ↓ scroll · Esc closes"):
            yield Rows("value-rows")

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        lines = self._lay_out(max(10, self.rows.room))
        # A short text gets a small box.
        self.box.styles.height = len(lines) + BOX_ROWS if len(lines) <= SHORT_LINES else "90%"
        self.rows.show(len(lines), lambda index, _: lines[index])


class ValueDialog(TextDialog):
    """A named value in full."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(key, partial(value_lines, text))


def value_lines(text: str, width: int) -> list[Content]:
    """The rows of a value; a very long one is truncated."""
    lines = [row for line in clean(text[:LONGEST_TEXT]).split("\n") for row in fold(Content(line.expandtabs(4)), width)]
    if len(text) > LONGEST_TEXT:
        lines.append(styled((f"… truncated after {LONGEST_TEXT:,} of {len(text):,} characters", "rows--warning")))
    return lines


class ArrayDialog(Dialog[None]):
    """The elements of an array of a model file, with a search."""

    CSS_PATH = "text_viewer.tcss"

    rows = query_one("#value-rows", Rows)
    search = query_one("#value-search", Input)
    state = query_one("#value-state", Label)

    def __init__(self, files: ModelFiles, path: Path, key: str) -> None:
        super().__init__()
        self._files = files
        self._path = path
        self._key = key
        self._values: Sequence[bool | int | float | str] = ()
        self._folded: Sequence[str] = ()
        self._shown: Sequence[int] = ()

    def compose(self) -> ComposeResult:
        with dialog_box("value-box", cut(self._key, 70), "Type to search · ↑ ↓ scroll · Esc closes"):
            yield InputLine("value-search", "Type to search…")
            yield Rows("value-rows")
            yield Label("Reading…", id="value-state", markup=False)

    def on_mount(self) -> None:
        self.search.focus()
        self._read()

    @work(group="array", exclusive=True, exit_on_error=False, description="read the array")
    async def _read(self) -> None:
        try:
            array = await self._files.array(self._path, self._key)
        except WorkbenchError as error:
            self.state.update(clean_line(str(error)))
            return
        self._values = array.values or ()
        self._show("")

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        self._show(event.value)

    @on(Input.Submitted)
    def _searched(self) -> None:
        self.rows.focus()

    def _show(self, query: str) -> None:
        total = len(self._values)
        wanted = query.casefold()
        if wanted and not self._folded:
            self._folded = [str(value).casefold() for value in self._values]
        self._shown = [index for index, text in enumerate(self._folded) if wanted in text] if wanted else range(total)
        self.rows.show(len(self._shown), self._row)
        some = f"{len(self._shown):,} of {total:,}" if wanted else f"{total:,}"
        self.state.update(f"{some} elements")

    def _row(self, index: int, width: int) -> Content:
        number = self._shown[index]
        value = self._values[number]
        style = "" if isinstance(value, str) else "doc--number"
        return styled((f"{number:>9,}  ", "rows--dim"), (cut(str(value), width - 11), style))

    def on_key(self, event: Key) -> None:
        if self.search.has_focus and event.key in ("down", "up"):
            self.rows.action_move(1 if event.key == "down" else -1)
        elif self.search.has_focus and event.key in ("pagedown", "pageup"):
            self.rows.action_page(1 if event.key == "pagedown" else -1)
