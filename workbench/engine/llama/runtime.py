"""The one thread that owns llama.cpp, and the jobs that it steps in turn.

Only this thread touches native objects, and only it computes: the CPU backend's worker team belongs to the thread that
calls it, and a second team would make both slower for the rest of the process. A piece of work is a generator that does
one native step each time it is advanced; the thread goes round the active ones, so that several answers are generated
at once and each keeps its speed. A job's clock runs only while its own step runs.

A turn is as many steps as fit in `TURN_NS`: the first step after another model's finds none of its weights in the
processor's cache. With one token a turn, SmolLM2-135M in Q4_K_M kept 89 % of its speed among three; the later tokens of
a turn have full speed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from workbench.core.cancel import CancelToken

if TYPE_CHECKING:
    from workbench.engine.llama.plan import Machine

Result = TypeVar("Result")

_logger = logging.getLogger(__name__)

SWITCH_INTERVAL_S = float(os.environ.get("WORKBENCH_SWITCH_INTERVAL", "0.0005"))
"""How long another thread may keep the interpreter lock that llama.cpp's thread waits for; Python's default is 5 ms.

The variable exists so that a benchmark can show the difference.
"""

TURN_NS = 40_000_000
"""How long a job keeps its turn, in its own time; one step of a slow model may take longer."""

TUI_NICENESS = 2
"""The nice value of the thread and its workers while the TUI runs, which has to respond to keys.

A higher one would respond a little sooner, and leave more of the processor to every other program that computes.
"""

STACK_BYTES = 256 * 2**20
"""Stack of the thread, of which only used pages take memory: llama.cpp's tokenizers recurse deeply.

A system that refuses this much gives a quarter of it, or else its default.
"""

WAIT_S = 0.005
"""How long one step waits for work in another thread."""

STEP_NS = 500_000_000
"""The target duration of one step of prefill."""

Step = Generator[None, None, None]


class Clock(Protocol):
    """What a piece of work knows of the job that it belongs to."""

    gives_way: bool
    """Set in a step that only waited."""

    @property
    def patience_s(self) -> float:
        """How long one step may wait for work in another thread."""

    @property
    def step_ns(self) -> int:
        """The target duration of one step of prefill, so that progress shows and other answers get their turn."""

    def lane_ns(self, now_ns: int) -> int:
        """The duration of the work's own steps until `now_ns` (`time.perf_counter_ns`), in nanoseconds."""


class Job:
    """Work that is done step by step in the runtime's thread, where `steps` is called for the generator to advance."""

    def __init__(self, steps: Callable[[Job], Step]) -> None:
        self._steps = steps
        self._generator: Step | None = None
        self._busy_ns = 0
        self._step_began_ns: int | None = None
        self.gives_way = False
        """Set in a step that only waited: the turn ends with it."""

    patience_s = WAIT_S
    step_ns = STEP_NS

    @property
    def busy_ns(self) -> int:
        """The duration of the completed steps, in nanoseconds."""
        return self._busy_ns

    def lane_ns(self, now_ns: int) -> int:
        """The duration of this job's own steps until `now_ns` (`time.perf_counter_ns`), in nanoseconds."""
        running = 0 if self._step_began_ns is None else now_ns - self._step_began_ns
        return self._busy_ns + running

    def advance(self) -> bool:
        """Do one step; False when it was the last."""
        self._step_began_ns = time.perf_counter_ns()
        self.gives_way = False
        try:
            if self._generator is None:
                self._generator = self._steps(self)
            next(self._generator)
        except StopIteration:
            return False
        finally:
            self._busy_ns += time.perf_counter_ns() - self._step_began_ns
            self._step_began_ns = None
        return True


