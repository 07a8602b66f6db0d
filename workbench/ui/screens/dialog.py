"""What all dialogs share: a box in the middle, closed by Escape."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A box over the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="dialog.close", tooltip="Close the dialog without doing anything."),
    ]

    def action_close(self) -> None:
        """Close without a result."""
        self.dismiss(None)
