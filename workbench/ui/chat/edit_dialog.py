"""The dialog that edits a message."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.getters import query_one
from textual.widgets import TextArea

from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.keys import key


class EditArea(TextArea):
    """The text, with the keys of the prompt."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("edit.done", "enter", "Done", "Take the edited text.", action="take", priority=True),
        key("edit.newline", "shift+enter,alt+enter,ctrl+j", "New line",
            "Begin a new line in the text.", show=False, priority=True),
    ]  # fmt: skip

    def action_take(self) -> None:
        # A priority key overtakes the keys that were typed before it and still wait in the widget's queue.
        self.call_later(self._take)

    def _take(self) -> None:
        if self.text.strip():
            self.screen.dismiss(self.text)
        else:
            self.notify("A message cannot be empty: Esc goes back.", timeout=3)

    def action_newline(self) -> None:
        self.call_later(self.insert, "\n")


class EditDialog(Dialog[str | None]):
    """Edits a message; returns the new text. `done` is what Enter does, such as `sends it`."""

    CSS_PATH = "edit_dialog.tcss"
    AUTO_FOCUS = "#edit-text"

    area = query_one("#edit-text", EditArea)

    def __init__(self, title: str, text: str, done: str) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._done = done

    def compose(self) -> ComposeResult:
        keys = f"Enter {self._done} · Shift+Enter or Ctrl+J new line · Esc goes back"
        with dialog_box("edit-box", self._title, keys):
            area = EditArea(self._text, id="edit-text", soft_wrap=True, show_line_numbers=False, tab_behavior="focus")
            area.cursor_blink = False
            yield area

    def on_mount(self) -> None:
        self.area.move_cursor(self.area.document.end)
