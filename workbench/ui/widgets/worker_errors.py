"""Workers: one at a time that is waited for at the end, and the report of an unexpected error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Protocol

from textual.dom import DOMNode
from textual.worker import Worker, WorkerFailed, WorkerState

_log = logging.getLogger("workbench.screen")


def report_worker_error(event: Worker.StateChanged, show: Callable[[str], object]) -> None:
    """Log the error of a worker that has failed, and call `show` with a sentence; ignore other state changes."""
    if event.state is WorkerState.ERROR and (error := event.worker.error) is not None:
        _log.error("%s failed", event.worker.description, exc_info=error)
        what = f"{event.worker.description} failed: {type(error).__name__}"
        show(f"Unexpected error: {what}. The log has the details.")


class Stops(Protocol):
    """What can be stopped."""

    def stop(self) -> None:
        """End it soon."""


class WorkerHandle:
    """The one worker of a measurement."""

    def __init__(self, host: DOMNode, description: str) -> None:
        self._host = host
        self._description = description
        self._worker: Worker[None] | None = None

    @property
    def running(self) -> bool:
        return self._worker is not None and self._worker.is_running

    def start(self, work: Coroutine[None, None, None]) -> None:
        what = self._description
        self._worker = self._host.run_worker(work, group=what, exit_on_error=False, description=what)

    async def end(self, job: Stops | None) -> None:
        """Stop the job that it runs, and wait until it has ended, however that is."""
        if self._worker is not None and self.running:
            if job is not None:
                job.stop()
            with suppress(WorkerFailed):
                await self._worker.wait()
