"""A dialog that offers some rows, and a line to type something else."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.getters import query_one
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.kit.text import plain
from workbench.ui.widgets.input_line import InputLine


class ChooseDialog(Dialog[int | str | None]):
    """Returns the index of the chosen row, or the typed text; without `typed`, a placeholder, nothing is typed."""

    CSS_PATH = "screen.tcss"

    options = query_one(OptionList)

    def __init__(self, title: str, rows: Sequence[str], typed: str = "") -> None:
        super().__init__()
        self._title = title
        self._rows = rows
        self._typed = typed

    def compose(self) -> ComposeResult:
        keys = "Enter chooses · Tab to type · Esc closes" if self._typed else "Enter chooses · Esc closes"
        with dialog_box("choose-box", self._title, keys):
            yield OptionList(*(Option(plain(row)) for row in self._rows), id="choose-rows", compact=True, markup=False)
            if self._typed:
                yield InputLine("choose-typed", self._typed)

    def on_mount(self) -> None:
        self.options.highlighted = 0 if self._rows else None
        (self.options if self._rows else self.query_one(Input)).focus()

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_index)

    @on(Input.Submitted)
    def _type(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())
