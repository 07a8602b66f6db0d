"""The answers of one model, computed together: they join and leave while others run (continuous batching).

One step computes the next token of every answer, and with the room that is left in the batch the prompts of those that
have just come. Alone, an answer is computed as fast as without all of this.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator

from workbench.core.errors import WorkbenchError
from workbench.engine.llama.model import Model
from workbench.engine.llama.runtime import STEP_NS, WAIT_S, Clock, Job, JobLine, Runtime, Step
from workbench.engine.llama.slot import Aborted, Part

AnswerSteps = Generator[Part | None, None, None]
"""An answer: it yields what is to be computed next, or None in a step that computes nothing."""

SHARED_STEP_NS = 100_000_000
"""The target duration of one step of prefill while others are written, whose next token waits for it."""
PREPARING_NS = 50_000_000
"""How long the answers of a step may prepare their prompts, so that those that come together are computed together."""

_logger = logging.getLogger(__name__)


class BatchedAnswer:
    """One answer among those that a job computes, and its clock, which begins with it."""

    def __init__(self, steps: Callable[[Clock], AnswerSteps], *, background: bool = False) -> None:
        self._make = steps
        self.background = background
        """Whether it leaves a slot, and the room for prompts, to others."""
        self._generator: AnswerSteps | None = None
        self._job: Clock | None = None
        self._start_ns = 0
        self.part: Part | None = None
        """What it wants to be computed."""
        self.alone = True
        self.gives_way = False

    @property
    def patience_s(self) -> float:
        """See `Clock`."""
        return WAIT_S if self.alone else 0.0

    @property
    def step_ns(self) -> int:
        """See `Clock`."""
        return STEP_NS if self.alone else SHARED_STEP_NS

    def lane_ns(self, now_ns: int) -> int:
        """See `Clock`."""
        return 0 if self._job is None else self._job.lane_ns(now_ns) - self._start_ns

    @property
    def wanted(self) -> int:
        """The number of tokens that it wants to be computed."""
        return 0 if self.part is None else len(self.part[1])

    def begin(self, job: Clock) -> None:
        """Start the clock with this step of `job`."""
        self._job, self._start_ns = job, job.lane_ns(time.perf_counter_ns())
        self._generator = self._make(self)

    def advance(self, error: Exception | None = None) -> bool:
        """Go on until it wants something computed, with the error of the last computation; False at its end."""
        assert self._generator is not None
        self.gives_way = False
        try:
            self.part = self._generator.throw(error) if error else next(self._generator)
        except StopIteration:
            return False
        except Exception:
            _logger.exception("An answer failed.")
            return False
        return True

    def prepare(self, until_ns: int) -> bool:
        """Go on until it wants something computed, waits for another thread, or the time has come; False at its end."""
        while self.part is None:
            if not self.advance():
                return False
            if self.gives_way or time.perf_counter_ns() >= until_ns:
                break
        return True

    def alone_steps(self, job: Job) -> Step:
        """The steps of an answer that was cancelled while it waited: it computes nothing."""
        self.begin(job)
        while self.advance():
            job.gives_way = self.gives_way
            yield


class Round:
    """Answers that one job computes until the last one ends. Lanes may be added from any thread."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._waiting: deque[BatchedAnswer] = deque()
        self._active: list[BatchedAnswer] = []
        self._admitted = 0
        """How many were active at the last look at those that wait."""
        self._ended = False

    def add(self, lane: BatchedAnswer) -> bool:
        """Add an answer; False where the round has ended."""
        with self._lock:
            if not self._ended:
                later = (index for index, each in enumerate(self._waiting) if each.background and not lane.background)
                self._waiting.insert(next(later, len(self._waiting)), lane)
            return not self._ended

    def withdraw(self, lane: BatchedAnswer) -> bool:
        """Take an answer back that still waits; False where it does not."""
        with self._lock:
            if lane not in self._waiting:
                return False
            self._waiting.remove(lane)
            return True

    def runs(self, lane: BatchedAnswer) -> bool:
        """Whether the answer has begun and not ended."""
        return lane in self._active

    def steps(self, job: Job) -> Step:
        """Compute all answers."""
        while self._admit(job):
            self._prepare(job)
            if chosen := self._fitting():
                self._compute(chosen)
            else:
                job.gives_way = all(lane.gives_way for lane in self._active)
            yield

    def _prepare(self, job: Job) -> None:
        """Prepare the prompts of this step, and of answers that come meanwhile."""
        until_ns, begun = time.perf_counter_ns() + PREPARING_NS, 0
        while len(self._active) > begun:
            begun = len(self._active)
            for lane in tuple(self._active):
                if not lane.prepare(until_ns):
                    self._active.remove(lane)
                    begun -= 1
            if self._waiting and time.perf_counter_ns() < until_ns:
                self._admit(job)

    def _admit(self, job: Job) -> bool:
        """Begin the answers that there are slots for; False where none is left, which ends the round."""
        # Once a token: nobody has come or gone.
        if not self._waiting and self._active and len(self._active) == self._admitted:
            return True
        with self._lock:
            new: list[BatchedAnswer] = []
            while self._waiting and self._has_slot([*self._active, *new]):
                new.append(self._waiting.popleft())
            self._ended = not self._active and not new
        for lane in new:
            lane.begin(job)
        self._active += new
        self._admitted = len(self._active)
        for lane in self._active:
            lane.alone = self._admitted == 1
        return not self._ended

    def _has_slot(self, begun: list[BatchedAnswer]) -> bool:
        """Whether the first that waits can begin. Those of the background leave one slot free, where there are two."""
        slots = len(self._model.slots)
        if self._waiting[0].background and slots > 1 and sum(each.background for each in begun) >= slots - 1:
            return False
        return len(begun) < slots

    def _fitting(self) -> list[tuple[BatchedAnswer, Part]]:
        """What fits in one batch: next tokens before prompts, of which the last may get a part of what it wants.

        Prompts of the background wait while another one is computed.
        """
        room, found = self._model.step_tokens, []
        ready = [lane for lane in self._active if lane.part is not None]
        if len(ready) == 1 and ready[0].wanted <= room and ready[0].part is not None:
            return [(ready[0], ready[0].part)]
        held = any(lane.wanted > 1 and not lane.background for lane in ready)
        for lane in sorted(ready, key=lambda each: each.wanted):
            assert lane.part is not None
            slot, tokens = lane.part
            if not room:
                break
            if held and lane.background and len(tokens) > 1:
                continue
            found.append((lane, (slot, tokens[:room])))
            room -= min(room, len(tokens))
        return found

    def _compute(self, chosen: list[tuple[BatchedAnswer, Part]]) -> None:
        error: Exception | None = None
        try:
            self._model.compute([part for _, part in chosen])
        except (Aborted, WorkbenchError) as problem:
            error = problem
        # Each samples from the logits of this batch, before the next one is computed.
        for lane, _ in chosen:
            if not lane.advance(error):
                self._active.remove(lane)


class AnswerLine:
    """Answers of one model: computed together, in a line with its other work, which runs alone.

    All methods may be called from any thread.
    """

    def __init__(self, runtime: Runtime, line: JobLine, model: Model) -> None:
        self._runtime = runtime
        self._line = line
        self._model = model
        self._lock = threading.Lock()
        self._round: tuple[Round, Job] | None = None

    def submit(self, steps: Callable[[Clock], AnswerSteps], *, background: bool = False) -> BatchedAnswer:
        """Add an answer to those that are computed, or to the end of the line where other work waits."""
        lane = BatchedAnswer(steps, background=background)
        with self._lock:
            if self._round is None or not self._line.is_last(self._round[1]) or not self._round[0].add(lane):
                new = Round(self._model)
                new.add(lane)
                self._round = new, self._line.submit(new.steps)
        return lane

    def interrupt(self, lane: BatchedAnswer) -> None:
        """Hurry an answer that was cancelled: end the step that runs, or let it end before its turn."""
        with self._lock:
            rounds = self._round
        if rounds is None:
            return
        if rounds[0].withdraw(lane):
            self._runtime.submit(Job(lane.alone_steps))
        elif rounds[0].runs(lane) and self._line.is_first(rounds[1]):
            self._model.abort()
