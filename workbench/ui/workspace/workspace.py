"""What the chat screen works on: the open model, the conversation, its journal and the answer that streams.

It holds no widget and draws nothing, so that what it does can be read, and tested, without a screen.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from workbench.core.answer import Outcome
from workbench.core.chat import Message
from workbench.core.engine import Engine, Request
from workbench.core.errors import SessionError
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import ModelEntry, Naming
from workbench.core.recipe import Recipe
from workbench.core.session import ExportFormat, Session
from workbench.core.telemetry import Situation
from workbench.core.trace import Trace
from workbench.core.tree import History, Making, Turn, View
from workbench.ui.services import Services
from workbench.ui.workspace.answer_run import Answering
from workbench.ui.workspace.conversation import Conversation
from workbench.ui.workspace.energy import EnergyMeter
from workbench.ui.workspace.machine_watch import MachineWatch
from workbench.ui.workspace.model_slot import Bay
from workbench.ui.workspace.pacing import REAL_CLOCKS, Clocks, Emit
from workbench.ui.workspace.readings import Readings
from workbench.ui.workspace.session_recorder import Scribe
from workbench.ui.workspace.swap import Track

SAMPLE_EVERY_NS = 240_000_000
"""The time between two columns of the graph, at least."""
NOTHING = Recipe()
"""What a model brings that no Modelfile describes."""
HISTORY = 120
"""Speeds that the graph remembers."""


class Desk:
    """The state behind the chat screen.

    Args:
        services: What the program works with.
        on_journal_error: Told when the session cannot be written down.
        clocks: What the time is read from.
    """

    def __init__(
        self,
        services: Services,
        on_journal_error: Callable[[SessionError], None],
        clocks: Clocks = REAL_CLOCKS,
    ) -> None:
        self._services = services
        self._on_journal_error = on_journal_error
        self._clocks = clocks
        self._sampled_ns = 0
        self._config = services.config
        self._speeds: deque[float] = deque(maxlen=HISTORY)
        self._metrics: AnswerMetrics | None = None
        self._digest = ""
        self.machine = MachineWatch(services.telemetry, services.make_alarms, services.logs, clocks.now_ns)
        """The meters of the machine."""
        self.bay = Bay(services.engines)
        self.track = Track(services.loads)
        self.conversation = Conversation.new(self._config)
        self.scribe = Scribe(services.sessions, on_journal_error)
        self.answering: Answering | None = None
        """The answer that streams; None where none does."""

    @property
    def engine(self) -> Engine | None:
        """The open model."""
        return self.bay.engine

    @property
    def model(self) -> ModelEntry | None:
        """What is known of the open model."""
        return self.engine.info.model if self.engine else None

    @property
    def needs_reload(self) -> bool:
        """Whether settings were changed that the open model does not know of."""
        return self.bay.needs_reload(self.conversation.load)

    async def open(self, ref: str, label: str, recipe: Recipe = NOTHING) -> Engine:
        """Load a model; the conversation goes on with it, and takes what `recipe` says.

        Raises:
            WorkbenchError: It could not be opened; the conversation is as it was.
        """
        _, load = recipe.settings(self.conversation.sampling, self.conversation.load)
        engine = await self.bay.open(ref, label, load)
        if recipe.system or recipe.parameters:
            await self.change(recipe.system or self.conversation.system, dict(recipe.parameters))
        if not self.conversation.turns:
            self.conversation.begin_with(recipe.messages)
        await self.track.opened(engine)
        await self.scribe.model(engine.info.model)
        self._digest = await self._services.sessions.digest(engine.info.model)
        return engine

    async def answer(self, engine: Engine, text: str, emit: Emit) -> Outcome:
        """Put a question to the open model. Returns how the answer ended; it is part of the conversation then."""
        self.conversation.ask(text)
        return await self._answer(engine, emit)

    async def edit(self, engine: Engine, number: int, text: str, emit: Emit) -> Outcome:
        """Put a question in other words to the open model, in a branch beside the old one."""
        self.conversation.edit(number, text)
        return await self._answer(engine, emit)

    async def regenerate(self, engine: Engine, number: int, emit: Emit) -> Outcome:
        """Have another answer to the question `number`, in a branch beside the answers that are there.

        Where nothing comes of it, the conversation is again what it was.
        """
        before = self.conversation.state
        self.conversation.go_back_to(number)
        return await self._answer(engine, emit, before=before)

    async def go_on(self, engine: Engine, number: int, emit: Emit) -> Outcome:
        """Have an answer gone on with that was cut off; the longer one stands beside it.

        Where nothing comes of it, the conversation is again what it was.
        """
        before, node = self.conversation.state, self.conversation.tree.node(number)
        request = self.conversation.request(number)
        self.conversation.go_back_to(node.parent)
        return await self._answer(engine, emit, before=before, beginning=node.turn, request=request)

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
            await self.scribe.partial(conversation.draft(whole(message), model.ref, self._making(engine)))

        self._speeds.clear()
        self._metrics = None
        self.answering = answering = Answering(
            engine,
            request or conversation.request(),
            emit,
            paints_per_second=self._config.paints_per_second,
            keep_partial=keep,
            clocks=self._clocks,
        )
        energy = EnergyMeter(self._services.telemetry, self._clocks.now_ns)
        try:
            await self.scribe.record(conversation)
            outcome = await answering.run()
        except BaseException:
            answer = answering.answer
            # Without an answer the question would stand before the next one, and templates refuse that.
            if before is None or answer.has_text:
                turn = Turn(whole(answer.message()), time.time(), model.ref, answer.meter.metrics(), "failed")
                conversation.answer(turn)
            else:
                conversation.return_to(before)
            raise
        finally:
            self.answering = None
        outcome = replace(outcome, metrics=replace(outcome.metrics, energy_joules=await energy.joules()))
        self._metrics = outcome.metrics
        if before is not None and not answering.answer.has_text:
            conversation.return_to(before)
            return outcome
        trace = Trace((beginning.trace.data if beginning else b"") + answering.tracer.trace().data)
        turn = Turn(
            whole(outcome.message),
            time.time(),
            model.ref,
            outcome.metrics,
            outcome.reason,
            self._making(engine, outcome.seed),
            trace,
        )
        conversation.answer(turn)
        await self.scribe.record(conversation)
        await self.track.answered(outcome.metrics)
        return outcome

    def _making(self, engine: Engine, seed: int | None = None) -> Making:
        info, conversation = engine.info, self.conversation
        return Making(
            info.model.path or "", self._digest, conversation.system, conversation.sampling, info.settings, seed
        )

    # Branches

    async def rewrite(self, number: int, text: str) -> None:
        """Put an answer in other words, in a branch beside the old one."""
        self.conversation.edit(number, text)
        await self.scribe.record(self.conversation)

    async def walk(self, number: int, step: int) -> bool:
        """Go to the branch beside a message. Returns whether there is one."""
        return await self._see(self.conversation.walk(number, step))

    async def delete(self, number: int) -> None:
        """Take out a message with all that follows it in any branch."""
        self.conversation.delete(number)
        await self._see(True)

    async def undo(self) -> bool:
        """Take back the last change of the conversation. Returns whether there was one."""
        return await self._see(self.conversation.undo())

    async def redo(self) -> bool:
        """Make the change again that was taken back last. Returns whether there was one."""
        return await self._see(self.conversation.redo())

    async def _see(self, changed: bool) -> bool:
        if changed:
            self._metrics = None
            await self.scribe.view(self.conversation.tree.view)
        return changed

    def stop(self) -> bool:
        """Stop what runs, an answer before a load. Returns whether anything did."""
        if self.answering is not None:
            self.answering.stop()
            return True
        if self.bay.loading:
            self.bay.stop()
            return True
        return False

    async def change(self, system: str, values: Mapping[str, object]) -> None:
        """Take new settings; they hold from the next answer on.

        Raises:
            ParameterError: A value is out of its range.
        """
        self.conversation.change(system, values)
        await self.scribe.settings(self.conversation)

    def save_defaults(self) -> None:
        """Make the settings those of every new conversation.

        Raises:
            ConfigError: The config file could not be written.
        """
        conversation = self.conversation
        changes = {"system": conversation.system, "sampling": conversation.sampling, "load": conversation.load}
        self._services.save_config(changes)
        self._config = replace(
            self._config, system=conversation.system, sampling=conversation.sampling, load=conversation.load
        )

    async def new(self) -> None:
        """Begin a new conversation with the settings of this one."""
        await self.scribe.close()
        old = self.conversation
        self.conversation = Conversation(old.system, old.sampling, old.load, old.when_context_full)
        if self.model is not None and self.model.recipe is not None:
            self.conversation.begin_with(self.model.recipe.messages)
        self._start_over()

    async def adopt(self, conversation: Conversation, model: ModelEntry) -> None:
        """Go on with a conversation that was held elsewhere; from now on it is a session like any other."""
        await self.scribe.close()
        self.conversation = conversation
        self._start_over()
        await self.scribe.model(model)
        await self.scribe.record(conversation)

    def _start_over(self) -> None:
        self._metrics = None
        self._speeds.clear()

    async def resume(self, session_id: str) -> Session:
        """Go on with a stored conversation.

        Raises:
            SessionError: It cannot be had.
        """
        session = await self.scribe.resume(session_id)
        self.conversation = Conversation.resumed(session, self._config)
        self._start_over()
        return session

    async def export(self, form: ExportFormat, path: Path, naming: Naming | None = None) -> Path:
        """Write the conversation to a file; gives the path that was written, numbered where that one was taken.

        Args:
            form: How to write it.
            path: Where to.
            naming: By whose name a Modelfile calls the model; None for its file.

        Raises:
            WorkbenchError: It cannot be written.
        """
        session = self.conversation.session(self.scribe.session_id, self.model)
        base = "" if naming is None else await self._services.catalog.name_elsewhere(session.model_path, naming)
        return await self._services.sessions.export(session, form, path, base)

    def look_at_machine(self, *, others_run: bool = False) -> bool:
        """See what the meters say; gives whether there is anything new to show.

        Args:
            others_run: Whether anything but the chat loads models or makes tokens.
        """
        asked = self.bay.asked.num_gpu if self.bay.asked is not None else None
        info = self.engine.info if self.engine is not None else None
        situation = Situation(info, asked, decoding=self.answering is not None or others_run)
        return self.machine.look(situation, changing=self.bay.loading or others_run)

    def sample_speed(self) -> None:
        """Put the speed of this moment into the graph, unless that was done a moment ago."""
        now = self._clocks.now_ns()
        if self.answering is None or now - self._sampled_ns < SAMPLE_EVERY_NS:
            return
        if (speed := self.answering.answer.meter.live_tps()) is not None:
            self._sampled_ns = now
            self._speeds.append(speed)

    def readings(self) -> Readings:
        """The figures of this moment."""
        answering = self.answering
        metrics = answering.answer.meter.metrics(percentiles=False) if answering else self._metrics
        last = next((turn.metrics for turn in reversed(self.conversation.turns) if turn.metrics), None)
        shown = metrics or last
        load = self.bay.load
        return Readings(
            info=self.engine.info if self.engine else None,
            loading=load.label if load else "",
            metrics=metrics,
            live_tps=answering.answer.meter.live_tps() if answering else None,
            history=tuple(self._speeds),
            progress=answering.answer.progress if answering else None,
            context_used=shown.context_used if shown else None,
            machine=self.machine.view,
            needs_reload=self.needs_reload,
            streaming=answering is not None,
        )

    async def shut_down(self) -> None:
        """Stop everything, and close the session as one that ended well."""
        self.stop()
        await self.scribe.close()
        await self._services.engines.shutdown()
