"""The dialog that makes a model in Ollama from the Modelfile of a conversation."""

from __future__ import annotations

import re

from textual import on, work
from textual.app import ComposeResult
from textual.content import Content
from textual.getters import query_one
from textual.widgets import Input, Label

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, TargetError, WorkbenchError
from workbench.core.sending import ModelSender, SendPhase, SendProgress, SendTarget, Sent
from workbench.core.session import Session
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, styled
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.list_lines import ListLines

PHASES: dict[SendPhase, str] = {
    "looking": "Looking for a server at",
    "reading": "Reading",
    "sending": "Sending",
    "making": "Making:",
    "asking": "Asking",
}
PAINT_SECONDS = 0.2


def proposed_name(title: str) -> str:
    """The default name of a model that is made from a conversation."""
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:32].strip("-") or "my-model"


class SendDialog(Dialog[Sent | None]):
    """Asks for a name and a server, and sends the model of a conversation; returns the result."""

    CSS_PATH = "ollama_dialog.tcss"

    name_input = query_one("#send-name", Input)
    server = query_one("#send-server", Input)
    state = query_one(ListLines)

    def __init__(self, sender: ModelSender, session: Session) -> None:
        super().__init__()
        self._sender = sender
        self._session = session
        self._cancel: CancelToken | None = None
        """Stops the running transfer; None where none runs."""
        self._progress: SendProgress | None = None
        self._taken: tuple[str, str] | None = None
        """The name and the server of the model that a second Enter replaces."""

    def compose(self) -> ComposeResult:
        keys = "Enter makes it · Tab to the other field · Esc stops, then closes"
        with dialog_box("send-box", "Make a model in Ollama", keys):
            yield Label("Name", classes="dialog-label", markup=False)
            yield InputLine("send-name", value=proposed_name(self._session.title))
            yield Label("Ollama is at", classes="dialog-label", markup=False)
            yield InputLine("send-server", value=self._sender.usual_server)
            yield ListLines(widget_id="send-state")

    def on_mount(self) -> None:
        self._say("The model file is sent too, unless Ollama has it.", "rows--dim")
        self._painter = self.set_interval(PAINT_SECONDS, self._paint, pause=True)
        self.name_input.focus()

    def _say(self, text: str, style: str) -> None:
        width = max(20, self.state.size.width or 80)
        self.state.set_lines(list(styled((clean_line(text), style)).wrap(width)))

    @on(Input.Changed)
    def _changed(self) -> None:
        self._taken = None

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if self._cancel is None:
            self._cancel = CancelToken()
            self._send(self._cancel)

    @work(group="send", exit_on_error=False, description="send the model")
    async def _send(self, cancel: CancelToken) -> None:
        name, url = self.name_input.value.strip(), self.server.value.strip()
        self._painter.resume()
        try:
            target = SendTarget(name, url, overwrite=self._taken == (name, url))
            sent = await self._sender.send(self._session, target, self._note, cancel)
        except CancelledError as error:
            self._end(error.message, "rows--dim")
        except TargetError as error:
            self._taken = (name, url)
            self._end(f"{error.message} Enter again replaces it.", "rows--error")
        except WorkbenchError as error:
            self._end(str(error), "rows--error")
        else:
            self._end("", "rows--dim")
            self.dismiss(sent)

    def _end(self, text: str, style: str) -> None:
        self._cancel = self._progress = None
        self._painter.pause()
        self._say(text, style)

    def _note(self, progress: SendProgress) -> None:
        # Called in the thread that sends.
        self._progress = progress

    def _paint(self) -> None:
        progress = self._progress
        if progress is None:
            return
        width = max(20, self.state.size.width or 80)
        text = f"{PHASES[progress.phase]} {clean_line(progress.what)}"
        second = Content("")
        if progress.fraction is not None:
            figure = styled((f" {progress.fraction:4.0%}", "rows--figure"))
            second = bar(progress.fraction, max(8, min(48, width - 8)), "rows--bar") + figure
        self.state.set_lines([styled((cut(text, width), "rows--dim")), second])

    def action_close(self) -> None:
        if self._cancel is not None:
            self._cancel.set()
        else:
            self.dismiss(None)