class Runtime:
    """The thread. It lives as long as the program.

    An exception that a job raises is logged, and the job is dropped; jobs are expected to handle their own. After
    `turn_ns` of one job it is the turn of the next.
    """

    def __init__(self, turn_ns: int = TURN_NS) -> None:
        self._turn_ns = turn_ns
        self.niceness = 0
        """What is added to the nice value of the thread."""
        self._inbox: queue.SimpleQueue[Callable[[], object] | Job] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()

    def step_back(self, niceness: int = TUI_NICENESS) -> None:
        """Lower the priority of the thread; to be called before the first work.

        The workers of the CPU backend are started by this thread and inherit its niceness. Only Linux has a niceness
        of single threads; elsewhere nothing changes.
        """
        if sys.platform == "linux":
            self.niceness = niceness

    def submit(self, work: Job | Callable[[], object]) -> None:
        """Add a job to the round, or a function to run once between steps; from any thread."""
        self._ensure_started()
        self._inbox.put(work)

    def call(self, function: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Run `function` once in the thread, between steps."""
        future: Future[Result] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                future.set_exception(error)

        self.submit(run)
        return future

    async def do(self, function: Callable[..., Result], *arguments: object) -> Result:
        """`call`, awaited. Where the task is cancelled meanwhile, the function runs all the same."""
        return await outcome(self.call(function, *arguments))

    async def load(
        self, load: Callable[[], Result], discard: Callable[[Result], object], cancel: CancelToken
    ) -> Result:
        """`do` for a function that `cancel` stops; the result of a cancelled task is passed to `discard`."""
        loading = self.call(load)

        def discard_result(done: Future[Result]) -> None:
            if done.exception() is None:
                self.submit(partial(discard, done.result()))

        try:
            return await outcome(loading)
        except asyncio.CancelledError:
            cancel.set()
            loading.add_done_callback(discard_result)
            raise

    async def run(self, work: Callable[[Job], Generator[None, None, Result]], line: JobLine | None = None) -> Result:
        """Do a job step by step, after the others in `line`; returns the result of its generator."""
        future: Future[Result] = Future()

        def steps(job: Job) -> Step:
            try:
                future.set_result((yield from work(job)))
            except Exception as error:  # noqa: BLE001 - the caller gets it
                future.set_exception(error)

        if line is None:
            self.submit(Job(steps))
        else:
            line.submit(steps)
        return await outcome(future)

    def _ensure_started(self) -> None:
        with self._start_lock:
            if self._thread is None:
                sys.setswitchinterval(SWITCH_INTERVAL_S)
                self._thread = self._start()

    def _start(self) -> threading.Thread:
        default = threading.stack_size()
        try:
            for size in (STACK_BYTES, STACK_BYTES // 4):
                with suppress(RuntimeError, ValueError):
                    threading.stack_size(size)
                    return self._new_thread()
        finally:
            threading.stack_size(default)
        return self._new_thread()

    def _new_thread(self) -> threading.Thread:
        # A daemon: a native call that never returns must not keep the program from ending.
        thread = threading.Thread(target=self._run, name="llama.cpp", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        if self.niceness:
            os.nice(self.niceness)
        jobs: deque[Job] = deque()
        turn_end_ns: int | None = None
        # The reading of the first job's clock at which its turn ends; None before its turn.
        while True:
            if not jobs or not self._inbox.empty():
                work = self._inbox.get()
                if isinstance(work, Job):
                    jobs.append(work)
                else:
                    self._guard(work)
                continue
            job = jobs[0]
            turn_end_ns = turn_end_ns or job.busy_ns + self._turn_ns
            more = self._guard(job.advance)
            if not more or job.gives_way or job.busy_ns >= turn_end_ns:
                jobs.popleft()
                jobs.extend([job] if more else [])
                turn_end_ns = None

    def _guard(self, work: Callable[[], Result]) -> Result | None:
        try:
            return work()
        except Exception:
            _logger.exception("Work in llama.cpp's thread failed.")
            return None


async def outcome(future: Future[Result]) -> Result:
    """The result of work that goes on where the task that waits is cancelled."""
    waiting = asyncio.wrap_future(future)
    # Otherwise asyncio reports an error that comes after the cancelled task has gone.
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(waiting)


class JobLine:
    """Jobs of which the runtime has only the first: one at a time runs, and the others cost nothing.

    All methods may be called from any thread.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._jobs: deque[Job] = deque()

    def submit(self, steps: Callable[[Job], Step]) -> Job:
        """Add a job to the end."""

        def then_the_next(job: Job) -> Step:
            try:
                yield from steps(job)
            finally:
                self._leave(job)

        job = Job(then_the_next)
        with self._lock:
            self._jobs.append(job)
            first = len(self._jobs) == 1
        if first:
            self._runtime.submit(job)
        return job

    def is_first(self, job: Job) -> bool:
        """Whether it is the turn of this job."""
        with self._lock:
            return bool(self._jobs) and self._jobs[0] is job

    def is_last(self, job: Job) -> bool:
        """Whether no other job waits for this one to end."""
        with self._lock:
            return bool(self._jobs) and self._jobs[-1] is job

    def _leave(self, job: Job) -> None:
        with self._lock:
            if not self._jobs or job is not self._jobs[0]:
                return
            self._jobs.popleft()
            following = self._jobs[0] if self._jobs else None
        if following is not None:
            self._runtime.submit(following)


shared_runtime = Runtime()
"""The one runtime of the process. It starts with the first work that it is given."""


async def current_machine() -> Machine:
    """The machine as it is now, asked in the thread between two steps. The first time, this loads llama.cpp."""

    def look() -> Machine:
        from workbench.engine.llama.devices import look_at_machine

        return look_at_machine()

    return await shared_runtime.do(look)


def wait_for(job: Clock, work: Callable[[], Result]) -> Generator[None, None, Result]:
    """Do `work`, which touches nothing of llama.cpp, in a thread of its own, while other answers are computed."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            future.set_exception(error)

    threading.Thread(target=run, name="preparation", daemon=True).start()
    while not wait([future], job.patience_s).done:
        job.gives_way = True
        yield
    return future.result()
