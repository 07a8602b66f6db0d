"""The bench screen: a form for what is measured beside its results."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.getters import query_one

from workbench.core.errors import WorkbenchError
from workbench.lab.bench.foresight import Foresight
from workbench.lab.bench.grid import PlanError
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.record import BenchRecord, Kind
from workbench.lab.bench.text import FORMS
from workbench.ui.bench.fields import KIND_NAMES, KINDS, form_of, plan_of
from workbench.ui.bench.form import BenchForm, BenchModelRows, KindBar
from workbench.ui.bench.models import BenchModels
from workbench.ui.bench.results import BenchResults
from workbench.ui.bench.runner import BenchRunner
from workbench.ui.bench.summary import job_text, plan_lines, progress_line
from workbench.ui.dialogs.choose import ScreenSetting, choose_settings
from workbench.ui.experiment.result_lines import ResultLines
from workbench.ui.experiment.screen import ExperimentScreen, shared_key
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import styled
from workbench.ui.services import Services
from workbench.ui.widgets.clipboard import CopyOut
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.rows import Rows
from workbench.ui.workspace.workspace import Workspace

EXPORTS = {
    ".md": "Markdown      tables and sentences, to read",
    ".jsonl": "JSON lines    one a test, with llama-bench's names",
}


class BenchScreen(ExperimentScreen):
    """Measures models and shows the results."""

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = ""
    STOP = "bench.stop"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        shared_key("bench.start", "Start the measurement; so does Enter in a field."),
        shared_key("bench.stop", "Stop and keep the results so far; when nothing runs, go back to the fields."),
        shared_key("bench.settings", "Choose the kind of run: tests, A against B, sequences, latency, a server."),
        shared_key("bench.add", "Add another model."),
        key("bench.more", "ctrl+t", "Ten more", "Add ten pairs to the comparison."),
        key("bench.tune", "ctrl+l", "Tune",
            "Find the fastest settings of a model that fit, and its speed by context depth.",
            action="app.experiment('tune')"),
        key("bench.turn", "tab", "Results", "Go from the fields to the results and back."),
        shared_key("bench.runs", "Open an earlier measurement, or compare two."),
        shared_key("bench.export", "Write the results as Markdown or JSON lines."),
        key("bench.copy", "ctrl+y", "Copy command", "Copy the command that reproduces this measurement."),
        key("bench.down", "down", "Next field", "Go to the next field.", action="step(1)", show=False),
        key("bench.up", "up", "Previous field", "Go to the previous field.", action="step(-1)", show=False),
    ]
    # fmt: on

    kinds = query_one(KindBar)
    form = query_one(BenchForm)
    results = query_one(BenchResults)
    progress = query_one("#bench-progress", ResultLines)
    state = query_one("#bench-state", ResultLines)

    def __init__(self, services: Services, workspace: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__("bench", services, workspace, key_for)
        self._kind: Kind = "tests"
        self._models = BenchModels(self, services, self._show_form, self.say)
        self._runner = BenchRunner(self, services, self._started, self._repainter.changed, self._ended)
        self._earlier: tuple[BenchRecord, ...] = ()
        """The kept run that is open, or the two that are compared."""

    def compose(self) -> ComposeResult:
        yield KindBar()
        with Horizontal(id="bench-body"):
            yield BenchForm()
            yield BenchResults()
        yield ResultLines(widget_id="bench-progress")
        yield ResultLines(widget_id="bench-state")
        yield KeyBar()

    def on_screen_resume(self) -> None:
        self.run_worker(self._models.recall(), group="recall", exit_on_error=False, description="read the kept runs")
        self._models.follow(self.workspace.model)
        self._show_form()
        self._paint()
        if self.focused is None:
            self.form.focus_field()

    @property
    def record(self) -> BenchRecord | None:
        if self._earlier:
            return self._earlier[0] if len(self._earlier) == 1 else None
        return self._runner.job.record if self._runner.job is not None else None

    @property
    def running(self) -> bool:
        return self._runner.running

    # Drawing

    def _show_form(self) -> None:
        self.kinds.show(self._kind)
        self.form.show(self._kind, self._models.of(self._kind), self.key_for("bench.add"))
        self._show_plan()
        self.refresh_bindings()

    def _plan(self) -> BenchPlan | PlanError:
        """The plan that the form makes, or why it makes none."""
        recipes, configured = self._models.recipes, self.services.config.load
        try:
            return plan_of(self._kind, list(recipes), self.form.texts, recipes, configured)
        except PlanError as error:
            return error

    @on(BenchForm.Changed)
    def _show_plan(self) -> None:
        """Show the plan, while there are no results."""
        if self.record is not None or self._earlier:
            return
        self.results.clear(partial(self._plan_lines, self._plan(), self.key_for("bench.start")))

    def _plan_lines(self, plan: BenchPlan | PlanError, key: str, width: int) -> list[Content]:
        """What a plan measures, and the key that starts it, where it can start."""
        foresight = self._models.foresee(plan) if isinstance(plan, BenchPlan) else Foresight()
        lines = plan_lines(plan, self._kind, self._models.names, width, foresight)
        if key and isinstance(plan, BenchPlan):
            lines += [Content(""), styled((key, "rows--figure"), (" starts it.", "rows--dim"))]
        return lines

    def _paint(self) -> None:
        job, record = self._runner.job, self.record
        with self.app.batch_update():
            if record is not None:
                self.results.show(record, None if self._earlier else job)
            progress = job.progress if job is not None else None
            self.progress.set_lines([progress_line(progress, max(20, self.progress.size.width - 2))])
            self.state.set_lines([self._state_line()])

    def _state_line(self) -> Content:
        if self._said.text:
            return self._said.text
        if self.running and self.workspace.answering is not None:
            return styled(("An answer streams in the chat: it disturbs the measurement.", "rows--warning"))
        if len(self._earlier) == 1:
            text = f"{self._earlier[0].id}, kept. {self.key_for('bench.start')} starts a new measurement."
        else:
            text = job_text(self._runner.job, self.key_for("bench.more"))
        return styled((text, "rows--dim"))

    # The form

    def action_settings(self) -> None:
        names = [KIND_NAMES[kind] for kind in KINDS]
        kind = ScreenSetting(
            names, KINDS.index(self._kind), lambda index: self._go_to_kind(KindBar.Wanted(KINDS[index]))
        )
        choose_settings(self, "Settings of the bench", kind)

    @on(KindBar.Wanted)
    def _go_to_kind(self, event: KindBar.Wanted) -> None:
        if self._busy():
            return
        self._kind = event.kind
        self._runner.job, self._earlier = None, ()
        self.remove_class("-results")
        self._show_form()
        self._paint()
        self.call_after_refresh(self.form.focus_field)

    @on(BenchModelRows.Removed)
    def _remove(self, event: BenchModelRows.Removed) -> None:
        self._models.remove(self._models.of(self._kind)[event.index])
        if not self._models.of(self._kind):
            self.form.focus_field()

    def action_add(self) -> None:
        self._models.choose(self.workspace.model)

    @on(Rows.Chosen, "#bench-models")
    def _swap(self, event: Rows.Chosen) -> None:
        self._models.choose(self.workspace.model, self._models.of(self._kind)[event.index])

    def action_step(self, step: int) -> None:
        (self.focus_next if step > 0 else self.focus_previous)("#bench-form *")
        if self.focused is self.form.models:
            self.form.models.enter(step)

    @on(BenchModelRows.Left)
    def _leave_models(self, event: BenchModelRows.Left) -> None:
        self.action_step(event.step)

    def action_turn(self) -> None:
        (self._to_form if self.results.has_focus_within else self._to_results)()

    def _to_form(self) -> None:
        self.remove_class("-results")
        self.call_after_refresh(self.form.focus_field)

    def _to_results(self) -> None:
        self.add_class("-results")
        self.call_after_refresh(self.results.table.focus)
        self.call_after_refresh(self._paint)

    # Measuring

    @on(BenchForm.Submitted)
    def action_start(self) -> None:
        if self._busy():
            return
        plan = self._plan()
        if isinstance(plan, PlanError):
            self.remove_class("-results")
            self.form.refuse(str(plan).replace("\n", " "), plan.field)
            if not self._models.names:
                self.say(f"{self.key_for('bench.add')} adds a model.")
            return
        self._runner.begin(plan, self._models.foresee(plan).doubts)

    def _started(self) -> None:
        self._earlier = ()
        self._said.clear()
        if self._runner.job is not None:
            self.results.clear(partial(self._plan_lines, self._runner.job.plan, ""))
        self._to_results()

    def action_more(self) -> None:
        self._said.clear()
        if self._earlier or not self._runner.add_pairs():
            self.say("Pairs can only be added to a comparison that has just ended.")

    def _ended(self, error: WorkbenchError | None) -> None:
        job = self._runner.job
        if job is not None and job.is_empty and not job.failures:
            # There is nothing to show but the plan.
            self._runner.job = None
            self._show_plan()
            self.say("Stopped before the first result.")
        self._paint()
        self.refresh_bindings()
        if error is not None:
            self.say(str(error), 12.0)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._kind == "pairs" if action == "more" else True

    def escape_label(self) -> str:
        return "Stop" if self.running else "Fields" if self.results.has_focus_within else ""

    def action_stop(self) -> None:
        if self.running:
            super().action_stop()
        else:
            self._to_form()

    def _stop(self) -> None:
        if self._runner.job is not None:
            self._runner.job.stop()

    # Results

    def action_runs(self) -> None:
        if self._busy():
            return
        from workbench.ui.bench.kept_runs import KeptRunsDialog

        self.app.push_screen(KeptRunsDialog(self.services.bench.bench_runs), self._open_runs)

    def _open_runs(self, records: tuple[BenchRecord, ...] | None) -> None:
        if not records:
            return
        self._earlier = records
        self._to_results()
        if len(records) == 1:
            self.run_worker(self._put_into_form(records[0]), group="form", exit_on_error=False, description="form")
        if len(records) == 2:
            # On a narrow screen the results get their width only now.
            self.call_after_refresh(self.results.compare, *records)
        self._paint()

    async def _put_into_form(self, record: BenchRecord) -> None:
        """Put the settings of a kept run into the form, from where it can be changed and repeated."""
        self._kind, models, texts = form_of(record.command)
        missing = await self._models.put(models)
        self.form.put(texts)
        self._show_form()
        if missing:
            self.form.refuse(f"Not on this machine any more: {', '.join(missing)}.")

    def action_copy(self) -> None:
        source = self.record or self._plan()
        if isinstance(source, PlanError):
            self.say(source.message)
            return
        text = shlex.join(("workbench", *source.command))
        self.post_message(CopyOut(text, clean_line(f"Copied: {text}")))

    def action_export(self) -> None:
        record = self.record
        if record is None or record.is_empty:
            self.say("There is nothing to export yet.")
            return
        self.export("the measurement", EXPORTS, f"bench {record.id}", lambda form: FORMS[form](record))

    async def leave(self) -> None:
        await self._runner.leave()
