"""Runs quantizations while the user is on any screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import App
from textual.content import Content

from workbench.core.errors import TargetError, WorkbenchError
from workbench.core.models import ModelEntry, variants_of
from workbench.core.units import duration_text
from workbench.gguf.quantization import QuantizeJob
from workbench.ui.job_queue.manager import JobKind, JobManager
from workbench.ui.kit import figures as fmt
from workbench.ui.quantize.dialog import QuantizeDialog
from workbench.ui.quantize.job_bar import job_line
from workbench.ui.quantize.jobs_dialog import JobsDialog
from workbench.ui.quantize.queue import QueuedQuantization, add_quantization, quantize_queue
from workbench.ui.services import Services

KIND = JobKind(
    "quantize", "quantization", "app.jobs", "made", "Quitting stops it and leaves no file behind."
)  # fmt: skip


class QuantizeManager:
    """Runs the quantizations of a program."""

    def __init__(self, app: App[None], services: Services, key: str, load: Callable[[str, str], None]) -> None:
        self._app = app
        self._services = services
        self._key = key
        self._load = load
        self.queue = quantize_queue(services.files, self._ended)
        self.jobs = JobManager(app, services, KIND, self.queue, self)
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

    def begin(self, job: QuantizeJob, model: str, *, quiet: bool = False) -> QueuedQuantization | None:
        """Add a job; a `quiet` one is not reported when it is ready. Returns None where it cannot be added."""
        self._forget_failed()
        try:
            queued = add_quantization(self.queue, job, model)
        except TargetError as error:
            self.jobs.notify(str(error), "Not started", is_error=True)
            return None
        if quiet:
            self._quiet.add(id(queued))
        self.jobs.run()
        return queued

    async def make(self, jobs: Sequence[QuantizeJob], model: str) -> list[QueuedQuantization]:
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
                self.queue.remove(queued)

    def line(self, width: int) -> Content | None:
        queue = self.queue
        queued = queue.running or next(iter(reversed(queue.jobs)), None)
        return None if queued is None else job_line(queued, self._key.replace("Ctrl+", "^"), queue.waiting, width)

    def is_shown(self) -> bool:
        return isinstance(self._app.screen, JobsDialog)

    def look(self) -> None:
        if isinstance(self._app.screen, JobsDialog):
            self._app.screen.look()

    def show(self) -> None:
        if not self.is_shown():
            self._app.push_screen(JobsDialog(self.queue), self._chosen)

    def _chosen(self, queued: QueuedQuantization | None) -> None:
        if queued is not None and queued.result is not None:
            self.queue.remove(queued)
            self._load(str(queued.result.path), queued.label)
        self._forget_failed()
        self.jobs.look()

    def _ended(self, queued: QueuedQuantization) -> None:
        ready = ""
        if (result := queued.result) is not None:
            if id(queued) in self._quiet:
                self.queue.remove(queued)
            else:
                made = f"{fmt.size(result.size_bytes)}, {result.bits_per_weight:.2f} bits"
                ready = f"{made}, in {duration_text(result.seconds)}. {self._key}, then Enter, loads it."
        self.jobs.report(queued, ready)
