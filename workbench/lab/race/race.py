"""A race: one prompt to several models, live and fair.

Lanes answer at the same time, and an engine that steps them in turn lets a lane's clock run only during the lane's own
steps, so that each figure is what the model would have alone. The first lane to be asked changes from question to
question. Models that do not fit in memory together are loaded, asked and unloaded one after the other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from workbench.core.answer import Answer
from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, EngineHost, MemoryAdviser, Request
from workbench.core.errors import CancelledError, EngineError, WorkbenchError
from workbench.core.events import Event, Failed
from workbench.core.metrics import Meter
from workbench.core.origins import Origins, set_names
from workbench.core.parameters import Sampling
from workbench.core.servers import is_server_ref
from workbench.lab.race.divergence import first_divergence
from workbench.lab.race.lane import Lane, LaneAnswer, LaneSpec, LaneState

_logger = logging.getLogger(__name__)

MOST_LANES = 4
WARM_UP = "Hello"
SEEDS = 2**31
"""Seeds are drawn below this."""


class Race:
    """Several lanes that answer the same questions.

    Args:
        lanes: At most `MOST_LANES`; the first is the reference.
        solo: Whether they answer one after the other, even where all fit in memory.
        on_event: Called in the event loop with every event of a lane, and with None for a new state.
    """

    def __init__(
        self,
        host: EngineHost,
        adviser: MemoryAdviser,
        lanes: Sequence[LaneSpec],
        *,
        solo: bool = False,
        on_event: Callable[[Lane, Event | None], None] = lambda _lane, _event: None,
    ) -> None:
        self._host = host
        self._adviser = adviser
        self._on_event = on_event
        self._one_at_a_time = asyncio.Lock()
        self._seeds: list[int] = []
        self._round = 0
        """Counts what was begun: questions, and lanes that joined later."""
        self.lanes = [Lane(spec) for spec in lanes]
        self.questions: list[str] = []
        self.solo = solo
        self.in_turn = False
        """Whether the models do not fit in memory together, and each is unloaded after its answer."""

    @property
    def reference(self) -> Lane | None:
        """The lane that the others are compared with; None without lanes."""
        return self.lanes[0] if self.lanes else None

    @property
    def one_by_one(self) -> bool:
        """Whether lanes answer one after the other: on request, for lack of memory, or because several processes would
        compute on the same cores.
        """
        return self.solo or self.in_turn or self.several_engines

    @property
    def several_engines(self) -> bool:
        """Whether lanes are computed in several processes of this machine."""
        return len({lane.spec.load.engine_host for lane in self.lanes if not is_server_ref(lane.spec.ref)}) > 1

    @property
    def running(self) -> bool:
        """Whether any lane runs."""
        return any(lane.running for lane in self.lanes)

    async def open(self) -> None:
        """Load the models, where they fit together. A lane that cannot be opened fails; the others continue."""
        await self.weigh()
        if not self.in_turn:
            self._start(self.lanes)
        await self.finished()

    def ask(self, question: str) -> None:
        """Ask all lanes a question; `finished` waits for their answers."""
        self._seeds.append(random.randrange(SEEDS))
        self._round += 1
        first = len(self.questions) % max(1, len(self.lanes))
        self.questions.append(question)
        self._start([*self.lanes[first:], *self.lanes[:first]])

    async def finished(self) -> None:
        """Wait until no lane runs."""
        while tasks := [lane.task for lane in self.lanes if lane.task is not None and lane.running]:
            await asyncio.wait(tasks)

    async def add(self, spec: LaneSpec) -> Lane:
        """Add a lane; it answers all questions so far."""
        lane = Lane(spec)
        self.lanes.append(lane)
        if self.questions:
            await self.weigh()
            self._round += 1
            self._start([lane])
        return lane

    async def remove(self, lane: Lane) -> None:
        """Stop and remove a lane."""
        self.lanes.remove(lane)
        await self._end(lane)
        await self.weigh()

    async def swap(self, lane: Lane, spec: LaneSpec) -> Lane:
        """Replace a lane."""
        place = self.lanes.index(lane)
        added = await self.add(spec)
        self.lanes.remove(added)
        self.lanes.insert(place, added)
        await self.remove(lane)
        return added

    def set_sampling(self, sampling: Sampling, origins: Origins) -> None:
        """Use other sampling parameters from the next question on, except in lanes with their own."""
        for lane in self.lanes:
            if not lane.spec.own_sampling:
                lane.spec = replace(lane.spec, sampling=sampling, origins=origins).keeping(lane.spec.kept)

    def stop(self, lane: Lane | None = None) -> None:
        """Stop a lane, or all; what they have written stays."""
        for each in self.lanes if lane is None else [lane]:
            each.cancel.set()

    def end_thoughts(self, lane: Lane | None = None) -> list[Lane]:
        """End the thoughts of a lane, or of all, where its engine can. Returns the lanes that were told to."""
        told = [
            each
            for each in (self.lanes if lane is None else [lane])
            if each.engine is not None
            and each.engine.capabilities.answer_now
            and each.state == "writing"
            and each.answer is not None
            and not each.answer.has_answer
        ]
        for each in told:
            each.answer_now.set()
        return told

    async def close(self) -> None:
        """Stop everything and release the memory."""
        await asyncio.gather(*map(self._end, self.lanes))

    def divergence(self, lane: Lane) -> int | None:
        """The index of the first token of `lane`'s last answer that differs from the reference's.

        None where none does, and where the two have different vocabularies: see `comparable`.
        """
        reference = self.reference
        if reference is None or lane is reference or reference.question != lane.question or not self.comparable(lane):
            return None
        ended = reference.ended and lane.ended
        return first_divergence(reference.tokens, lane.tokens, ended=ended)

    def comparable(self, lane: Lane) -> bool:
        """Whether `lane` is known to have the vocabulary of the reference."""
        return len(self._vocabularies(lane)) == 1

    def differs_in_vocabulary(self, lane: Lane) -> bool:
        """Whether `lane` is known to have another vocabulary than the reference; servers do not say theirs."""
        return len(self._vocabularies(lane)) == 2

    def _vocabularies(self, lane: Lane) -> set[str]:
        """The vocabularies of `lane` and the reference; empty where one of them is unknown."""
        infos = [each.info for each in (lane, self.reference) if each is not None and each.info is not None]
        known = {info.vocabulary for info in infos}
        return known if len(infos) == 2 and "" not in known else set()

    async def weigh(self) -> None:
        """Determine whether the models that are not open yet fit in memory together."""
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
                lane.round = 0 if self.one_by_one else self._round
                self._set(lane, "waiting")
                lane.task = asyncio.create_task(self._run(lane))

    async def _run(self, lane: Lane) -> None:
        """Answer all questions that this lane has not answered."""
        try:
            if self.one_by_one:
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
        """Where the models do not fit together, unload all but `lane` and those that write."""
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
            # So that no lane reads its weights from the disk while it is timed.
            request = Request(prompt=WARM_UP, sampling=Sampling(temperature=0.0, num_predict=1))
            async for _ in lane.engine.generate(request, lane.cancel):
                pass
        self._set(lane, "ready")

    async def _answer(self, lane: Lane, engine: Engine) -> None:
        number = len(lane.answers)
        sampling = lane.sampling
        if sampling.seed < 0:
            # All lanes get the same seed, so that only the models differ.
            sampling = replace(sampling, seed=self._seeds[number])
        request = Request(
            messages=lane.messages(self.questions), sampling=sampling, given=set_names(lane.origins), timed=True
        )
        lane.answer_now = CancelToken()
        request = replace(request, answer_now=lane.answer_now)
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
                    self._on_event(lane, event)
        except WorkbenchError as error:
            lane.feed(Failed(error, time.perf_counter_ns()))
        except BaseException:
            # An engine without a listener must not continue to compute.
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
        self._on_event(lane, None)
