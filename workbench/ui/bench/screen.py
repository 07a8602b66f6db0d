"""Speed, measured so that it can be believed."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen
from textual.worker import Worker, WorkerFailed, WorkerState

from workbench.core.errors import WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.servers import is_server_ref
from workbench.lab.bench.job import BenchJob
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.record import BenchRecord, Kind, lay_beside
from workbench.lab.bench.text import FORMS
from workbench.ui.bench.fields import KIND_NAMES, KIND_WORDS, KINDS, MORE_PAIRS, Refusal, plan_of, size_text
from workbench.ui.bench.form import BenchForm, BenchLines, KindBar, ModelList
from workbench.ui.bench.results import BenchResults
from workbench.ui.bench.summary import progress_line
from workbench.ui.bench.tables import change_notes, change_table
from workbench.ui.kit.clipboard import CopyOut
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import styled
from workbench.ui.kit.transient import SAY_SECONDS, TransientText
from workbench.ui.services import Services
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.rows import Rows
from workbench.ui.workspace.workspace import Workspace

if TYPE_CHECKING:
    from workbench.ui.dialogs.export import Export

PAINT_SECONDS = 0.2
"""How often progress is drawn: drawing takes time from what is measured."""
WIDE = 100
"""Columns from which form and results stand beside each other."""
EXPORTS = {
    ".md": "Markdown      tables and sentences, to read",
    ".jsonl": "JSON lines    one a test, with llama-bench's names",
}


class BenchScreen(Screen[None]):
    """What to measure, beside what came of it.

    Args:
        services: What the program works with.
        desk: The conversation of the chat: its model comes first.
        key_for: Tells the key that a binding has.
    """

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = ""
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f9", "start", "Start", id="bench.start", tooltip="Begin to measure; Enter in a field does it too."),
        Binding("escape", "stop", "Stop", id="bench.stop",
                tooltip="Stop and keep what is done; where nothing runs, go back to the fields."),
        Binding("f6", "kind", "Kind", id="bench.kind",
                tooltip="Measure something else: tests, A against B, sequences, what a person waits for, a server."),
        Binding("ctrl+o", "add", "Add model", id="bench.add", tooltip="Measure another model too."),
        Binding("ctrl+t", "more", "Ten more", id="bench.more", tooltip="Add ten pairs to the comparison."),
        Binding("tab", "turn", "Results", id="bench.turn", tooltip="Go from the fields to the results and back."),
        Binding("ctrl+r", "runs", "Earlier", id="bench.runs",
                tooltip="Open an earlier measurement, or lay two beside each other."),
        Binding("f7", "export", "Export", id="bench.export", tooltip="Write the figures as Markdown or JSON lines."),
        Binding("ctrl+y", "copy", "Copy command", id="bench.copy",
                tooltip="Copy the command that makes this measurement again."),
        Binding("down", "step(1)", "Next field", id="bench.down", show=False, tooltip="Go to the next field."),
        Binding("up", "step(-1)", "Field above", id="bench.up", show=False, tooltip="Go to the field above."),
    ]
    # fmt: on

    kinds = query_one(KindBar)
    form = query_one(BenchForm)
    results = query_one(BenchResults)
    progress = query_one("#bench-progress", BenchLines)
    state = query_one("#bench-state", BenchLines)

    def __init__(self, services: Services, desk: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__(id="bench")
        self._services = services
        self._desk = desk
        self._key_for = key_for
        self._kind: Kind = "tests"
        self._models: list[ModelEntry] = []
        self._chosen = False
        """Whether the user has chosen models; until then the chat's model is measured."""
        self._job: BenchJob | None = None
        self._worker: Worker[None] | None = None
        self._kept: BenchRecord | None = None
        """An earlier run that is open."""
        self._beside = False
        """Whether two earlier runs stand beside each other."""
        self._said = TransientText(self, self._paint)
        self._dirty = False

    def compose(self) -> ComposeResult:
        """Kinds, form and results, progress, state and keys."""
        yield KindBar()
        with Horizontal(id="bench-body"):
            yield BenchForm()
            yield BenchResults()
        yield BenchLines(widget_id="bench-progress")
        yield BenchLines(widget_id="bench-state")
        yield KeyBar()

    def on_mount(self) -> None:
        """Nothing is drawn before something happens."""
        self._painter = self.set_interval(PAINT_SECONDS, self._paint, pause=True)

    def on_screen_resume(self) -> None:
        """Measure the model that is open in the chat, until another is chosen."""
        model = self._desk.model
        if model is not None and not self._chosen:
            self._models = [model]
        self._show_form()
        self._paint()
        if self.focused is None:
            self.form.focus_field()

    def on_resize(self, event: events.Resize) -> None:
        """Beside each other where there is room for both."""
        self.set_class(event.size.width < WIDE, "-narrow")
        self.call_after_refresh(self._paint)

    @property
    def record(self) -> BenchRecord | None:
        """The measurement in sight."""
        if self._kept is not None:
            return self._kept
        return self._job.record if self._job is not None and not self._beside else None

    @property
    def running(self) -> bool:
        """Whether something is being measured."""
        return self._job is not None and self._job.running

    @property
    def _shown_models(self) -> list[ModelEntry]:
        """The models that this kind of run can measure."""
        if self._kind == "sweep":
            return [model for model in self._models if is_server_ref(model.ref)]
        return self._models

    # What is shown

    def _show_form(self) -> None:
        self.kinds.show(self._kind)
        self.form.show(self._kind, self._shown_models, self._key_for("bench.add"))
        self._show_plan()
        self.refresh_bindings()

    def _plan(self) -> BenchPlan | Refusal:
        """What would be measured now, or why nothing can be."""
        recipes = {model.ref: model.recipe for model in self._models}
        return plan_of(self._kind, list(recipes), self.form.texts, recipes)

    def _show_plan(self) -> None:
        """Where there are no figures yet: what will be measured, and how that is written as a command."""
        if self.record is not None or self._beside:
            return
        lines = [styled((KIND_NAMES[self._kind], "rows--heading"))]
        width = max(20, self.results.size.width - 3)
        lines += styled((KIND_WORDS[self._kind], "rows--dim")).wrap(width)
        plan = self._plan()
        lines.append(Content(""))
        if isinstance(plan, Refusal):
            lines += styled((plan.message, "rows--warning")).wrap(width)
        else:
            command = shlex.join(("workbench", *plan.command))
            lines += [styled((size_text(plan), "rows--name")), *styled((command, "rows--dim")).wrap(width)]
            for model in self._models:
                if words := plan.grid.own_words(model.ref):
                    said = f"{model.name} itself says {' '.join(words)}"
                    lines += styled((clean_line(said), "rows--warning")).wrap(width)
            lines.append(Content(""))
            lines.append(styled((self._key_for("bench.start"), "rows--figure"), (" begins.", "rows--dim")))
        self.results.clear(lines)

    def _changed(self) -> None:
        """Something is new: it is drawn soon."""
        if not self._dirty and self.is_mounted:
            self._dirty = True
            self._painter.resume()

    def _paint(self) -> None:
        self._dirty = False
        job, record = self._job, self.record
        with self.app.batch_update():
            if record is not None:
                own = job if job is not None and self._kept is None else None
                self.results.show(record, own.failures if own else (), own.added if own else 0)
            width = max(20, self.progress.size.width - 2)
            running = job.progress if job is not None else None
            self.progress.set_lines([progress_line(running, width) if running else Content("")])
            self.state.set_lines([self._state_line()])
        if not self.running:
            self._painter.pause()

    def _state_line(self) -> Content:
        if self._said.text:
            return self._said.text
        if self.running and self._desk.answering is not None:
            return styled(("An answer streams in the chat: it disturbs the measurement.", "rows--warning"))
        if self._kept is not None:
            return styled((f"{self._kept.id}, kept. {self._key_for('bench.start')} measures anew.", "rows--dim"))
        job = self._job
        if self.running or job is None or job.record is None:
            return Content("")
        parts = ["stopped, and kept as far as it is" if job.record.interrupted else "done", f"kept as {job.record.id}"]
        if job.is_empty:
            parts = ["stopped" if job.record.interrupted else "nothing could be measured"]
        elif job.can_continue:
            parts.append(f"{self._key_for('bench.more')} adds {MORE_PAIRS} pairs")
        return styled((" · ".join(parts), "rows--dim"))

    def say(self, text: str, seconds: float = SAY_SECONDS) -> None:
        """Say something for a moment."""
        self._said.say(Content(clean_line(text)), seconds)

    # What is measured

    @on(KindBar.Wanted)
    def _kind_clicked(self, event: KindBar.Wanted) -> None:
        self._go_to_kind(event.kind)

    def action_kind(self) -> None:
        """Go to the next kind of run."""
        self._go_to_kind(KINDS[(KINDS.index(self._kind) + 1) % len(KINDS)])

    def _go_to_kind(self, kind: Kind) -> None:
        if self.running:
            self.say(f"{self._key_for('bench.stop')} stops the measurement first.")
            return
        self._kind = kind
        self._job = self._kept = None
        self._beside = False
        self.set_class(False, "-results")
        self._show_form()
        self._paint()
        self.call_after_refresh(self.form.focus_field)

    @on(BenchForm.Changed)
    def _field_changed(self) -> None:
        self._show_plan()

    @on(BenchForm.Submitted)
    def _field_submitted(self) -> None:
        self.action_start()

    @on(ModelList.Removed)
    def _remove(self, event: ModelList.Removed) -> None:
        self._chosen = True
        self._models.remove(self._shown_models[event.index])
        self._show_form()
        if not self._shown_models:
            self.form.focus_field()

    def action_add(self) -> None:
        """Choose another model."""
        self._pick(None)

    @on(Rows.Chosen, "#bench-models")
    def _swap(self, event: Rows.Chosen) -> None:
        self._pick(event.index)

    def _pick(self, instead: int | None) -> None:
        from workbench.ui.dialogs.model_picker import ModelPicker

        def chosen(model: ModelEntry | None) -> None:
            if model is None:
                return
            if any(each.is_same(model) for each in self._models):
                self.say("This model is in the list. One model in two ways: give a field two values.")
                return
            self._chosen = True
            if instead is None:
                self._models.append(model)
            else:
                self._models[self._models.index(self._shown_models[instead])] = model
            self._show_form()

        picker = ModelPicker(self._services.catalog, self._desk.model, self._services.no_model_hint)
        self.app.push_screen(picker, chosen)

    def action_step(self, step: int) -> None:
        """Go to another field."""
        if step > 0:
            self.focus_next("#bench-form *")
        else:
            self.focus_previous("#bench-form *")

    def action_turn(self) -> None:
        """Go from the form to the results, and back."""
        if self.results.has_focus_within:
            self._to_form()
        else:
            self._to_results()

    def _to_form(self) -> None:
        self.remove_class("-results")
        self.call_after_refresh(self.form.focus_field)

    def _to_results(self) -> None:
        self.add_class("-results")
        self.call_after_refresh(self.results.table.focus)
        self.call_after_refresh(self._paint)

    # Measuring

    def action_start(self) -> None:
        """Begin to measure."""
        if self.running:
            self.say(f"A measurement runs: {self._key_for('bench.stop')} stops it.")
            return
        plan = self._plan()
        if isinstance(plan, Refusal):
            self.remove_class("-results")
            self.form.refuse(plan.message, plan.field)
            if not self._models:
                self.say(f"{self._key_for('bench.add')} adds a model.")
            return
        if plan.sweep is None or not plan.sweep.warning:
            self._begin(plan)
            return
        from workbench.ui.dialogs.confirm import ConfirmDialog

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._begin(plan)

        text = f"{plan.sweep.warning} Go on only where you may load it so."
        self.app.push_screen(ConfirmDialog("Another machine is asked", text, "goes on"), answered)

    def _begin(self, plan: BenchPlan) -> None:
        services = self._services
        self._kept, self._beside = None, False
        self._said.clear()
        load = self._desk.conversation.load
        self._job = BenchJob(plan, services.bench, services.engines, services.adviser, load, self._changed)
        self.results.clear()
        self._to_results()
        self._worker = self._measure(self._job, 0)

    def action_more(self) -> None:
        """Add pairs to the comparison."""
        if self._job is None or self._kept is not None or not self._job.can_continue:
            self.say("Pairs can be added to a comparison that was just made.")
            return
        self._said.clear()
        self._worker = self._measure(self._job, MORE_PAIRS)

    @work(group="bench", exit_on_error=False, description="measure")
    async def _measure(self, job: BenchJob, more: int) -> None:
        await (job.more_pairs(more) if more else job.run())
        self._paint()
        self.refresh_bindings()
        record = job.record
        if record is None or job.is_empty:
            if job.failures:
                self.say(str(job.failures[0]).replace("\n", " "), 12.0)
            return
        try:
            await self._services.bench.bench_runs.keep(record)
        except WorkbenchError as error:
            self.say(str(error).replace("\n", " "), 12.0)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Pairs can only be added to pairs."""
        if action == "more":
            return self._kind == "pairs"
        return True

    def action_stop(self) -> None:
        """Stop what runs; else go back to the form."""
        if self._job is not None and self._job.running:
            self._job.stop()
            self.say("Stopping…", 2.0)
        else:
            self._to_form()

    # Earlier runs

    def action_runs(self) -> None:
        """Choose among the runs that are kept."""
        if self.running:
            self.say(f"A measurement runs: {self._key_for('bench.stop')} stops it.")
            return
        from workbench.ui.bench.kept_runs import KeptRunsDialog

        self.app.push_screen(KeptRunsDialog(self._services.bench.bench_runs), self._open_runs)

    def _open_runs(self, records: tuple[BenchRecord, ...] | None) -> None:
        if not records:
            return
        self._to_results()
        if len(records) == 1:
            self._kept, self._beside = records[0], False
            self._paint()
            return
        first, second = records
        self._kept, self._beside = None, True
        changes = lay_beside(first, second)
        width = max(20, self.results.size.width - 3)
        names = [
            styled((f"{name}  ", "rows--dim"), (record.id, "rows--name"), (f"  {', '.join(record.models)}", ""))
            for name, record in (("first ", first), ("second", second))
        ]
        notes = change_notes(first, second) if changes else ["The two have no test in common."]
        said = [line for note in notes for line in styled((note, "rows--dim")).wrap(width)]
        self.results.show_table(change_table(changes, first, second), [*names, *said])
        self._paint()

    def action_copy(self) -> None:
        """Copy the command that makes the measurement in sight again; else that of what the form says."""
        record = self.record
        if record is not None:
            command = record.command
        else:
            plan = self._plan()
            if isinstance(plan, Refusal):
                self.say(plan.message)
                return
            command = plan.command
        text = shlex.join(("workbench", *command))
        self.post_message(CopyOut(text, clean_line(f"Copied: {text}")))

    def action_export(self) -> None:
        """Write the measurement to a file."""
        record = self.record
        if record is None or record.is_empty:
            self.say("There is nothing to export yet.")
            return
        from workbench.ui.dialogs.export import ExportDialog

        dialog = ExportDialog("the measurement", EXPORTS, self._services.export_folder, f"bench {record.id}")

        def chosen(export: Export | None) -> None:
            if export is not None:
                self._export(export, record)

        self.app.push_screen(dialog, chosen)

    @work(group="export", exit_on_error=False, description="export the measurement")
    async def _export(self, export: Export, record: BenchRecord) -> None:
        text = FORMS[export.form](record)
        try:
            self.say(f"Written to {await self._services.races.write(export.path, text)}", 8.0)
        except WorkbenchError as error:
            self.say(str(error).replace("\n", " "), 8.0)

    async def leave(self) -> None:
        """Stop, and give the memory back."""
        if self._job is not None and self._worker is not None and self._job.running:
            self._job.stop()
            with suppress(WorkerFailed):
                await self._worker.wait()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Work that failed in a way that nobody foresaw is told, and does not end the program."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            error = event.worker.error
            self._services.logs.add("error", "bench", f"{event.worker.description}: {error!r}")
            self.say(f"{event.worker.description} failed: {type(error).__name__}. The log has the details.", 8.0)
