"""The export dialog: the format, and the path of the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.getters import query_one
from textual.screen import Screen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from workbench.core.errors import PathError, WorkbenchError
from workbench.core.user_path import user_path
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.services import Services
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.options import Options


@dataclass(frozen=True, slots=True)
class Export:
    """A format and a path."""

    form: str
    """The suffix of the format, such as `.md`; without a dot, a format that is not a file."""
    path: Path


def free_path(folder: Path, title: str, suffix: str) -> Path:
    """A path in `folder`, named after `title`, that does not exist yet."""
    name = re.sub(r"[^\w]+", "-", title.casefold()).strip("-")[:40].strip("-") or "session"
    ends = chain([""], (f"-{number}" for number in count(2)))
    paths = (folder / f"{name}{end}{suffix}" for end in ends)
    return next(path for path in paths if not path.exists())


class ExportDialog(Dialog[Export | None]):
    """Asks for a format and a path; `title` is the default name of the file.

    `forms` has the name of each format by its suffix. One without a leading dot is not a file, and has no path.
    """

    CSS_PATH = "export.tcss"

    forms = query_one("#export-form", OptionList)
    path = query_one("#export-path", Input)
    to = query_one("#export-to", Label)

    def __init__(self, what: str, forms: Mapping[str, str], folder: Path, title: str) -> None:
        super().__init__()
        self._what = what
        self._texts = dict(forms)
        self._folder = folder
        self._title = title
        self._proposed = ""

    def compose(self) -> ComposeResult:
        with dialog_box("export-box", f"Export {self._what}", "Enter writes · Tab to the path · Esc closes"):
            yield Options(*map(Option, self._texts.values()), id="export-form", compact=True, markup=False)
            yield Label("To", id="export-to", classes="dialog-label", markup=False)
            yield InputLine("export-path")

    def on_mount(self) -> None:
        self.forms.highlighted = 0
        self.forms.focus()

    @property
    def _form(self) -> str:
        return list(self._texts)[self.forms.highlighted or 0]

    @on(OptionList.OptionHighlighted)
    def _propose(self) -> None:
        """Propose a path for the format, unless the user has typed one."""
        self.path.display = self.to.display = self._form.startswith(".")
        if self.path.value == self._proposed:
            self._proposed = str(free_path(self._folder, self._title, self._form))
            self.path.value = self._proposed

    @on(OptionList.OptionSelected)
    @on(Input.Submitted)
    def _write(self) -> None:
        if self.path.value.strip():
            try:
                self.dismiss(Export(self._form, user_path(self.path.value.strip())))
            except PathError as error:
                self.notify(clean_line(str(error)), title="Not written", severity="error", markup=False)


def export_document(
    screen: Screen[None],
    services: Services,
    what: str,
    forms: Mapping[str, str],
    title: str,
    text_of: Callable[[str], str],
    say: Callable[[str, float], object],
) -> None:
    """Ask for a format and a path, and write a document there.

    `text_of` gives the document in a format. `say` shows for some seconds where it was written, or why not.
    """

    async def write(export: Export) -> None:
        try:
            say(f"Written to {await services.write_document(export.path, text_of(export.form))}", 8.0)
        except WorkbenchError as error:
            say(str(error), 8.0)

    def chosen(export: Export | None) -> None:
        if export is not None:
            screen.run_worker(write(export), group="export", exit_on_error=False, description=f"export {what}")

    screen.app.push_screen(ExportDialog(what, forms, services.export_folder, title), chosen)
