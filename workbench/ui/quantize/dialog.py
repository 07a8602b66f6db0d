"""The dialog in which a quantization is chosen: the source, the type, and the file to write."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.getters import query_one
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, Label
from textual.worker import WorkerCancelled, WorkerFailed

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, ImatrixError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.user_path import expanded
from workbench.gguf.quantization import QuantizeJob, QuantizePlan, is_quantized
from workbench.gguf.targets import QUANT_TYPES, QuantType
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, paragraph, styled
from workbench.ui.quantize.choices import Choices, choice_notes, first_choice, source_lines, sources_of
from workbench.ui.services import Services
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.list_lines import ListLines
from workbench.ui.widgets.rows import Rows

TYPING_SECONDS = 0.4
"""Pause in typing after which a path is looked at."""
_KINDS: Sequence[QuantType] = tuple(QUANT_TYPES.values())


class QuantizeDialog(Dialog[None]):
    """Asks for a quantization, with the size of each type, and posts what was chosen.

    `variants` are the quantizations of the model on this machine, itself included.
    """

    CSS_PATH = "dialog.tcss"
    AUTO_FOCUS = "#quantize-types"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("quantize.previous", "left", "Previous source", "Take the previous source.", action="source(-1)"),
        key("quantize.next", "right", "Next source", "Take the next source.", action="source(1)"),
    ]

    @dataclass
    class Wanted(Message):
        """A quantization was chosen."""

        job: QuantizeJob
        model: str
        """The name of the model."""

    source_line = query_one("#quantize-source", ListLines)
    types = query_one("#quantize-types", Rows)
    imatrix = query_one("#quantize-imatrix", Input)
    imatrix_note = query_one("#quantize-imatrix-note", Label)
    target = query_one("#quantize-target", Input)
    notes = query_one("#quantize-notes", ListLines)

    def __init__(self, services: Services, entry: ModelEntry, variants: Sequence[ModelEntry]) -> None:
        super().__init__()
        self._files = services.files
        self._entry = entry
        self._sources = sources_of(entry, variants)
        self._source_index = 0
        self._choices = Choices(frozenset(model.quant for model in variants if model.quant))
        self._imatrix: Path | None = None
        self._imatrix_problem = ""
        self._plan_problem = ""
        self._target_problem = ""
        self._proposed = ""
        self._typing: Timer | None = None
        self._cancel = CancelToken()

    def compose(self) -> ComposeResult:
        keys = "Enter makes it · ← → source · Tab to the fields · Esc closes"
        with dialog_box("quantize-box", cut(f"Quantize {self._entry.name}", 60), keys):
            yield ListLines(widget_id="quantize-source")
            yield Rows("quantize-types")
            with Horizontal(classes="quantize-field"):
                yield Label("importance matrix", classes="quantize-label", markup=False)
                yield InputLine("quantize-imatrix", "a file written by llama-imatrix; most types need none")
                yield Label("", id="quantize-imatrix-note", markup=False)
            with Horizontal(classes="quantize-field"):
                yield Label("write to", classes="quantize-label", markup=False)
                yield InputLine("quantize-target")
            yield ListLines(widget_id="quantize-notes")

    def on_mount(self) -> None:
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._show_types(first_choice(_KINDS, self._choices.present))
        self._take_source()

    def on_resize(self) -> None:
        self.call_after_refresh(self._lay_out)

    def _lay_out(self) -> None:
        self._show_types(self.types.cursor or 0)
        self._show_source()
        self._say()

    def on_unmount(self) -> None:
        self._cancel.set()

    # The source

    @property
    def source(self) -> ModelEntry | None:
        """The file that is quantized; None where there is none."""
        return self._sources[self._source_index] if self._sources else None

    @property
    def kind(self) -> QuantType:
        return _KINDS[self.types.cursor or 0]

    def action_source(self, step: int) -> None:
        if len(self._sources) > 1:
            self._source_index = (self._source_index + step) % len(self._sources)
            self._take_source()

    def _take_source(self) -> None:
        self._choices.source_bytes = self.source.size_bytes if self.source else None
        self._show_source()
        self._propose()
        self._plan()

    def _show_source(self) -> None:
        text = "None of its files can be read: there is no source for a quantization."
        lines = [styled((text, "rows--warning")), Content("")]
        if self.source is not None:
            width = self.source_line.size.width
            lines = source_lines(self.source, self._source_index, len(self._sources), width)
        self.source_line.set_lines(lines)

    @work(group="plan", exclusive=True, exit_on_error=False, description="work out the sizes")
    async def _plan(self) -> None:
        source, self._typing = self.source, None
        self._choices.plans.clear()
        self._choices.has_imatrix = self._imatrix is not None
        self._plan_problem = self._imatrix_problem = ""
        self._redraw()
        if source is None or source.path is None:
            return
        imatrix = self._imatrix
        try:
            try:
                await self._files.plan(Path(source.path), _KINDS, imatrix, self._planned, self._cancel)
            except ImatrixError as error:
                self._imatrix_problem = error.message
                self._choices.has_imatrix = False
                await self._files.plan(Path(source.path), _KINDS, None, self._planned, self._cancel)
        except CancelledError:
            return
        except WorkbenchError as error:
            self._plan_problem = error.message
        if imatrix is not None:
            self.imatrix_note.update("not usable" if self._imatrix_problem else "✓ of this model")
            self.imatrix_note.set_class(bool(self._imatrix_problem), "-wrong")
        self._redraw()

    def _planned(self, plan: QuantizePlan) -> None:
        self._choices.plans[plan.kind.name] = plan
        self._redraw()

    # The type

    def _show_types(self, cursor: int) -> None:
        table = self._choices.table()
        self.types.show(
            len(_KINDS),
            lambda index, width: table.row(_KINDS[index], width),
            header=table.header(self.types.room),
            choosable=True,
            cursor=cursor,
        )

    def _redraw(self) -> None:
        if self.is_attached:
            self.types.redraw()
            self._say()

    @on(Rows.Moved)
    def _moved(self) -> None:
        self._propose()
        self._say()

    @on(Input.Changed, "#quantize-imatrix")
    def _imatrix_typed(self, event: Input.Changed) -> None:
        path = _path(event.value)
        self.imatrix_note.update("")
        if path != self._imatrix:
            self._imatrix = path
            if self._typing is not None:
                self._typing.stop()
            self._typing = self.set_timer(TYPING_SECONDS, self._plan)

    # The target

    def _propose(self) -> None:
        source = self.source
        if source is None or source.path is None or self.target.value != self._proposed:
            return
        path = str(self._files.target(Path(source.path), source.name, self.kind))
        # A path that cannot be typed is not proposed.
        self._proposed = path if clean_line(path) == path else ""
        self.target.value = self._proposed

    def _job(self) -> QuantizeJob | None:
        source, target = self.source, _path(self.target.value)
        if source is None or source.path is None or target is None:
            return None
        path = Path(source.path)
        if target.is_dir():
            target /= self._files.target(path, source.name, self.kind).name
        return QuantizeJob(path, target.absolute(), self.kind, self._imatrix)

    @on(Input.Changed, "#quantize-target")
    @work(group="target", exclusive=True, exit_on_error=False, description="look at the disk")
    async def _look_at_target(self) -> None:
        await self._look_at(self._job())

    async def _look_at(self, job: QuantizeJob | None) -> None:
        self._target_problem = "" if job is None else await self._files.target_problem(job)
        self._choices.free_bytes = None if job is None else await self._files.free_bytes(job.target.parent)
        self._redraw()

    def _say(self) -> None:
        lines: list[Content] = []
        for text, severity in self._notes():
            style = "" if severity == "good" else f"rows--{severity}"
            lines += paragraph(clean_line(text), max(20, self.notes.size.width), 0, style)
        self.notes.set_lines(lines[:3] or [Content("")])

    def _notes(self) -> list[tuple[str, str]]:
        problems = (self._imatrix_problem, self._plan_problem, self._target_problem)
        found = [problem for problem in problems if problem]
        return choice_notes(self.kind, self._choices, found) if self.source is not None else []

    # The job

    @on(Rows.Chosen)
    @on(Input.Submitted)
    @work(group="make", exclusive=True, exit_on_error=False, description="quantize")
    async def _make(self) -> None:
        if self._typing is not None:
            # A path that was typed a moment ago was not looked at yet.
            self._typing.stop()
            self._typing = None
            with suppress(WorkerFailed, WorkerCancelled):
                await self._plan().wait()
        job, source = self._job(), self.source
        if job is None or source is None:
            self._refuse("There is no source." if source is None else "Type the path of the file to write.")
            return
        await self._look_at(job)
        plan = self._choices.plans.get(job.kind.name)
        if wrong := [text for text, severity in self._notes() if severity == "error"]:
            self._refuse(wrong[0])
            return
        if plan.size.requantized if plan and plan.size else is_quantized(source.quant):
            from workbench.ui.dialogs.confirm import ConfirmDialog

            text = (
                f"{source.label} is quantized already. What that lost is lost for good: {job.kind.name} made from it "
                f"is worse than {job.kind.name} made from F16, BF16 or F32."
            )
            if not await self.app.push_screen_wait(ConfirmDialog("The source is quantized", text, "makes it anyway")):
                return
            job = replace(job, allow_requantize=True)
        self.app.post_message(self.Wanted(job, self._entry.name))
        self.dismiss(None)

    def _refuse(self, text: str) -> None:
        self.notify(clean_line(text), title="Not started", severity="error")


def _path(text: str) -> Path | None:
    """The typed path; None where there is none."""
    if not (text := text.strip()):
        return None
    return expanded(text)
