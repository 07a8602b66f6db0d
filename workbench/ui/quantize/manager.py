"""Runs quantizations while the user is on any screen: shows their progress, and reports each that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from textual.app import App
from textual.content import Content
from textual.notifications import SeverityLevel

from workbench.core.errors import TargetError, WorkbenchError
from workbench.core.models import ModelEntry, variants_of
from workbench.core.units import duration_text
from workbench.gguf.quantization import QuantizeJob
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.quantize.dialog import QuantizeDialog
from workbench.ui.quantize.job_bar import job_line
from workbench.ui.quantize.jobs_dialog import JobsDialog
from workbench.ui.quantize.queue import QuantizeQueue, QueuedJob
from workbench.ui.services import Services
from workbench.ui.widgets.job_bar import show_bar
from workbench.ui.widgets.library_watch import search_again

LOOK_SECONDS = 0.25
LEAVE_SECONDS = 5.0
"""How long quitting waits for a job to stop."""


class QuantizeManager:
    """Runs the quantizations of a program."""

    def __init__(self, app: App[None], services: Services, key: str, load: Callable[[str, str], None]) -> None:
        self._app = app
        self._services = services
        self._key = key
        self._load = load
        self.queue = QuantizeQueue(services.files, self._ended)
        self._timer = app.set_interval(LOOK_SECONDS, self.look, pause=True)
        self._is_asking = False
        self._quiet: set[int] = set()
        """The ids of jobs that are not reported when they are ready."""

    def choose_type(self, model: ModelEntry) -> None:
        self._app.run_worker(self._choose_type(model), group="library", exit_on_error=False, description="list models")

    async def _choose_type(self, model: ModelEntry) -> None:
        try:
            models = await self._services.catalog.models()
        except WorkbenchError:
            # The model can be quantized without the list.
            models = ()
        self._app.push_screen(QuantizeDialog(self._services, model, variants_of(model, models)))

    def begin(self, job: QuantizeJob, model: str, *, quiet: bool = False) -> QueuedJob | None:
        """Add a job; a `quiet` one is not reported when it is ready. Returns None where it cannot be added."""
        self._forget_failed()
        try:
            queued = self.queue.add(job, model)
        except TargetError as error:
            self._notify(str(error), "Not started", is_error=True)
            return None
        if quiet:
            self._quiet.add(id(queued))
        self._app.run_worker(self.queue.run(), group="quantize", exit_on_error=False, description="quantize")
        self._timer.resume()
        self.look()
        return queued

    async def make(self, jobs: Sequence[QuantizeJob], model: str) -> list[QueuedJob]:
        """Make several quantizations of a model, and wait for them."""
        begun = [queued for job in jobs if (queued := self.begin(job, model, quiet=True)) is not None]
        for queued in begun:
            await queued.ended.wait()
        return begun

    def stop(self) -> None:
        """Stop all jobs."""
        for queued in reversed(self.queue.jobs):
            self.queue.stop(queued)

    def _forget_failed(self) -> None:
        """Remove the jobs that made nothing; what is ready can still be loaded."""
        for queued in self.queue.jobs:
            if queued.state in {"failed", "stopped"}:
                self.queue.forget(queued)

    def look(self) -> None:
        """Show the progress on the screen below all dialogs, and in the dialog of the jobs."""
        show_bar(self._app, "quantize", self._line, "app.jobs")
        if isinstance(self._app.screen, JobsDialog):
            self._app.screen.look()
        if not self.queue.jobs:
            self._timer.pause()

    def _line(self, width: int) -> Content | None:
        queue = self.queue
        queued = queue.running or next(iter(reversed(queue.jobs)), None)
        return None if queued is None else job_line(queued, self._key.replace("Ctrl+", "^"), queue.waiting, width)

    def show(self) -> None:
        if not isinstance(self._app.screen, JobsDialog):
            self._app.push_screen(JobsDialog(self.queue), self._chosen)

    def _chosen(self, queued: QueuedJob | None) -> None:
        if queued is not None and queued.result is not None:
            self.queue.forget(queued)
            self._load(str(queued.result.path), queued.label)
        self._forget_failed()
        self.look()

    def _ended(self, queued: QueuedJob) -> None:
        is_shown = isinstance(self._app.screen, JobsDialog)
        is_quiet = id(queued) in self._quiet
        if (result := queued.result) is not None:
            text = (
                f"{fmt.size(result.size_bytes)}, {result.bits_per_weight:.2f} bits, in {duration_text(result.seconds)}."
            )
            if is_quiet:
                self.queue.forget(queued)
            elif not is_shown:
                self._notify(f"{text} {self._key}, then Enter, loads it.", f"{queued.label} is ready", 8)
            searching = search_again(self._app, self._services.catalog)
            self._app.run_worker(searching, group="library", exit_on_error=False, description="look for models")
        elif queued.error is not None:
            self._services.logs.add("error", "quantize", str(queued.error))
            if not is_shown:
                self._notify(str(queued.error), f"{queued.label} could not be made", 12, is_error=True)
        self.look()

    def _notify(self, text: str, title: str, seconds: float = 6, *, is_error: bool = False) -> None:
        severity: SeverityLevel = "error" if is_error else "information"
        self._app.notify(clean_line(text), title=clean_line(title), severity=severity, timeout=seconds)

    # Quitting

    def ask_to_leave(self, leave: Callable[[], None]) -> bool:
        """Ask before quitting stops a quantization; `leave` is called if the user agrees.

        Returns whether the user is asked: not again while the question is on the screen.
        """
        if not self.queue.is_busy or self._is_asking:
            return False
        self._is_asking = True

        def answered(agreed: bool | None) -> None:
            self._is_asking = bool(agreed)
            if agreed:
                leave()

        name, more = "A quantization waits", ""
        if (running := self.queue.running) is not None:
            progress = running.progress
            state = f"is at {100 * progress.fraction:.0f} %" if progress else "has just begun"
            name = f"{running.label} {state}"
            more = f", and {self.queue.waiting} more would not be made" if self.queue.waiting else ""
        text = f"{clean_line(name)}. Quitting stops it and leaves no file behind{more}."
        self._app.push_screen(ConfirmDialog("A quantization is running", text, "quits"), answered)
        return True

    async def close(self) -> None:
        """Stop all jobs. An unfinished one leaves no file behind."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.queue.shut_down(), LEAVE_SECONDS)
