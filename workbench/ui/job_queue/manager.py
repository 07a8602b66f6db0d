"""Runs the jobs of a queue while the user is on any screen: shows their progress, and reports each that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol

from textual.app import App
from textual.content import Content
from textual.notifications import SeverityLevel

from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.job_queue.queue import JobQueue, ProgressT, QueuedJob, ResultT, WorkT
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.services import Services
from workbench.ui.widgets.job_bar import LOOK_SECONDS, show_bar
from workbench.ui.widgets.library_watch import search_again

LEAVE_SECONDS = 5.0
"""How long quitting waits for a job to stop."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """The words for one kind of work."""

    name: str
    """Of its workers and its bar, and in the log."""
    noun: str
    action: str
    """The action of the program that shows all jobs."""
    made: str
    """What happens to a model, such as `fetched`."""
    quitting: str
    """What quitting does to the job that runs; a sentence."""


class JobFace(Protocol):
    """What shows the jobs of one kind."""

    def line(self, width: int) -> Content | None:
        """The row of the bar; None for none."""

    def is_shown(self) -> bool:
        """Whether all jobs are on the screen now: they are not reported then."""

    def look(self) -> None:
        """Draw all jobs again, where they are on the screen."""


class JobManager(Generic[WorkT, ProgressT, ResultT]):
    """Runs the jobs of a program that are of one kind."""

    def __init__(
        self,
        app: App[None],
        services: Services,
        kind: JobKind,
        queue: JobQueue[WorkT, ProgressT, ResultT],
        face: JobFace,
    ) -> None:
        self._app, self._services = app, services
        self._kind, self._queue, self._face = kind, queue, face
        self._timer = app.set_interval(LOOK_SECONDS, self.look, pause=True)
        self._is_asking = False

    def run(self) -> None:
        """Run all jobs that wait."""
        kind = self._kind
        self._app.run_worker(self._queue.run(), group=kind.name, exit_on_error=False, description=kind.noun)
        self._timer.resume()
        self.look()

    def look(self) -> None:
        """Show the progress on the current screen."""
        show_bar(self._app, self._kind.name, self._face.line, self._kind.action)
        self._face.look()
        if not self._queue.is_busy:
            self._timer.pause()

    def report(self, job: QueuedJob[WorkT, ProgressT, ResultT], ready: str) -> None:
        """Report a job that has ended, and have the model found that it made; `ready` is empty to say nothing."""
        if job.state == "done":
            if ready:
                self.notify(ready, f"{job.label} is ready", 8)
            searching = search_again(self._app, self._services.catalog)
            self._app.run_worker(searching, group="library", exit_on_error=False, description="look for models")
        elif job.error is not None:
            self._services.logs.add("error", self._kind.name, str(job.error))
            self.notify(str(job.error), f"{job.label} could not be {self._kind.made}", 12, is_error=True)
        self.look()

    def notify(self, text: str, title: str, seconds: float = 6, *, is_error: bool = False) -> None:
        """Show a notice, where the jobs are not shown."""
        if not self._face.is_shown():
            severity: SeverityLevel = "error" if is_error else "information"
            self._app.notify(clean_line(text), title=clean_line(title), severity=severity, timeout=seconds)

    # Quitting

    def ask_to_leave(self, leave: Callable[[], None]) -> bool:
        """Ask before quitting stops a job; `leave` is called if the user agrees.

        Returns whether the user is asked: not again while the question is on the screen.
        """
        if not self._queue.is_busy or self._is_asking:
            return False
        self._is_asking = True

        def answered(agreed: bool | None) -> None:
            self._is_asking = bool(agreed)
            if agreed:
                leave()

        kind, job, waiting = self._kind, self._queue.running, self._queue.waiting
        name = f"A {kind.noun} waits"
        if job is not None:
            state = f"is at {100 * job.progress.fraction:.0f} %" if job.progress else "has just begun"
            name = f"{clean_line(job.label)} {state}"
        more = f" {waiting} more would not be {kind.made}." if waiting else ""
        text = f"{name}. {kind.quitting}{more}"
        self._app.push_screen(ConfirmDialog(f"A {kind.noun} is running", text, "quits"), answered)
        return True

    async def close(self) -> None:
        """Stop all jobs."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._queue.shut_down(), LEAVE_SECONDS)
