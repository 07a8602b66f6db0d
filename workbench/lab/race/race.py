"""A race: one prompt to several models, live and fair.

Lanes are answered at the same time, and an engine that steps them in turn lets a lane's clock run only during the
lane's own steps, so that each figure is what the model would show alone. Who is asked first changes from question to
question. Models that do not fit in memory together are loaded, asked and unloaded one after the other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from workbench.core.answer import Answer, Outcome
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Engine, EngineHost, MemoryAdviser, Request
from workbench.core.errors import CancelledError, EngineError, WorkbenchError
from workbench.core.events import Event, Failed, Token
from workbench.core.metrics import Meter
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.lab.race.divergence import first_divergence

_logger = logging.getLogger(__name__)

MOST_LANES = 4
WARM_UP = "Hello"
SEEDS = 2**31
"""Seeds are drawn below this."""

LaneState = Literal["waiting", "loading", "ready", "writing", "done", "stopped", "failed"]
"""`waiting`: for its turn; `ready`: open, and everything is answered that was asked before it joined."""


@dataclass(frozen=True, slots=True)
class LaneSpec:
    """What runs in a lane."""

    ref: str
    label: str
    """What to call it until it is open."""
    load: LoadSettings
    sampling: Sampling
    system: str = ""
    model: ModelEntry | None = None
    """What is known of the model before it is open."""
    own_sampling: bool = False
    """Whether it keeps its sampling parameters when those of the race change."""
    opening: tuple[Message, ...] = ()
    """The turns that stand before the first question, where a Modelfile has some."""


@dataclass(frozen=True, slots=True)
class LaneAnswer:
    """A lane's answer to one question."""

    outcome: Outcome
    tokens: tuple[int, ...]
    """The ids of the tokens that were generated."""


class Lane:
    """One model in a race, with a history of its own.

    Args:
        spec: What runs in it.
    """

    def __init__(self, spec: LaneSpec) -> None:
        self.spec = spec
        self.state: LaneState = "waiting"
        self.info: EngineInfo | None = None
        """What was opened; it stays when the model is unloaded."""
        self.load_ms: float | None = None
        """How long it took to open, the first time."""
        self.error: WorkbenchError | None = None
        """Why it has failed."""
        self.load_fraction = 0.0
        self.answer: Answer | None = None
        """What is being written, or was written last."""
        self.tokens: list[int] = []
        """The ids of its tokens."""
        self.ends: list[int] = []
        """For each of its tokens, how long the text was after it: that of the thoughts and of the answer together."""
        self.answers: list[LaneAnswer] = []
        """One for each question that it has answered, or failed to."""
        self.engine: Engine | None = None
        self.cancel = CancelToken()
        self.task: asyncio.Task[None] | None = None
        self.question = -1
        """The index of the question that `answer` answers; -1 before the first."""

    @property
    def label(self) -> str:
        """Its name."""
        return self.model.label if self.model else self.spec.label

    @property
    def model(self) -> ModelEntry | None:
        """What is known of its model."""
        return self.info.model if self.info else self.spec.model

    @property
    def running(self) -> bool:
        """Whether it loads, waits for its turn, or writes."""
        return self.task is not None and not self.task.done()

    @property
    def hopeless(self) -> bool:
        """Whether it could not even be opened."""
        return self.state == "failed" and self.info is None

    @property
    def ended(self) -> bool:
        """Whether the model itself ended the last answer."""
        return not self.running and bool(self.answers) and self.answers[-1].outcome.reason == "stop"

    def begin(self, answer: Answer) -> Answer:
        """Take an empty answer to the question that comes next, and give it back."""
        self.answer, self.question = answer, len(self.answers)
        self.tokens, self.ends, self.error = [], [], None
        return answer

    def feed(self, event: Event) -> None:
        """Take one event of the answer."""
        if self.answer is not None:
            self.answer.feed(event)
        if isinstance(event, Token):
            self.tokens.append(event.id)
            self.ends.append((self.ends[-1] if self.ends else 0) + len(event.text))

    def messages(self, questions: Sequence[str]) -> tuple[Message, ...]:
        """The conversation up to the question that comes next."""
        messages = [Message("system", self.spec.system)] if self.spec.system.strip() else []
        messages += self.spec.opening
        for question, answer in zip(questions, self.answers, strict=False):
            # Templates refuse two questions in a row, so one that got no answer is left out.
            if answer.outcome.message.content or answer.outcome.message.reasoning:
                messages += [Message("user", question), answer.outcome.message]
        return (*messages, Message("user", questions[len(self.answers)]))


