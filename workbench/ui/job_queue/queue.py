"""A queue of long work, which goes on while the user is on any screen: one job runs at a time. It holds no widget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, WorkbenchError


class Fraction(Protocol):
    """How far a job is."""

    @property
    def fraction(self) -> float:
        """The share that is done, from 0 to 1."""


WorkT = TypeVar("WorkT")
ProgressT = TypeVar("ProgressT", bound=Fraction)
ResultT = TypeVar("ResultT")


@dataclass(slots=True, eq=False)
class QueuedJob(Generic[WorkT, ProgressT, ResultT]):
    """A job in the queue."""

    work: WorkT
    label: str
    """The name of what it makes."""
    state: Literal["waiting", "running", "stopped", "done", "failed"] = "waiting"
    progress: ProgressT | None = None
    """The last known one; None before the first."""
    result: ResultT | None = None
    error: WorkbenchError | None = None
    cancel: CancelToken = field(default_factory=CancelToken)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_active(self) -> bool:
        """Whether it runs, or will."""
        return self.state in {"waiting", "running"}


class JobQueue(Generic[WorkT, ProgressT, ResultT]):
    """Runs one job after the other.

    Args:
        perform: Does the work. It takes a callback for its progress, and raises `CancelledError` once the token is set.
        on_end: Called with each job that is done, has failed or was stopped.
        on_change: Called when a job comes, goes, ends or changes its place.
    """

    def __init__(
        self,
        perform: Callable[[WorkT, Callable[[ProgressT], None], CancelToken], Awaitable[ResultT]],
        on_end: Callable[[QueuedJob[WorkT, ProgressT, ResultT]], object],
        on_change: Callable[[tuple[QueuedJob[WorkT, ProgressT, ResultT], ...]], object] = lambda _: None,
    ) -> None:
        self._perform = perform
        self._on_end = on_end
        self._on_change = on_change
        self._jobs: list[QueuedJob[WorkT, ProgressT, ResultT]] = []
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def jobs(self) -> tuple[QueuedJob[WorkT, ProgressT, ResultT], ...]:
        """In the order in which they run."""
        return tuple(self._jobs)

    @property
    def running(self) -> QueuedJob[WorkT, ProgressT, ResultT] | None:
        return next((job for job in self._jobs if job.state == "running"), None)

    @property
    def waiting(self) -> int:
        """The number of jobs that wait."""
        return sum(job.state == "waiting" for job in self._jobs)

    @property
    def is_busy(self) -> bool:
        return any(job.is_active for job in self._jobs)

    def add(self, *jobs: QueuedJob[WorkT, ProgressT, ResultT]) -> None:
        """Add jobs at the end; `run` runs those that wait."""
        self._jobs += jobs
        self._on_change(self.jobs)

    async def run(self) -> None:
        """Run all jobs that wait. A second call while one is running does nothing."""
        if not self._idle.is_set():
            return
        self._idle.clear()
        try:
            while (job := next((each for each in self._jobs if each.state == "waiting"), None)) is not None:
                await self._run(job)
        except Exception:
            # Nothing runs those that wait, and somebody may wait for their end.
            for job in self._jobs:
                if job.state == "waiting":
                    job.state = "stopped"
                    job.ended.set()
            raise
        finally:
            self._idle.set()

    async def _run(self, job: QueuedJob[WorkT, ProgressT, ResultT]) -> None:
        job.state, job.error, job.cancel = "running", None, CancelToken()

        def progress(progress: ProgressT) -> None:
            job.progress = progress

        try:
            job.result = await self._perform(job.work, progress, job.cancel)
            job.state = "done"
        except CancelledError:
            job.state = "stopped"
        except WorkbenchError as error:
            job.state, job.error = "failed", error
        finally:
            if job.state == "running":
                # An unexpected error ended it.
                job.state = "stopped"
            job.ended.set()
        self._on_change(self.jobs)
        self._on_end(job)

    def stop(self, job: QueuedJob[WorkT, ProgressT, ResultT]) -> None:
        """Stop a job that runs, or one that waits."""
        if job.state == "running":
            job.cancel.set()
        elif job.state == "waiting":
            job.state = "stopped"
            job.ended.set()
            self._on_end(job)

    def resume(self, job: QueuedJob[WorkT, ProgressT, ResultT]) -> None:
        """Let a job that was stopped or has failed wait for its turn; `run` runs it."""
        if job.state in {"stopped", "failed"}:
            job.state = "waiting"
            job.ended.clear()

    def move(self, job: QueuedJob[WorkT, ProgressT, ResultT], step: int) -> None:
        """Move a job up (-1) or down (1) in the order."""
        index = self._jobs.index(job)
        other = max(0, min(len(self._jobs) - 1, index + step))
        self._jobs[index], self._jobs[other] = self._jobs[other], self._jobs[index]
        self._on_change(self.jobs)

    def remove(self, job: QueuedJob[WorkT, ProgressT, ResultT]) -> None:
        """Stop a job, and take it off the queue."""
        if job in self._jobs:
            self.stop(job)
            self._jobs.remove(job)
            self._on_change(self.jobs)

    async def shut_down(self) -> None:
        """Stop all jobs, and wait until none runs."""
        for job in reversed(self._jobs):
            self.stop(job)
        await self._idle.wait()
