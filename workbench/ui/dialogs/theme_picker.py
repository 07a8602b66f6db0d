"""The theme picker, with a preview of the highlighted theme."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from textual import on
from textual.app import App, ComposeResult
from textual.getters import query_one
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from workbench.core.errors import ConfigError
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.widgets.options import Options


class ThemePicker(Dialog[str | None]):
    """Applies each theme as it is highlighted; Escape restores the previous one."""

    CSS_PATH = "theme_picker.tcss"

    list = query_one("#theme-list", OptionList)

    def __init__(self, names: Sequence[str], current: str) -> None:
        super().__init__()
        self._names = names
        self._before = current

    def compose(self) -> ComposeResult:
        with dialog_box("theme-box", "Theme", "Enter keeps · Esc undoes"):
            yield Options(*(Option(name) for name in self._names), id="theme-list", compact=True, markup=False)

    def on_mount(self) -> None:
        if self._before in self._names:
            self.list.highlighted = self._names.index(self._before)
        self.list.focus()

    @on(OptionList.OptionHighlighted)
    def _preview(self, event: OptionList.OptionHighlighted) -> None:
        self.app.theme = self._names[event.option_index]

    @on(OptionList.OptionSelected)
    def _keep(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._names[event.option_index])

    def action_close(self) -> None:
        self.app.theme = self._before
        self.dismiss(None)


def choose_theme(app: App[None], names: Sequence[str], save: Callable[[Mapping[str, object]], Sequence[str]]) -> None:
    """Let the user choose a theme, and store the choice; `save` is `Services.save_config`."""

    def keep(name: str | None) -> None:
        if name is None:
            return
        try:
            replaced = save({"theme": name})
        except ConfigError as error:
            app.notify(clean_line(str(error)), title="The theme is not stored", severity="warning")
        else:
            for text in replaced:
                app.notify(text, title="The theme is stored", severity="warning")

    app.push_screen(ThemePicker(names, app.theme), keep)