def _ignore(_lane: Lane, _event: Event | None) -> None:
    """Nobody looks."""


class Race:
    """Several lanes that answer the same questions.

    Args:
        host: Opens models.
        adviser: Tells what fits in memory together.
        lanes: What runs; the first is the reference. At most `MOST_LANES`.
        solo: Whether they write one after the other, where they could at the same time.
        on_event: Told of every event of a lane, and with None of a new state; in the event loop.
    """

    def __init__(
        self,
        host: EngineHost,
        adviser: MemoryAdviser,
        lanes: Sequence[LaneSpec],
        *,
        solo: bool = False,
        on_event: Callable[[Lane, Event | None], None] = _ignore,
    ) -> None:
        self._host = host
        self._adviser = adviser
        self._tell = on_event
        self._one_at_a_time = asyncio.Lock()
        self._seeds: list[int] = []
        self.lanes = [Lane(spec) for spec in lanes]
        self.questions: list[str] = []
        self.solo = solo
        self.in_turn = False
        """Whether the models do not fit in memory together, so that each is unloaded after its answer."""

    @property
    def reference(self) -> Lane | None:
        """The lane that the others are compared with; None where there is no lane."""
        return self.lanes[0] if self.lanes else None

    @property
    def running(self) -> bool:
        """Whether any lane runs."""
        return any(lane.running for lane in self.lanes)

    async def open(self) -> None:
        """Load the models, where they fit together. A lane that cannot be opened has failed; the others go on."""
        await self.weigh()
        if not self.in_turn:
            self._start(self.lanes)
        await self.finished()

    def ask(self, question: str) -> None:
        """Put a question to all lanes; `finished` waits for their answers."""
        self._seeds.append(random.randrange(SEEDS))
        first = len(self.questions) % max(1, len(self.lanes))
        self.questions.append(question)
        self._start([*self.lanes[first:], *self.lanes[:first]])

    async def finished(self) -> None:
        """Wait until no lane runs."""
        while tasks := [lane.task for lane in self.lanes if lane.task is not None and not lane.task.done()]:
            await asyncio.wait(tasks)

    async def add(self, spec: LaneSpec) -> Lane:
        """Let another model in; it answers everything that was asked so far."""
        lane = Lane(spec)
        self.lanes.append(lane)
        if self.questions:
            await self.weigh()
            self._start([lane])
        return lane

    async def remove(self, lane: Lane) -> None:
        """Stop a lane, and throw it out."""
        self.lanes.remove(lane)
        await self._end(lane)
        await self.weigh()

    async def swap(self, lane: Lane, spec: LaneSpec) -> Lane:
        """Put another model in the place of a lane."""
        place = self.lanes.index(lane)
        added = await self.add(spec)
        self.lanes.remove(added)
        self.lanes.insert(place, added)
        await self.remove(lane)
        return added

    def stop(self, lane: Lane | None = None) -> None:
        """Stop what a lane does, or what all do; what was written stays."""
        for each in self.lanes if lane is None else [lane]:
            each.cancel.set()

    async def close(self) -> None:
        """Stop everything and give the memory back."""
        await asyncio.gather(*map(self._end, self.lanes))

    def divergence(self, lane: Lane) -> int | None:
        """The first token at which the last answer of `lane` leaves that of the reference.

        None where it has not, and where the two do not have the same vocabulary: see `comparable`.
        """
        reference = self.reference
        if reference is None or lane is reference or reference.question != lane.question or not self.comparable(lane):
            return None
        ended = reference.ended and lane.ended
        return first_divergence(reference.tokens, lane.tokens, ended=ended)

    def comparable(self, lane: Lane) -> bool:
        """Whether the tokens of `lane` mean the same as those of the reference."""
        reference = self.reference
        if reference is None or reference.info is None or lane.info is None:
            return False
        return bool(lane.info.vocabulary) and lane.info.vocabulary == reference.info.vocabulary

    async def weigh(self) -> None:
        """Find out whether the models that are not open fit in memory together."""
        closed = [lane for lane in self.lanes if lane.engine is None and not lane.hopeless]
        self.in_turn = not await self._adviser.fit_together([(lane.spec.ref, lane.spec.load) for lane in closed])

    async def _end(self, lane: Lane) -> None:
        lane.cancel.set()
        if lane.task is not None:
            await asyncio.wait([lane.task])
        await self._unload(lane)

    def _start(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            if not lane.running and not lane.hopeless:
                lane.cancel = CancelToken()
                self._set(lane, "waiting")
                lane.task = asyncio.create_task(self._run(lane))

    async def _run(self, lane: Lane) -> None:
        """Answer everything that was asked and that this lane has not answered."""
        try:
            if self.solo or self.in_turn:
                async with self._one_at_a_time:
                    await self._make_room(lane)
                    await self._answer_all(lane)
                    await self._make_room(None)
            else:
                await self._answer_all(lane)
        except CancelledError:
            self._set(lane, "stopped")
        except WorkbenchError as error:
            self._fail(lane, error)
        except Exception as error:
            _logger.exception("A lane of a race failed.")
            self._fail(lane, EngineError(f"The lane failed: {error!r}.", "The log (F12) has the details."))

    async def _make_room(self, lane: Lane | None) -> None:
        """Where the models do not fit together, unload all but `lane`; what writes is left alone."""
        for other in self.lanes if self.in_turn else ():
            if other is not lane and other.state not in ("loading", "writing"):
                await self._unload(other)

    async def _answer_all(self, lane: Lane) -> None:
        if lane.engine is None:
            await self._load(lane)
        while lane.engine is not None and len(lane.answers) < len(self.questions) and not lane.cancel.is_set:
            await self._answer(lane, lane.engine)

    async def _load(self, lane: Lane) -> None:
        self._set(lane, "loading")

        def progress(fraction: float) -> None:
            lane.load_fraction = fraction

        lane.engine = await self._host.open(lane.spec.ref, lane.spec.load, progress, lane.cancel)
        lane.info = lane.engine.info
        if lane.load_ms is None:
            lane.load_ms = lane.info.load_ms
            await self._warm_up(lane, lane.engine)
        self._set(lane, "ready")

    async def _warm_up(self, lane: Lane, engine: Engine) -> None:
        """Compute once, so that the first lane is not the one that reads its weights from the disk."""
        request = Request(prompt=WARM_UP, sampling=Sampling(temperature=0.0, num_predict=1))
        async for _ in engine.generate(request, lane.cancel):
            pass

    async def _answer(self, lane: Lane, engine: Engine) -> None:
        number = len(lane.answers)
        sampling = lane.spec.sampling
        if sampling.seed < 0:
            # One seed for all, so that it is the models that differ and not the dice.
            sampling = replace(sampling, seed=self._seeds[number])
        request = Request(messages=lane.messages(self.questions), sampling=sampling)
        answer = lane.begin(
            Answer(
                Meter(time.perf_counter_ns(), None if number else lane.load_ms, engine.info.measured_by, own_time=True)
            )
        )
        self._set(lane, "writing")
        try:
            async for batch in engine.generate(request, lane.cancel):
                for event in batch:
                    lane.feed(event)
                    self._tell(lane, event)
        except WorkbenchError as error:
            lane.feed(Failed(error, time.perf_counter_ns()))
        except BaseException:
            # An engine that nobody listens to any more must not go on computing.
            lane.cancel.set()
            raise
        outcome = answer.outcome()
        lane.answers.append(LaneAnswer(outcome, tuple(lane.tokens)))
        if outcome.error is not None:
            self._fail(lane, outcome.error)
        else:
            self._set(lane, "stopped" if outcome.reason == "cancelled" else "done")

    async def _unload(self, lane: Lane) -> None:
        engine, lane.engine = lane.engine, None
        if engine is not None:
            await engine.close()

    def _fail(self, lane: Lane, error: WorkbenchError) -> None:
        lane.error = error
        self._set(lane, "failed")

    def _set(self, lane: Lane, state: LaneState) -> None:
        lane.state = state
        self._tell(lane, None)
