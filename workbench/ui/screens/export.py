"""Leaving with a conversation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from workbench.core.ports import ExportFormat
from workbench.ui.screens.dialog import Dialog

FORMATS: dict[ExportFormat, tuple[str, str]] = {
    "modelfile": (".modelfile", "Modelfile   model, settings and messages, for ollama create"),
    "md": (".md", "Markdown    the conversation, to read"),
    "json": (".json", "JSON        everything, with the figures of each answer"),
}
_NAMES: tuple[ExportFormat, ...] = tuple(FORMATS)


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written, and where."""

    form: ExportFormat
    path: Path


def free_path(folder: Path, title: str, suffix: str) -> Path:
    """A file in `folder` that is named after `title` and is not there yet."""
    name = re.sub(r"[^\w]+", "-", title.casefold()).strip("-")[:40].strip("-") or "session"
    path = folder / f"{name}{suffix}"
    number = 2
    while path.exists():
        path = folder / f"{name}-{number}{suffix}"
        number += 1
    return path


class ExportDialog(Dialog[Export | None]):
    """Asks for a format and a path."""

    CSS_PATH = "export.tcss"

    forms = query_one("#export-form", OptionList)
    path = query_one("#export-path", Input)

    def __init__(self, folder: Path, title: str) -> None:
        super().__init__()
        self._folder = folder
        self._title = title
        self._proposed = ""

    def compose(self) -> ComposeResult:
        """The formats above the path."""
        with Vertical(id="export-box", classes="dialog-box") as box:
            box.border_title = "Export the conversation"
            box.border_subtitle = "Enter writes · Tab to the path · Esc closes"
            yield OptionList(
                *(Option(text) for _, text in FORMATS.values()), id="export-form", compact=True, markup=False
            )
            yield Label("To", classes="dialog-label")
            path = Input(id="export-path", compact=True)
            path.cursor_blink = False
            yield path

    def on_mount(self) -> None:
        """Propose the first format."""
        self.forms.highlighted = 0
        self.forms.focus()

    @property
    def _form(self) -> ExportFormat:
        return _NAMES[self.forms.highlighted or 0]

    @on(OptionList.OptionHighlighted)
    def _propose(self) -> None:
        """Propose a path for the format, unless the user has typed one."""
        if self.path.value == self._proposed:
            suffix, _ = FORMATS[self._form]
            self._proposed = str(free_path(self._folder, self._title, suffix))
            self.path.value = self._proposed

    @on(OptionList.OptionSelected)
    @on(Input.Submitted)
    def _write(self) -> None:
        if self.path.value.strip():
            self.dismiss(Export(self._form, Path(self.path.value.strip()).expanduser()))
