"""The tune screen: what has to be fast and the constraints on top, below them everything that was tried."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.content import Content
from textual.getters import query_one
from textual.widgets import Input

from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.recipe import Recipe
from workbench.core.servers import is_server_ref
from workbench.core.speculation import NGRAM
from workbench.lab.tune import depth, judgement_record, record
from workbench.lab.tune.depth import DepthJob, DepthPlan, cache_name
from workbench.lab.tune.goal import AIMS, BUSY, Aim, Busy, TunePlan, parse_caches, parse_limits, work_of
from workbench.lab.tune.judgement import JudgementJob, JudgementPlan
from workbench.lab.tune.prices import cache_prices
from workbench.lab.tune.tune import TuneJob
from workbench.ui.dialogs.choose import ChooseDialog, ScreenSetting, choose_settings
from workbench.ui.experiment.answer_screen import AnswerScreen
from workbench.ui.experiment.screen import shared_key
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, paragraph, styled
from workbench.ui.services import Services
from workbench.ui.tune.lines import (
    answer_lines,
    depth_rows,
    header_line,
    ordered,
    pair_line,
    progress_line,
    trial_line,
)
from workbench.ui.tune.widgets import TuneFields
from workbench.ui.widgets.worker_errors import WorkerHandle
from workbench.ui.workspace.workspace import Workspace

AIM_TEXTS = ("fast answers", "fast prompts", "a mix: a prompt and its answer")
BUSY_TEXTS = (
    "wait while other programs compute",
    "mark runs beside other programs",
    "stop when other programs compute",
)
AnyJob = TuneJob | DepthJob | JudgementJob
MakeJob = Callable[[ModelEntry, LoadSettings], Awaitable[AnyJob | None]]
"""Makes a job for a model and its settings of today; None where the user wants none after all."""
EXPORTS = {".md": "Markdown      the answer and the table, to read", ".json": "JSON          everything"}


class TuneScreen(AnswerScreen):
    """Finds the fastest settings of a model, or its speed by context depth."""

    NO_PLOT = "The plot begins with the first depth."
    WORK = "A search"
    STOP = "tune.stop"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        shared_key("tune.start", "Search for the fastest settings that fit, and prove them in pairs."),
        shared_key("tune.stop", "Stop, and keep what is known; else go to the table."),
        key("tune.depth", "ctrl+b", "Depth",
            "Measure decode, prefill and memory by context depth, up to the longest that fits."),
        key("tune.speculation", "ctrl+g", "Speculation",
            "Judge by your own prompts, in pairs, whether speculation is faster here."),
        key("tune.keep", "ctrl+t", "Keep", "Keep the best settings for this model, whenever it is loaded."),
        shared_key("tune.settings", "Choose what has to be fast, and what happens beside other programs."),
        shared_key("tune.limits", "Go to the most memory, the least context and the cache types that may be used."),
        shared_key("tune.model", "Tune another model."),
        shared_key("tune.export", "Write the result as Markdown or JSON."),
    ]
    # fmt: on

    fields = query_one(TuneFields)

    def __init__(self, services: Services, workspace: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__("tune", services, workspace, key_for)
        self._work = WorkerHandle(self, "tune")
        self._model: ModelEntry | None = None
        self._chosen = False
        """Whether the user has chosen the model; until then it follows the chat."""
        self._aim: Aim = "mix"
        self._busy_way: Busy = "wait"
        self._job: AnyJob | None = None
        """What runs, or ran last."""

    def _fields(self) -> TuneFields:
        return TuneFields()

    @property
    def running(self) -> bool:
        return self._work.running

    def on_screen_resume(self) -> None:
        if not self._chosen and self.workspace.model is not None and not self.running:
            self._take(self.workspace.model)
        self._paint()

    def take(self, model: ModelEntry) -> None:
        """Tune this model."""
        if not self._busy():
            self._chosen = True
            self._take(model)
            if self.is_mounted:
                self._paint()

    def _take(self, model: ModelEntry) -> None:
        if self._model is None or not model.is_same(self._model):
            self._model, self._job = model, None

    # Drawing

    def _paint(self) -> None:
        if not self.is_attached:
            return
        width, job = max(20, self.size.width - 2), self._job
        with self.app.batch_update():
            self.set_class(isinstance(job, DepthJob), "-deep")
            self.head.set_lines([self._head_line(width)])
            self.answer.set_lines(self._answer(width))
            if isinstance(job, DepthJob):
                self.plot.show(partial(depth_rows, job.record))
            elif isinstance(job, JudgementJob):
                pairs = tuple(enumerate(job.record.pairs, 1))
                header = pair_line(None, self.rows.room)
                self.rows.show(len(pairs), lambda index, width: pair_line(pairs[index], width), header=header)
            else:
                self._show_trials(job)
            self.state.set_lines([self._said.text or self._state_line(width)])

    def _head_line(self, width: int) -> Content:
        name = "no model" if self._model is None else self._model.label
        about = f"  {AIM_TEXTS[AIMS.index(self._aim)]} ({self.key_for('tune.settings')})"
        name = cut(name, width - 6 - len(about))
        return styled(("TUNE  ", "rows--heading"), (name, "rows--name"), (about, "rows--dim"))

    def _answer(self, width: int) -> list[Content]:
        job = self._job
        if isinstance(job, TuneJob | JudgementJob):
            if job.error is not None:
                return paragraph(clean_line(str(job.error)), width, style="rows--error")
            return answer_lines(job.record, self.key_for("tune.keep"), width)
        if isinstance(job, DepthJob):
            text = str(job.error) if job.error is not None else "Speed and memory by the tokens in the context"
            return [styled((cut(text, width), "rows--error" if job.error is not None else "rows--dim"))]
        if self._model is None:
            return [styled((f"{self.key_for('tune.model')} chooses a model.", "rows--dim"))]
        start, deep = self.key_for("tune.start"), self.key_for("tune.depth")
        text = (
            f"{start} finds the fastest settings that fit: threads, batches, flash attention, layers and experts on "
            "GPUs, and the cache types that are named above. Short runs by turns choose, then pairs of new runs prove "
            f"what the best is worth beside today's settings. {deep} measures speed and memory by depth, "
            f"{self.key_for('tune.speculation')} judges whether speculation is faster."
        )
        return paragraph(text, width, style="rows--dim")

    def _show_trials(self, job: TuneJob | None) -> None:
        if job is None:
            self.rows.show(0, lambda index, width: Content(""))
            return
        found = job.record
        trials = ordered(found)
        self.rows.show(
            len(trials),
            lambda index, width: trial_line(trials[index], is_best=trials[index].settings == found.best, width=width),
            header=header_line(self.rows.room),
        )

    def _state_line(self, width: int) -> Content:
        job = self._job
        if job is not None and job.progress is not None:
            return progress_line(job.progress, width)
        disturbed = isinstance(job, TuneJob) and any(trial.disturbed for trial in job.record.trials)
        notes = "* something disturbed some of its runs" * disturbed
        return styled((cut(notes, width), "rows--dim"))

    # Actions

    def action_start(self) -> None:
        self._begin(self._tune)

    def action_depth(self) -> None:
        self._begin(self._go_deep)

    def _begin(self, make: MakeJob) -> None:
        model = self._model
        if self._busy():
            return
        if model is None:
            self.say("Choose a model first.")
        elif model.path is None or is_server_ref(model.ref) or self.services.tune is None:
            self.say(f"{model.label} has no file here: the settings of a server's model are changed there.")
        else:
            self._work.start(self._run(make, model))

    async def _run(self, make: MakeJob, model: ModelEntry) -> None:
        try:
            recipe = await self.services.catalog.find_recipe(model.ref) or Recipe()
            _, today = recipe.settings(Sampling(), self.services.config.load)
            if (job := await make(model, today)) is not None:
                self._job = job
                await job.run()
        except ParameterError as error:
            self.say(str(error), 8.0)
            self.action_limits()
        except WorkbenchError as error:
            self.say(str(error), 8.0)
        self.call_later(self._paint)

    async def _tune(self, model: ModelEntry, today: LoadSettings) -> TuneJob:
        assert self.services.tune is not None
        limits = parse_limits(self.fields.text("max-gb"), self.fields.text("min-ctx"))
        caches = parse_caches(self.fields.text("caches"))
        prices = {}
        if caches and self.services.quality is not None:
            records = await self.services.quality.quality_runs.kept()
            prices = await asyncio.to_thread(cache_prices, records, model, caches)
        plan = TunePlan(model, today, work_of(self._aim), limits, caches, prices, busy=self._busy_way)
        return TuneJob(plan, self.services.tune, self._repainter.changed)

    async def _go_deep(self, model: ModelEntry, today: LoadSettings) -> DepthJob:
        assert self.services.tune is not None
        caches = dict.fromkeys((cache_name(today), *parse_caches(self.fields.text("caches"))))
        return DepthJob(DepthPlan(model, today, tuple(caches)), self.services.tune, self._repainter.changed)

    def action_speculation(self) -> None:
        self._begin(self._judge)

    async def _judge(self, model: ModelEntry, today: LoadSettings) -> JudgementJob | None:
        tools = self.services.judgement
        if tools is None:
            return None
        named = [NGRAM, *(each.ref for each in await tools.draft_candidates(model))]
        rows = ["ngram: what followed the same words before", *named[1:]]
        chosen = await self.app.push_screen_wait(ChooseDialog("What drafts", rows, "another draft model"))
        if chosen is None:
            return None
        drafts = named[chosen] if isinstance(chosen, int) else chosen
        plan = JudgementPlan(model, today, drafts, self.workspace.conversation.sampling)
        return JudgementJob(plan, tools, self._repainter.changed)

    def action_keep(self) -> None:
        job, model = self._job, self._model
        values = job.record.values if isinstance(job, TuneJob | JudgementJob) else {}
        if not values or model is None or self._busy():
            if not self.running:
                self.say("There is nothing to keep: the settings of this model stay.")
            return
        try:
            name = self.services.kept.keep(model, values)
        except WorkbenchError as error:
            self.say(str(error), 8.0)
        else:
            self.say(f"Kept for {name}, whenever it is loaded.")

    def action_limits(self) -> None:
        self.fields.query(Input).first().focus()

    @on(Input.Submitted)
    def _submit(self) -> None:
        self.action_start()

    def action_settings(self) -> None:
        def aim(index: int) -> None:
            self._aim = AIMS[index]
            self._paint()

        def busy(index: int) -> None:
            self._busy_way = BUSY[index]

        if not self._busy():
            choose_settings(
                self, "Settings of the search", ScreenSetting(AIM_TEXTS, AIMS.index(self._aim), aim),
                ScreenSetting(BUSY_TEXTS, BUSY.index(self._busy_way), busy),
            )  # fmt: skip

    def action_model(self) -> None:
        if not self._busy():
            self._choose_model("tunes", self.take, self._model)

    def action_export(self) -> None:
        job = self._job
        if job is None or (isinstance(job, DepthJob) and not job.record.points):
            self.say("There is nothing to export yet.")
            return

        def text(form: str) -> str:
            of: Any = (
                depth if isinstance(job, DepthJob) else judgement_record if isinstance(job, JudgementJob) else record
            )
            if form == ".json":
                return json.dumps(of.as_json(job.record), ensure_ascii=False, indent=1) + "\n"
            return str(of.as_markdown(job.record))

        self.export("the result", EXPORTS, f"tune {job.record.model}", text)

    def _stop(self) -> None:
        if self._job is not None:
            self._job.stop()

    async def leave(self) -> None:
        await self._work.end(self._job)
