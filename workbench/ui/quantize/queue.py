"""The queue of quantizations: one runs at a time. It holds no widget, and lives as long as the program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, QuantizeError, TargetError, WorkbenchError
from workbench.gguf.model_files import ModelFiles
from workbench.gguf.quantization import QuantizeJob, QuantizeProgress, QuantizeResult


@dataclass(slots=True, eq=False)
class QueuedJob:
    """A quantization in the queue."""

    job: QuantizeJob
    model: str
    """The name of the model."""
    state: Literal["waiting", "running", "done", "stopped", "failed"] = "waiting"
    progress: QuantizeProgress | None = None
    """None before its first tensor."""
    result: QuantizeResult | None = None
    error: WorkbenchError | None = None
    cancel: CancelToken = field(default_factory=CancelToken)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def label(self) -> str:
        """The label of the model that it makes."""
        return f"{self.model} {self.job.kind.name}"

    @property
    def is_over(self) -> bool:
        return self.state in {"done", "stopped", "failed"}


class QuantizeQueue:
    """Runs one quantization after the other, and calls `on_end` with each that has ended."""

    def __init__(self, files: ModelFiles, on_end: Callable[[QueuedJob], None]) -> None:
        self._files = files
        self._on_end = on_end
        self._jobs: list[QueuedJob] = []
        self._is_running = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def jobs(self) -> tuple[QueuedJob, ...]:
        return tuple(self._jobs)

    @property
    def running(self) -> QueuedJob | None:
        return next((job for job in self._jobs if job.state == "running"), None)

    @property
    def waiting(self) -> int:
        """The number of jobs that wait."""
        return sum(job.state == "waiting" for job in self._jobs)

    @property
    def is_busy(self) -> bool:
        return any(not job.is_over for job in self._jobs)

    def add(self, job: QuantizeJob, model: str) -> QueuedJob:
        """Add a job, which `run` runs.

        Raises:
            TargetError: A job that waits or runs has the same target file.
        """
        if any(each.job.target == job.target and not each.is_over for each in self._jobs):
            raise TargetError(f"{job.target}: this file is being made already.", "Name another one.")
        queued = QueuedJob(job, model)
        self._jobs.append(queued)
        self._idle.clear()
        return queued

    async def run(self) -> None:
        """Run all jobs that wait. A second call while one is running does nothing."""
        if self._is_running:
            return
        self._is_running = True
        try:
            while (queued := next((each for each in self._jobs if each.state == "waiting"), None)) is not None:
                await self._run(queued)
        finally:
            self._is_running = False
            self._note_idle()

    async def _run(self, queued: QueuedJob) -> None:
        queued.state = "running"

        def progress(progress: QuantizeProgress) -> None:
            queued.progress = progress

        try:
            queued.result = await self._files.quantize(queued.job, progress, queued.cancel)
            queued.state = "done"
        except CancelledError:
            queued.state = "stopped"
        except WorkbenchError as error:
            queued.state, queued.error = "failed", error
        except OSError as error:
            queued.state = "failed"
            queued.error = QuantizeError(f"{queued.job.target}: {error.strerror or error}.", "Try another place.")
        finally:
            if queued.state == "running":
                # An unexpected error ended it: it is not running any more.
                queued.state = "stopped"
            queued.ended.set()
        self._on_end(queued)

    def _note_idle(self) -> None:
        if not self.is_busy:
            self._idle.set()

    def stop(self, queued: QueuedJob) -> None:
        """Stop a job that runs, or withdraw one that waits. It leaves no file behind."""
        if queued.state == "waiting":
            queued.state = "stopped"
            queued.ended.set()
            self._on_end(queued)
            self._note_idle()
        elif queued.state == "running":
            queued.cancel.set()

    def forget(self, queued: QueuedJob) -> None:
        if queued.is_over and queued in self._jobs:
            self._jobs.remove(queued)

    async def shut_down(self) -> None:
        """Stop all jobs, and wait until none runs."""
        for queued in reversed(self._jobs):
            self.stop(queued)
        await self._idle.wait()
