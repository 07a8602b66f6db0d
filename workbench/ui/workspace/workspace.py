"""The state behind the chat screen, without its widgets: the model, the conversation, its journal, the answer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from workbench.core.answer import Outcome
from workbench.core.chat import Message
from workbench.core.engine import Engine, Request
from workbench.core.errors import CancelledError, SessionError, WorkbenchError
from workbench.core.kept import kept_recipe
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import ModelEntry, Naming
from workbench.core.origins import from_origin
from workbench.core.recipe import Recipe
from workbench.core.session import ExportFormat, Session
from workbench.core.telemetry import Situation
from workbench.core.trace import Trace
from workbench.core.tree import History, Making, Turn, View
from workbench.ui.services import Services
from workbench.ui.workspace.answer_run import AnswerRun, EnergyMeter
from workbench.ui.workspace.conversation import Conversation
from workbench.ui.workspace.format_check import without_bad_format
from workbench.ui.workspace.machine_watch import MachineWatch
from workbench.ui.workspace.model_slot import ModelSlot
from workbench.ui.workspace.pacing import REAL_CLOCKS, Clocks, Emit
from workbench.ui.workspace.readings import StatsReadings
from workbench.ui.workspace.session_recorder import SessionRecorder
from workbench.ui.workspace.swap import SwapTracker

SAMPLE_EVERY_NS = 240_000_000
"""The least time between two columns of the speed graph."""
NOTHING = Recipe()
"""The recipe of a model without a Modelfile."""
HISTORY = 120
"""Speeds that the graph remembers."""


class Workspace:
    """The state behind the chat screen; `on_journal_error` is called when the session cannot be written to disk."""

    def __init__(
        self, services: Services, on_journal_error: Callable[[SessionError], None], clocks: Clocks = REAL_CLOCKS
    ) -> None:
        self._services = services
        self.clocks = clocks
        self._sampled_ns = 0
        self._config = services.config
        self._speeds: deque[float] = deque(maxlen=HISTORY)
        self._metrics: AnswerMetrics | None = None
        self._digest = ""
        self.machine = MachineWatch(services.telemetry, services.make_alarms, services.logs, clocks.now_ns)
        self.slot = ModelSlot(services.engines)
        self.swaps = SwapTracker(services.loads)
        self.conversation = Conversation.new(self._config)
        self.recorder = SessionRecorder(services.sessions, on_journal_error)
        self.answering: AnswerRun | None = None
        """The answer that streams; None where none does."""
        self.queued: str | None = None
        """The message that is sent as soon as the model is loaded; None where none waits."""

    @property
    def engine(self) -> Engine | None:
        return self.slot.engine

    @property
    def model(self) -> ModelEntry | None:
        return self.engine.info.model if self.engine else None

    @property
    def needs_reload(self) -> bool:
        """Whether the open model was loaded with other settings than the current ones."""
        return self.slot.needs_reload(self.conversation.load)

    async def open(self, ref: str, label: str, recipe: Recipe = NOTHING) -> Engine:
        """Load a model; the conversation continues with it, and takes the settings and messages of `recipe`.

        Raises:
            WorkbenchError: It could not be opened; the conversation has the load settings of the last model that was.
        """
        trial = replace(self.conversation)
        self._bring(trial, recipe)
        try:
            engine = await self.slot.open(ref, label, trial.load)
        except CancelledError:
            raise
        except WorkbenchError:
            await self._load_as_before()
            raise
        conversation = self.conversation
        before = conversation.system, conversation.sampling, conversation.load
        self._bring(conversation, recipe, engine)
        if before != (conversation.system, conversation.sampling, conversation.load):
            await self.recorder.settings(conversation)
        if not self.conversation.turns:
            self.conversation.begin_with(recipe.messages)
        await self.swaps.opened(engine)
        await self.recorder.model(engine.info.model)
        self._digest = await self._services.sessions.digest(engine.info.model)
        return engine

    def _bring(self, conversation: Conversation, recipe: Recipe, engine: Engine | None = None) -> None:
        """Give a conversation what a model brings, in place of what the model before did."""
        if recipe is not NOTHING:
            conversation.leave_model(self._config)
        if engine is not None:
            conversation.use_recommended(engine.info.recommended)
        conversation.take(recipe)

    async def answer(self, engine: Engine, text: str, emit: Emit) -> Outcome:
        """Ask the open model a question. Returns how the answer ended; it is part of the conversation then."""
        self.conversation.ask(text)
        return await self._answer(engine, emit)

    async def edit(self, engine: Engine, number: int, text: str, emit: Emit) -> Outcome:
        """Ask an edited question, in a branch beside the old one."""
        self.conversation.edit(number, text)
        return await self._answer(engine, emit)

    async def regenerate(self, engine: Engine, number: int, emit: Emit) -> Outcome:
        """Generate another answer to the question `number`; if it stays empty, the conversation is restored."""
        before = self.conversation.state
        self.conversation.go_back_to(number)
        return await self._answer(engine, emit, before=before)

    async def go_on(self, engine: Engine, number: int, emit: Emit, begins: Message | None = None) -> Outcome:
        """Continue an answer, or one that `begins` otherwise, beside it; if nothing is added, all is as it was."""
        before, node = self.conversation.state, self.conversation.tree.node(number)
        turn = node.turn if begins is None else replace(node.turn, message=begins, trace=Trace())
        request = self.conversation.request(number, begins)
        self.conversation.go_back_to(node.parent)
        return await self._answer(engine, emit, before=before, beginning=turn, request=request)

    async def _answer(
        self,
        engine: Engine,
        emit: Emit,
        *,
        before: tuple[View, History] | None = None,
        beginning: Turn | None = None,
        request: Request | None = None,
    ) -> Outcome:
        model, conversation = engine.info.model, self.conversation

        def whole(message: Message) -> Message:
            if beginning is None:
                return message
            first = beginning.message
            return Message("assistant", first.content + message.content, first.reasoning + message.reasoning)

        async def keep(message: Message) -> None:
            await self.recorder.partial(conversation.draft(whole(message), model.ref, self._making(engine)))

        self._start_over()
        self.answering = run = AnswerRun(
            engine,
            request or conversation.request(),
            emit,
            paints_per_second=self._config.paints_per_second,
            keep_partial=keep,
            clocks=self.clocks,
        )
        energy = EnergyMeter(self._services.telemetry, self.clocks.now_ns)
        try:
            await self.recorder.record(conversation)
            outcome = await run.run()
        except BaseException:
            # Without an answer the question would stand before the next one, and templates refuse that.
            if before is None or run.answer.has_text:
                metrics = run.answer.meter.metrics()
                conversation.answer(Turn(whole(run.answer.message()), time.time(), model.ref, metrics, "failed"))
            else:
                conversation.return_to(before)
            raise
        finally:
            self.answering = None
        outcome = replace(outcome, metrics=replace(outcome.metrics, energy_joules=await energy.joules()))
        self._metrics = outcome.metrics
        if before is not None and not run.answer.has_text:
            conversation.return_to(before)
            return outcome
        trace = Trace((beginning.trace.data if beginning else b"") + run.tracer.trace().data)
        making = self._making(engine, outcome.seed)
        turn = Turn(whole(outcome.message), time.time(), model.ref, outcome.metrics, outcome.reason, making, trace)
        conversation.answer(turn)
        await self.recorder.record(conversation)
        await self.swaps.answered(outcome.metrics)
        return outcome

    def _making(self, engine: Engine, seed: int | None = None) -> Making:
        path, conversation = engine.info.model.path or "", self.conversation
        return Making(path, self._digest, conversation.system, conversation.sampling, engine.info.settings, seed)

    # Branches

    async def rewrite(self, number: int, text: str) -> None:
        self.conversation.edit(number, text)
        await self.recorder.record(self.conversation)

    async def record_view(self) -> None:
        """Record that another branch is shown, or that messages were deleted or restored."""
        self._metrics = None
        await self.recorder.view(self.conversation.tree.view)

    def stop(self) -> bool:
        """Stop the answer that streams, else the load. Returns whether anything ran."""
        if self.answering is not None:
            self.answering.stop()
            return True
        if self.slot.loading:
            self.slot.stop()
            return True
        return False

    async def change(self, system: str, values: Mapping[str, object]) -> None:
        """Change settings; they apply from the next answer on. Raises ParameterError as `Conversation.change`.

        Raises FormatError where the format cannot be used; all else is changed then.
        """
        values, problem = await without_bad_format(values, self.model, self._services.check_format)
        self.conversation.change(system, values)
        await self.recorder.settings(self.conversation)
        if problem is not None:
            raise problem

    async def _load_as_before(self) -> None:
        """Go back to the load settings that worked: with the refused ones every further load would fail."""
        if self.slot.asked is not None and self.conversation.load != self.slot.asked:
            self.conversation.load = self.slot.asked
            await self.recorder.settings(self.conversation)

    def save_defaults(self) -> Sequence[str]:
        """Make the current settings the defaults of new conversations. Returns and raises as `Services.save_config`."""
        now = self.general
        names = ["system", "sampling", "load"]
        names += ["when_context_full"] if now.when_context_full != self._config.when_context_full else []
        replaced = self._services.save_config(changes := {name: getattr(now, name) for name in names})
        self._config = replace(self._config, **changes, origins=from_origin(now.origins, "config"))
        return replaced

    @property
    def general(self) -> Conversation:
        """The conversation with the settings that do not come from the model."""
        return self.conversation.general(self._config)

    def keep_for_model(self, model: ModelEntry) -> tuple[str, ...]:
        """Keep the settings of this chat for a model. Returns their names; raises as `KeptSettings.keep`."""
        values = self.conversation.to_keep(self._config)
        if values:
            self._services.kept.keep(model, values)
            self.conversation.origins = {**self.conversation.origins, **from_origin(values, "model")}
        return tuple(values)

    async def forget_for_model(self, engine: Engine) -> tuple[str, ...]:
        """Remove what is kept for the open model. Returns the names; raises as `KeptSettings.forget`."""
        model = engine.info.model
        names = self._services.kept.forget(model)
        self._bring(self.conversation, model.recipe or Recipe(), engine)
        await self.recorder.settings(self.conversation)
        return names

    async def new(self) -> None:
        await self._switch_to(self.conversation.successor())
        if self.engine is not None:
            self.conversation.use_recommended(self.engine.info.recommended)
            self.conversation.take(kept_recipe(self._services.kept.of(self.engine.info.model)))
        if self.model is not None and self.model.recipe is not None:
            self.conversation.begin_with(self.model.recipe.messages)

    async def adopt(self, conversation: Conversation, model: ModelEntry) -> None:
        """Continue a conversation that was held elsewhere; from now on it is a session like any other."""
        await self._switch_to(conversation)
        await self.recorder.model(model)
        await self.recorder.record(conversation)

    async def _switch_to(self, conversation: Conversation) -> None:
        await self.recorder.close()
        self.conversation = conversation
        self._start_over()

    def _start_over(self) -> None:
        self._metrics = None
        self._speeds.clear()

    async def resume(self, session_id: str) -> Session:
        """Continue a stored conversation. Raises SessionError where it cannot be read; the current one stays then."""
        session = await self.recorder.resume(session_id)
        self.conversation = Conversation.resumed(session, self._config, self.conversation.alternatives)
        self._start_over()
        return session

    def session(self) -> Session:
        return self.conversation.session(self.recorder.session_id, self.model)

    async def export(self, form: ExportFormat, path: Path, naming: Naming | None = None) -> Path:
        """Write the conversation to `path`, or to a numbered name beside it where that is taken; returns the path.

        `naming` is the name of the model that a Modelfile uses; None for the path of its file. Raises WorkbenchError.
        """
        session = self.session()
        base = "" if naming is None else await self._services.catalog.name_elsewhere(session.model_path, naming)
        return await self._services.sessions.export(session, form, path, base)

    def look_at_machine(self, *, others_run: bool = False) -> bool:
        """Take the newest sample of the machine's meters. Returns whether there is anything new to show.

        `others_run` is whether anything but the chat loads models or generates tokens.
        """
        asked = self.slot.asked.num_gpu if self.slot.asked is not None else None
        info = self.engine.info if self.engine is not None else None
        situation = Situation(info, asked, decoding=self.answering is not None or others_run)
        return self.machine.look(situation, changing=self.slot.loading or others_run)

    def sample_speed(self) -> None:
        """Add the current speed to the graph, at most once in `SAMPLE_EVERY_NS`."""
        now = self.clocks.now_ns()
        if self.answering is None or now - self._sampled_ns < SAMPLE_EVERY_NS:
            return
        if (speed := self.answering.answer.meter.live_tps()) is not None:
            self._sampled_ns = now
            self._speeds.append(speed)

    def readings(self) -> StatsReadings:
        answer = self.answering.answer if self.answering else None
        meter = answer.meter if answer else None
        metrics = meter.metrics(percentiles=False) if meter else self._metrics
        metrics = metrics or next((turn.metrics for turn in reversed(self.conversation.turns) if turn.metrics), None)
        return StatsReadings(
            info=self.engine.info if self.engine else None,
            loading=self.slot.load.label if self.slot.load else "",
            metrics=metrics,
            live_tps=meter.live_tps() if meter else None,
            history=tuple(self._speeds),
            context_used=metrics.context_used if metrics else None,
            machine=self.machine.view,
            threads=answer.threads if answer else None,
            needs_reload=self.needs_reload,
            streaming=meter is not None,
        )

    async def shut_down(self) -> None:
        """Stop everything, and close the session as one that ended well."""
        self.stop()
        await self.recorder.close()
        await self._services.engines.shutdown()
