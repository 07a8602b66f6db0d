"""The base of all dialogs: a box over the screen, closed by Escape."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.worker import Worker, WorkerState

from workbench.ui.kit.sanitize import clean_line

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A box over the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="dialog.close", tooltip="Close the dialog without a change."),
    ]

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Report an unexpected worker error."""
        if event.state is WorkerState.ERROR:
            what = f"{event.worker.description} failed: {type(event.worker.error).__name__}."
            self.notify(clean_line(what), severity="error", markup=False)

    def action_close(self) -> None:
        """Close without a result."""
        self.dismiss(None)
