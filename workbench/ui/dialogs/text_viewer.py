"""One value of a model file's metadata, the whole of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.getters import query_one
from textual.widgets import Input, Label

from workbench.core.errors import WorkbenchError
from workbench.gguf.model_files import ModelFiles
from workbench.ui.dialogs.base import Dialog
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import cut, fold, styled
from workbench.ui.widgets.rows import Rows

LONGEST_TEXT = 200_000
"""Characters of a text that are shown."""
SHORT_LINES, BOX_ROWS = 12, 4
"""What counts as a short text, and the rows that the box has around it."""


class ValueDialog(Dialog[None]):
    """A value to be read.

    Args:
        key: Its name.
        text: What it is.
    """

    CSS_PATH = "text_viewer.tcss"
    AUTO_FOCUS = "#value-rows"

    box = query_one("#value-box", Vertical)
    rows = query_one("#value-rows", Rows)

    def __init__(self, key: str, text: str) -> None:
        super().__init__()
        self._key = key
        self._text = text

    def compose(self) -> ComposeResult:
        """A text to scroll through."""
        with Vertical(id="value-box", classes="dialog-box") as box:
            box.border_title = cut(self._key, 70)
            box.border_subtitle = "↑ ↓ scroll · Esc closes"
            yield Rows("value-rows")

    def on_resize(self) -> None:
        """Wrap to the width."""
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        width = max(10, self.rows.room)
        lines: list[Content] = []
        for line in clean(self._text[:LONGEST_TEXT]).split("\n"):
            lines += fold(Content(line.expandtabs(4)), width)
        if len(self._text) > LONGEST_TEXT:
            lines.append(styled((f"… cut after {LONGEST_TEXT:,} of {len(self._text):,} characters", "rows--warning")))
        # A short value gets a small box.
        self.box.styles.height = len(lines) + BOX_ROWS if len(lines) <= SHORT_LINES else "90%"
        self.rows.show(len(lines), lambda index, _: lines[index])


class ArrayDialog(Dialog[None]):
    """An array, element by element, to be searched.

    Args:
        files: Who reads it.
        path: The file.
        key: The name of the array.
    """

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
        """A search line above the elements."""
        with Vertical(id="value-box", classes="dialog-box") as box:
            box.border_title = cut(self._key, 70)
            box.border_subtitle = "Type to search · ↑ ↓ scroll · Esc closes"
            search = Input(placeholder="Type to search…", id="value-search", compact=True)
            search.cursor_blink = False
            yield search
            yield Rows("value-rows")
            yield Label("Reading…", id="value-state", markup=False)

    def on_mount(self) -> None:
        """Begin to read at once."""
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

    def on_key(self, event: object) -> None:
        """The arrows scroll, wherever the focus is."""
        key = getattr(event, "key", "")
        steps = {"down": 1, "up": -1}
        if self.search.has_focus and key in steps:
            self.rows.action_move(steps[key])
        elif self.search.has_focus and key in {"pagedown", "pageup"}:
            self.rows.action_page(1 if key == "pagedown" else -1)
