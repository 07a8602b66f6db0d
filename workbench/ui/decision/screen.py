"""The decision screen: constraints on top, below them everything that was measured of one model, and the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.content import Content
from textual.getters import query_one
from textual.message import Message

from workbench.core.errors import WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.parameters import Sampling, Value, changed_values
from workbench.lab.decision.contender import Prefer
from workbench.lab.decision.evidence import Evidence
from workbench.lab.decision.gather import gather, weigh
from workbench.lab.decision.record import DecisionRecord, beside, load_of, record_of
from workbench.ui.decision.kept import KeptDecisions, decision_row
from workbench.ui.decision.limits import LimitBar
from workbench.ui.decision.lines import answer_lines, contender_line, header_line, plot_of
from workbench.ui.decision.measuring import Measuring
from workbench.ui.dialogs.choose import ScreenSetting, choose_settings
from workbench.ui.experiment.answer_screen import AnswerScreen
from workbench.ui.experiment.screen import shared_key
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, styled
from workbench.ui.services import Services
from workbench.ui.widgets.rows import Rows
from workbench.ui.workspace.workspace import Workspace

PREFERENCES: Sequence[Prefer] = ("quality", "speed", "size")


class DecisionScreen(AnswerScreen):
    """Says which quantization to take, and measures what is missing."""

    NO_PLOT = "The plot needs a speed and a divergence: bench the model, and measure its quality over a text."
    STOP = "decision.stop"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        key("decision.measure", "f9", "Run", "Measure what the answer lacks."),
        shared_key("decision.stop", "Stop a measurement, and keep what is done; else go to the list."),
        key("decision.prefer", "f6", "Settings",
            "Change what is the best of what meets the constraints: quality, speed or size.", action="settings"),
        shared_key("decision.limits", "Go to the constraints."),
        shared_key("decision.model", "Decide about another model."),
        shared_key("decision.runs", "Open an earlier decision."),
        key("decision.beside", "ctrl+b", "Beside", "Lay an earlier decision beside the one that is shown.", show=False),
        shared_key("decision.export", "Write the decision as Markdown, JSON or CSV, or the choice as a Modelfile."),
    ]
    # fmt: on

    @dataclass
    class Load(Message):
        """A model is to be loaded in the chat."""

        model: ModelEntry
        values: Mapping[str, Value]
        """Load settings that the conversation takes over, by parameter name."""

    limits = query_one(LimitBar)

    def __init__(self, services: Services, workspace: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__("decision", services, workspace, key_for)
        self._model: ModelEntry | None = None
        self._chosen = False
        """Whether the user has chosen the model; until then it follows the chat."""
        self._prefer: Prefer = "auto"
        self._evidence: Evidence | None = None
        self._record: DecisionRecord | None = None
        self._earlier = False
        """Whether a kept decision is shown."""
        self._stale = True
        """Whether the measurements have to be read again."""
        self._problem = ""
        self._measuring = Measuring(self, self._repainter.changed, self._measured)
        self._kept = KeptDecisions(self)

    def _fields(self) -> LimitBar:
        return LimitBar()

    def on_screen_resume(self) -> None:
        if not self._chosen and self.workspace.model is not None:
            self._model = self.workspace.model
        if not self.running:
            self._look()

    @property
    def running(self) -> bool:
        return self._measuring.running

    # The answer

    def _look(self) -> None:
        """Collect what was measured, and decide."""
        self._stale = True
        self._paint()
        self._update()

    @on(LimitBar.Changed)
    def _change_limits(self) -> None:
        self._earlier = False
        self._update()

    @work(group="decide", exclusive=True, exit_on_error=False, description="decide")
    async def _update(self) -> None:
        if self._stale and not await self._gather():
            return
        # A dialog that closes comes here too, also that which has opened an earlier decision.
        if not self._earlier:
            await self._decide()

    async def _gather(self) -> bool:
        """Collect what was measured. Returns whether there is something to decide."""
        model, tools = self._model, self.services.decision
        if model is None or tools is None:
            return False
        constraints, _ = self.limits.read()
        try:
            n_ctx = constraints.min_context or 0
            self._evidence = await gather(model.ref, model, self.services.catalog, tools, n_ctx)
        except WorkbenchError as error:
            self._evidence = self._record = None
            self._problem = str(error)
            self._show_rows()
            self._paint()
            return False
        self._problem, self._stale = "", False
        return True

    async def _decide(self) -> None:
        model, tools, evidence = self._model, self.services.decision, self._evidence
        constraints, problem = self.limits.read()
        if problem:
            self.say(problem, 8.0)
        if model is None or tools is None or evidence is None:
            return
        if evidence.n_ctx != (constraints.min_context or 0):
            evidence = self._evidence = await weigh(evidence, tools, constraints.min_context or 0)
        new_id = tools.decision_runs.new_id()
        self._record = await asyncio.to_thread(record_of, model.ref, evidence, constraints, self._prefer, new_id)
        self._show_rows()
        self._paint()

    def _show_rows(self) -> None:
        """Show the contenders, the cursor on the best."""
        record = self._record
        if record is None:
            self.rows.show(0, lambda index, width: Content(""))
            return
        keys = [each.key for each in record.contenders]
        cursor = keys.index(record.answer.chosen) if record.answer.chosen in keys else 0
        self.rows.show(
            len(keys),
            lambda index, width: contender_line(record, record.contenders[index], width),
            header=header_line(self.rows.room),
            choosable=True,
            cursor=cursor,
        )

    # Drawing

    def _paint(self) -> None:
        if not self.is_attached:
            return
        width, record = max(20, self.size.width - 2), self._record
        with self.app.batch_update():
            self.head.set_lines([self._head_line(width)])
            lines = self._welcome() if record is None else answer_lines(record, self.key_for("decision.measure"), width)
            self.answer.set_lines(lines)
            self.plot.show(None if record is None else partial(plot_of, record))
            self.state.set_lines([self._said.text or styled((cut(self._state(), width), "rows--dim"))])

    def _head_line(self, width: int) -> Content:
        record = self._record
        name = record.model if record is not None else self._model.name if self._model is not None else "no model"
        best = "" if record is None else f"  the best by {record.answer.prefer} ({self.key_for('decision.prefer')})"
        return styled(
            ("DECIDE  ", "rows--heading"), (cut(name, width - 8 - len(best)), "rows--name"), (best, "rows--dim")
        )

    def _welcome(self) -> list[Content]:
        if self._problem:
            return [styled((clean_line(self._problem), "rows--error"))]
        if self._model is None:
            return [styled((f"{self.key_for('decision.model')} chooses a model.", "rows--dim"))]
        return [styled(("Reading the measurements…", "rows--dim"))]

    def _state(self) -> str:
        if self._measuring.text:
            return clean_line(self._measuring.text)
        record = self._record
        if record is None:
            return ""
        if self._earlier:
            return f"{record.id}, kept."
        legend = "  ✓ met  ✗ missed  ? inside the interval  – not measured" * bool(record.constraints.items)
        return clean_line("  ".join(record.notes) or f"Enter loads the selected one.{legend}")

    # Actions

    def action_limits(self) -> None:
        self.limits.query("Input").first().focus()

    def action_settings(self) -> None:
        def take(index: int) -> None:
            self._prefer, self._earlier = PREFERENCES[index], False
            self._update()

        if self._record is not None:
            texts = [f"the best by {name}" for name in PREFERENCES]
            best = ScreenSetting(texts, PREFERENCES.index(self._record.answer.prefer), take)
            choose_settings(self, "Settings of the decision", best)

    def action_model(self) -> None:
        def chosen(model: ModelEntry) -> None:
            self._model, self._chosen, self._earlier = model, True, False
            self._evidence = self._record = None
            self._show_rows()
            self._look()

        if not self._busy():
            self._choose_model("decides", chosen)

    def action_measure(self) -> None:
        if self._busy():
            return
        record, evidence = self._record, self._evidence
        if record is None or evidence is None or self._earlier:
            self.say("Choose a model first." if record is None else "This is an earlier decision: change a constraint.")
        elif record.answer.need is None:
            self.say("Nothing is missing that could be measured here.")
        else:
            self._measuring.begin(record.answer.need, evidence)

    def _measured(self) -> None:
        self._earlier = False
        self._paint()
        self._look()

    def _stop(self) -> None:
        self._measuring.stop()

    @on(Rows.Chosen, "#rows")
    def _load(self, event: Rows.Chosen) -> None:
        record, evidence = self._record, self._evidence
        if record is None or self._busy():
            return
        contender = record.contenders[event.index]
        entry = None if evidence is None else evidence.entries.get(contender.path)
        if entry is None:
            self.say(f"{contender.path} is not among the files of this model any more.")
            return
        load = load_of(contender, record.constraints.min_context or 0)
        settings = contender.settings
        values = {"type_k": settings.type_k, "type_v": settings.type_v} | changed_values(Sampling(), load)
        self._kept.keep(replace(record, answer=replace(record.answer, chosen=contender.key)))
        self.post_message(self.Load(entry, values))

    def action_export(self) -> None:
        if self._record is None:
            self.say("There is nothing to export yet.")
        else:
            self._kept.export(self._record)

    @work(group="runs", exclusive=True, exit_on_error=False, description="read the kept decisions")
    async def action_runs(self) -> None:
        def opened(record: DecisionRecord) -> None:
            self._record, self._earlier = record, True
            self.limits.show(record.constraints)
            self._show_rows()
            self._paint()

        await self._choose_kept("Earlier decisions", opened)

    @work(group="runs", exclusive=True, exit_on_error=False, description="read the kept decisions")
    async def action_beside(self) -> None:
        if (first := self._record) is None:
            self.say("There is no decision yet.")
            return
        await self._choose_kept("Lay beside it", lambda second: self.lay_beside("Two decisions", beside(first, second)))

    async def _choose_kept(self, title: str, then: Callable[[DecisionRecord], object]) -> None:
        tools = self.services.decision
        if self._busy() or tools is None:
            return
        none = "No decision is kept yet: exporting one and loading a choice keeps it."
        records = await tools.decision_runs.kept()
        self._choose_earlier(title, records, decision_row, then, none)

    async def leave(self) -> None:
        await self._measuring.leave()
