"""A question before a step that cannot be undone, or is expensive."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Label

from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean


class ConfirmDialog(Dialog[bool | None]):
    """Asks a question: Enter is yes, Escape is no. `yes` is a verb for Enter, such as `deletes`."""

    CSS_PATH = "confirm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("confirm.yes", "enter,y", "Yes", "Agree.", action="agree"),
    ]

    def __init__(self, title: str, text: str, yes: str) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._yes = yes

    def compose(self) -> ComposeResult:
        with dialog_box("confirm-box", self._title, f"Enter {self._yes} · Esc cancels"):
            yield Label(clean(self._text), id="confirm-text", markup=False)

    def action_agree(self) -> None:
        self.dismiss(True)
