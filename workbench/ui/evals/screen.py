"""The screen of evaluations: a pack of prompts to several models, and the answers case by case."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.getters import query_one

from workbench.core.errors import EvalError
from workbench.core.kept import kept_recipe
from workbench.core.models import ModelEntry
from workbench.lab.evals.pack import EvalPack
from workbench.lab.evals.record import EvalRecord
from workbench.lab.evals.report import FORMS
from workbench.lab.evals.run import EvalPlan, EvalRun
from workbench.lab.race.lane import LaneSpec
from workbench.lab.race.setup import RaceTerms
from workbench.ui.dialogs.choose import ScreenSetting, choose_settings
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.evals.lines import case_line, detail_lines, pack_lines, score_lines
from workbench.ui.evals.packs import EvalPacks
from workbench.ui.experiment.result_lines import ResultLines
from workbench.ui.experiment.screen import ExperimentScreen, shared_key
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import paragraph, styled
from workbench.ui.services import Services
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.rows import Rows
from workbench.ui.widgets.text_rows import TextRows
from workbench.ui.widgets.worker_errors import WorkerHandle
from workbench.ui.workspace.workspace import Workspace

if TYPE_CHECKING:
    from workbench.ui.evals.blind_screen import BlindScreen

SHOWN_PROBLEMS = 5
EXPORTS = {
    ".md": "Markdown      scores, comparisons and failures, to read",
    ".json": "JSON          everything",
    ".csv": "CSV           one row an answer",
}
SAMPLES = (1, 3, 5, 10)
"""How many answers a case may get."""


class EvalScreen(ExperimentScreen):
    """Asks models the prompts of a pack, and shows who passed what."""

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#eval-cases"
    WORK, STOP = "An evaluation", "eval.stop"
    BINDINGS: ClassVar[list[BindingType]] = [
        shared_key("eval.start", "Ask the models, and check the answers."),
        shared_key("eval.stop", "Stop, and keep the answers so far."),
        key("eval.pack", "ctrl+l", "Pack", "Choose a pack of prompts and checks."),
        shared_key("eval.add", "Add another model."),
        shared_key("eval.remove", "Remove the model added last.", show=False),
        shared_key("eval.settings", "Choose how many answers each case gets: one greedy one, or several sampled ones."),
        key("eval.make", "ctrl+n", "From chat", "Make a pack of the questions of this chat, in a file to be edited."),
        key("eval.blind", "ctrl+b", "Blind test", "Vote on the answers of two models without their names."),
        shared_key("eval.runs", "Open an earlier evaluation."),
        shared_key("eval.export", "Write the result as Markdown, JSON or CSV."),
    ]

    head = query_one("#eval-head", ResultLines)
    scores = query_one("#eval-scores", ResultLines)
    cases = query_one("#eval-cases", Rows)
    detail = query_one("#eval-detail", TextRows)
    state = query_one("#eval-state", ResultLines)

    def __init__(self, services: Services, workspace: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__("evals", services, workspace, key_for)
        self._packs = EvalPacks(self, self._pack_changed)
        self._models: list[ModelEntry] = []
        self._chosen = False
        """Whether the user has changed the models; until then they follow the chat."""
        self._samples = SAMPLES[0]
        self._run: EvalRun | None = None
        self._work = WorkerHandle(self, "evaluate")
        self._earlier: EvalRecord | None = None
        self._blind: BlindScreen | None = None

    def compose(self) -> ComposeResult:
        yield ResultLines(widget_id="eval-head")
        yield ResultLines(widget_id="eval-scores")
        with Horizontal(id="eval-body"):
            yield Rows("eval-cases")
            yield TextRows("eval-detail")
        yield ResultLines(widget_id="eval-state")
        yield KeyBar()

    def on_screen_resume(self) -> None:
        model = self.workspace.model
        if model is not None and not self._chosen:
            self._models = [model]
        self._paint()

    @property
    def record(self) -> EvalRecord | None:
        return self._earlier or (self._run.record if self._run is not None else None)

    @property
    def running(self) -> bool:
        return self._run is not None and self._run.running

    # Drawing

    def _paint(self) -> None:
        width = max(20, self.size.width - 2)
        record = self.record
        with self.app.batch_update():
            names = [model.label for model in self._models]
            self.head.set_lines(pack_lines(self._packs.pack, names, self._samples, width))
            self.scores.set_lines(score_lines(record, width) if record is not None else self._welcome(width))
            results = record.results if record is not None else ()
            self.cases.show(len(results), self._case, choosable=True, cursor=self.cases.cursor or 0, hold=True)
            self._show_detail()
            self.state.set_lines([self._said.text or styled((self._state(), "rows--dim"))])

    def _welcome(self, width: int) -> list[Content]:
        pack, add, start, blind = (self.key_for(f"eval.{name}") for name in ("pack", "add", "start", "blind"))
        again = f"{self.key_for('app.evals')} again goes to quality over a text."
        first = f"{pack} chooses a pack, {add} adds a model, {start} asks them."
        second = f"{blind} begins a blind test of two models. {again}"
        return [*paragraph(first, width, style="rows--dim"), *paragraph(second, width, style="rows--dim")]

    def _state(self) -> str:
        if self._earlier is not None:
            return f"{self._earlier.id}, kept."
        run = self._run
        if run is None:
            return ""
        kept = f", kept as {run.record.id}" if not run.running and not run.record.is_empty and not run.unkept else ""
        return clean_line(f"{run.done} of {run.total} {run.phase}{kept}")

    def _case(self, index: int, width: int) -> Content:
        record = self.record
        return case_line(record, record.results[index], width) if record is not None else Content("")

    @on(Rows.Moved, "#eval-cases")
    def _show_detail(self) -> None:
        record, cursor = self.record, self.cases.cursor
        lines = []
        if record is not None and cursor is not None and self.detail.room:
            lines = detail_lines(record, record.results[cursor], self.detail.room)
        self.detail.show_lines(lines)

    @on(Rows.Chosen, "#eval-cases")
    def _open_detail(self, event: Rows.Chosen) -> None:
        if (record := self.record) is not None:
            result = record.results[event.index]
            self.app.push_screen(TextDialog(result.case, partial(detail_lines, record, result), classes="-wide"))

    # What is asked

    def action_pack(self) -> None:
        self._packs.choose()

    def action_add(self) -> None:
        def chosen(model: ModelEntry) -> None:
            self._chosen = True
            self._models.append(model)
            self._paint()

        self._choose_model("adds", chosen)

    def action_remove(self) -> None:
        if self._models and not self.running:
            self._chosen = True
            self._models.pop()
            self._paint()

    def action_settings(self) -> None:
        choose_settings(self, "Settings of the evaluation", _sample_setting(self._samples, self._set_samples))

    def _set_samples(self, samples: int) -> None:
        self._samples = samples
        self._paint()

    def action_make(self) -> None:
        self._packs.make(self.workspace.session())

    def _pack_changed(self) -> None:
        if not self.running:
            self._run = self._earlier = None
        self._paint()

    def _specs(self, *, greedy: bool) -> tuple[LaneSpec, ...]:
        conversation = self.workspace.conversation
        terms = RaceTerms(
            conversation.load, conversation.sampling, conversation.system, greedy, conversation.origins, "eval"
        )
        kept = self.services.kept
        return tuple(
            terms.lane(model.ref, model.label, model.recipe, model).keeping(kept_recipe(kept.of(model)))
            for model in self._models
        )

    # Asking

    def action_start(self) -> None:
        if self._busy():
            return
        pack = self._packs.pack
        if pack is None or not self._models:
            key = self.key_for("eval.pack" if pack is None else "eval.add")
            self.say(f"{key} chooses a pack first." if pack is None else f"{key} adds a model first.")
            return
        if not pack.problems:
            self._begin(pack)
            return
        shown = "\n".join(map(str, pack.problems[:SHOWN_PROBLEMS]))
        left = len(pack.problems) - SHOWN_PROBLEMS
        more = f"\nand {left} more." if left > 0 else ""
        self.app.push_screen(
            ConfirmDialog("Broken cases", f"{shown}{more}", "goes on without them"),
            lambda agreed: self._begin(pack) if agreed else None,
        )

    def _begin(self, pack: EvalPack) -> None:
        samples = ("--samples", str(self._samples)) if self._samples > 1 else ()
        command = ("eval", self._packs.name, *(model.ref for model in self._models), *samples)
        plan = EvalPlan(pack, self._specs(greedy=self._samples == 1), self._samples, command)
        try:
            run = EvalRun(
                plan, self.services.evals, self.services.engines, self.services.adviser, self._repainter.changed
            )
        except EvalError as error:
            self.say(str(error), 8.0)
            return
        self._run, self._earlier = run, None
        self._said.clear()
        self._work.start(self._ask(run))

    async def _ask(self, run: EvalRun) -> None:
        await run.run()
        self._paint()
        if (problem := run.unkept or next(iter(run.failures), None)) is not None:
            self.say(str(problem), 12.0)

    def _stop(self) -> None:
        if self._run is not None:
            self._run.stop()

    # Results

    @work(group="runs", exclusive=True, exit_on_error=False, description="read the kept evaluations")
    async def action_runs(self) -> None:
        if self._busy():
            return
        records = await self.services.evals.eval_runs.kept()

        def opened(record: EvalRecord) -> None:
            self._earlier = record
            self._paint()

        def row(record: EvalRecord) -> str:
            return f"{record.id}  {record.pack}: {', '.join(record.names)}"

        self._choose_earlier("Earlier evaluations", records, row, opened, "No evaluation is kept yet.")

    def action_export(self) -> None:
        record = self.record
        if record is None or record.is_empty:
            self.say("There is nothing to export yet.")
            return
        self.export("the evaluation", EXPORTS, f"eval {record.id}", lambda form: FORMS[form](record))

    @work(group="sessions", exclusive=True, exit_on_error=False, description="read the last conversations")
    async def action_blind(self) -> None:
        if self._busy():
            return
        if len(self._models) != 2:
            self.say(f"A blind test needs two models: {self.key_for('eval.add')} adds one.")
            return
        from workbench.ui.evals.blind_screen import choose_blind_test

        first, second = self._specs(greedy=False)
        session, pack = self.workspace.session(), self._packs.pack
        await choose_blind_test(self, self.services, (first, second), pack, session, self.say, self._begin_blind)

    def _begin_blind(self, screen: BlindScreen) -> None:
        self._blind = screen
        self.app.push_screen(screen)

    async def leave(self) -> None:
        await self._work.end(self._run)
        if self._blind is not None and self._blind.is_running:
            await self._blind.leave()


def _sample_setting(samples: int, choose: Callable[[int], object]) -> ScreenSetting:
    """How many answers each case gets; `choose` takes another number."""
    texts = ("one greedy answer", *(f"{count} sampled answers" for count in SAMPLES[1:]))
    return ScreenSetting(texts, SAMPLES.index(samples), lambda index: choose(SAMPLES[index]))
