"""The base of all dialogs: a box over the screen, closed by Escape."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.worker import Worker

from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import plain
from workbench.ui.widgets.worker_errors import report_worker_error

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A box over the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("dialog.close", "escape", "Close", "Close the dialog."),
    ]

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_worker_error(event, lambda text: self.notify(clean_line(text), severity="error"))

    def action_close(self) -> None:
        self.dismiss(None)


def dialog_box(box_id: str, title: str, keys: str) -> Vertical:
    """The box of a dialog, with its title above and its keys below."""
    box = Vertical(id=box_id, classes="dialog-box")
    box.border_title, box.border_subtitle = plain(title), plain(keys)
    return box
