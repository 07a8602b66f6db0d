"""Leaving with a race."""

from __future__ import annotations

from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from workbench.core.errors import WorkbenchError
from workbench.lab.race_report import FORMS, RaceResult
from workbench.ui.screens.dialog import Dialog
from workbench.ui.screens.export import free_path
from workbench.ui.services import Services

_SAID = {
    ".md": "Markdown    a table and the answers, to read",
    ".json": "JSON        everything",
    ".csv": "CSV         the figures, a row for each lane",
}


class RaceExportDialog(Dialog[str | None]):
    """Asks for a format and a path, and writes the race; gives what to tell the user.

    Args:
        services: What the program works with.
        result: The race.
    """

    CSS_PATH = "export.tcss"

    forms = query_one("#export-form", OptionList)
    path = query_one("#export-path", Input)

    def __init__(self, services: Services, result: RaceResult) -> None:
        super().__init__()
        self._services = services
        self._result = result
        self._proposed = ""

    def compose(self) -> ComposeResult:
        """The formats above the path."""
        with Vertical(id="export-box", classes="dialog-box") as box:
            box.border_title = "Export the race"
            box.border_subtitle = "Enter writes · Tab to the path · Esc closes"
            yield OptionList(*(Option(_SAID[suffix]) for suffix in FORMS), id="export-form", compact=True, markup=False)
            yield Label("To", classes="dialog-label")
            path = Input(id="export-path", compact=True)
            path.cursor_blink = False
            yield path

    def on_mount(self) -> None:
        """Propose the first format."""
        self.forms.highlighted = 0
        self.forms.focus()

    @on(OptionList.OptionHighlighted)
    def _propose(self) -> None:
        """Propose a path for the format, unless the user has typed one."""
        if self.path.value == self._proposed:
            suffix = list(FORMS)[self.forms.highlighted or 0]
            name = f"race {self._result.question}"
            self._proposed = str(free_path(self._services.export_folder, name, suffix))
            self.path.value = self._proposed

    @on(OptionList.OptionSelected)
    @on(Input.Submitted)
    @work(exit_on_error=False, description="export the race")
    async def _write(self) -> None:
        if not self.path.value.strip():
            return
        path = Path(self.path.value.strip()).expanduser()
        form = FORMS[list(FORMS)[self.forms.highlighted or 0]]
        try:
            said = f"Written to {await self._services.races.write(path, form(self._result))}"
        except WorkbenchError as error:
            said = str(error)
        self.dismiss(said)
