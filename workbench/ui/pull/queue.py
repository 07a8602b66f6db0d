"""The queue of downloads: one runs at a time. It holds no widget, and what it has outlasts the program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.core.pulls import PullBook, PullProgress, PullRequest, Pulls


@dataclass(slots=True, eq=False)
class QueuedPull:
    """A download in the queue."""

    request: PullRequest
    state: Literal["waiting", "running", "paused", "done", "failed"] = "waiting"
    progress: PullProgress | None = None
    """The last known one; None before the first."""
    path: str = ""
    """The file to open, once it is done."""
    error: WorkbenchError | None = None
    cancel: CancelToken = field(default_factory=CancelToken)

    @property
    def is_active(self) -> bool:
        """Whether it runs, or will."""
        return self.state in {"waiting", "running"}


class PullQueue:
    """Fetches one model after the other; `on_end` is called with each that is done or has failed."""

    def __init__(self, pulls: Pulls, book: PullBook, on_end: Callable[[QueuedPull], object]) -> None:
        self._pulls = pulls
        self._book = book
        self._on_end = on_end
        self._jobs: list[QueuedPull] = []
        self._is_running = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def jobs(self) -> tuple[QueuedPull, ...]:
        """In the order in which they are fetched."""
        return tuple(self._jobs)

    @property
    def running(self) -> QueuedPull | None:
        return next((job for job in self._jobs if job.state == "running"), None)

    @property
    def waiting(self) -> int:
        """The number of downloads that wait."""
        return sum(job.state == "waiting" for job in self._jobs)

    @property
    def is_busy(self) -> bool:
        return any(job.is_active for job in self._jobs)

    def find(self, ref: str) -> QueuedPull | None:
        """The download of a reference."""
        return next((job for job in self._jobs if job.request.ref == ref), None)

    def add(self, request: PullRequest) -> QueuedPull:
        """Queue a download; one of the same reference that is there goes on instead."""
        job = self.find(request.ref)
        if job is not None and job.state != "done":
            self.go_on(job)
            return job
        if job is not None:
            self._jobs.remove(job)
        job = QueuedPull(request)
        self._jobs.append(job)
        self._keep()
        return job

    def take_over(self, requests: Iterable[PullRequest]) -> None:
        """Queue the downloads that an earlier run of the program left; they wait for the user."""
        self._jobs += [QueuedPull(request, "paused") for request in requests if self.find(request.ref) is None]
        self._keep()

    def _keep(self) -> None:
        self._book.keep([job.request for job in self._jobs if job.state != "done"])

    async def run(self) -> None:
        """Fetch all that wait. A second call while one is running does nothing."""
        if self._is_running:
            return
        self._is_running = True
        self._idle.clear()
        try:
            while (job := next((each for each in self._jobs if each.state == "waiting"), None)) is not None:
                await self._run(job)
        finally:
            self._is_running = False
            self._idle.set()

    async def _run(self, job: QueuedPull) -> None:
        job.state, job.error, job.cancel = "running", None, CancelToken()

        def progress(progress: PullProgress) -> None:
            job.progress = progress

        try:
            job.path = await self._pulls.fetch(job.request, progress, job.cancel)
            job.state = "done"
        except CancelledError:
            # Meanwhile the user may have changed their mind.
            job.state = "paused" if job.state == "running" else job.state
        except WorkbenchError as error:
            job.state, job.error = "failed", error
        finally:
            if job.state == "running":
                # An unexpected error ended it.
                job.state = "paused"
        self._keep()
        if job.state in {"done", "failed"}:
            self._on_end(job)

    def pause(self, job: QueuedPull) -> None:
        """Stop a download for now; what was fetched is kept."""
        if job.state == "running":
            job.cancel.set()
        elif job.state == "waiting":
            job.state = "paused"

    def go_on(self, job: QueuedPull) -> None:
        """Let a download that was paused or has failed wait for its turn; `run` runs it."""
        if job.state in {"paused", "failed"}:
            job.state = "waiting"

    def move(self, job: QueuedPull, step: int) -> None:
        """Move a download up (-1) or down (1) in the order."""
        index = self._jobs.index(job)
        other = max(0, min(len(self._jobs) - 1, index + step))
        self._jobs[index], self._jobs[other] = self._jobs[other], self._jobs[index]
        self._keep()

    def remove(self, job: QueuedPull) -> None:
        """Take a download off the queue; what was fetched stays on disk."""
        if job in self._jobs:
            self.pause(job)
            self._jobs.remove(job)
            self._keep()

    async def shut_down(self) -> None:
        """Stop fetching, and wait until nothing runs; what is not done is kept for the next run of the program."""
        for job in reversed(self._jobs):
            self.pause(job)
        await self._idle.wait()
