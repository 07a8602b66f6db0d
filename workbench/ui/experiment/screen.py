"""The base of the screens that measure: a line for messages, shared keys, kept results, and the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypeVar

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.worker import Worker

from workbench.core.models import ModelEntry
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.export import export_document
from workbench.ui.dialogs.model_picker import ModelPicker
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.services import Services
from workbench.ui.widgets.repainter import Repainter
from workbench.ui.widgets.transient import SAY_SECONDS, TransientText
from workbench.ui.widgets.worker_errors import report_worker_error
from workbench.ui.workspace.workspace import Workspace

WIDE = 100
"""Terminal columns from which the parts stand side by side, or have room between them."""
_KEYS = {
    "start": ("f9", "Run"), "stop": ("escape", "Stop"), "settings": ("f6", "Settings"), "add": ("ctrl+o", "Add model"),
    "model": ("ctrl+o", "Model"), "limits": ("ctrl+l", "Constraints"),
    "remove": ("delete,x", "Remove"), "runs": ("ctrl+r", "Earlier"), "export": ("f7", "Export"),
}  # fmt: skip
"""The keys and the names of the actions that these screens share."""

RecordT = TypeVar("RecordT")


def shared_key(name: str, tooltip: str, *, show: bool = True) -> Binding:
    """The binding of a shared action; `name` is its id, such as `bench.start`."""
    keys, label = _KEYS[name.partition(".")[2]]
    return key(name, keys, label, tooltip, show=show)


class ExperimentScreen(Screen[None]):
    """Measures one thing at a time. What is drawn is drawn by `_paint`."""

    WORK: ClassVar[str] = "A measurement"
    """What runs, in a sentence."""
    STOP: ClassVar[str]
    """The id of the binding that stops it."""

    def __init__(self, name: str, services: Services, workspace: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__(id=name)
        self.services = services
        self.workspace = workspace
        self.key_for = key_for
        self._said = TransientText(self, self._paint)
        self._repainter = Repainter(self, self._paint, lambda: self.running)

    @property
    def running(self) -> bool:
        raise NotImplementedError

    async def leave(self) -> None:
        """Stop, and wait until the memory is released."""
        raise NotImplementedError

    def _stop(self) -> None:
        """Stop what runs."""
        raise NotImplementedError

    def _paint(self) -> None:
        raise NotImplementedError

    def on_mount(self) -> None:
        self._repainter.start()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < WIDE, "-narrow")
        self.set_class(event.size.width >= WIDE, "-wide")
        self.call_after_refresh(self._paint)

    def say(self, text: str, seconds: float = SAY_SECONDS, holds: Callable[[], bool] = lambda: True) -> None:
        """Show a message for some seconds, but not longer than it `holds`."""
        self._said.say(Content(clean_line(text.replace("\n", " "))), seconds, holds)

    def _busy(self) -> bool:
        """Whether something runs; if it does, the user gets a notice."""
        if self.running:
            self.say(f"{self.WORK} runs: {self.key_for(self.STOP)} stops it.", holds=lambda: self.running)
        return self.running

    def escape_label(self) -> str:
        return "Stop" if self.running else ""

    def action_stop(self) -> None:
        if self.running:
            self._stop()
            self.say("Stopping; what is done is kept…", 2.0)

    def _choose_model(
        self, enter: str, chosen: Callable[[ModelEntry], object], current: ModelEntry | None = None
    ) -> None:
        """Let the user choose a model; `enter` is what Enter does, such as `adds`."""

        def take(model: ModelEntry | None) -> None:
            if model is not None:
                chosen(model)

        self.app.push_screen(ModelPicker(self.services, current or self.workspace.model, enter=enter), take)

    def _choose_earlier(
        self,
        title: str,
        records: Sequence[RecordT],
        row: Callable[[RecordT], str],
        opened: Callable[[RecordT], object],
        none: str,
    ) -> None:
        """Let the user open one of the kept results; `none` is said where there is none."""

        def chosen(found: int | str | None) -> None:
            if isinstance(found, int):
                opened(records[found])

        if records:
            self.app.push_screen(ChooseDialog(title, [row(record) for record in records]), chosen)
        else:
            self.say(none)

    def lay_beside(self, title: str, text: str) -> None:
        """Show two results that are beside each other in a text."""
        lines = [Content(clean_line(line)) for line in text.splitlines()]
        self.app.push_screen(TextDialog(title, lambda _: lines, classes="-wide"))

    def export(self, what: str, forms: Mapping[str, str], title: str, text_of: Callable[[str], str]) -> None:
        """Let the user write a result; see `export_document`."""
        export_document(self, self.services, what, forms, title, text_of, self.say)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        self.refresh_bindings()
        report_worker_error(event, lambda text: self.say(text, 8.0))
