"""The measurement of the bench screen: at most one, run by a worker of the screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.screen import Screen

from workbench.core.errors import WorkbenchError
from workbench.lab.bench.job import BenchJob
from workbench.lab.bench.plan import BenchPlan
from workbench.ui.bench.fields import MORE_PAIRS
from workbench.ui.services import Services
from workbench.ui.widgets.worker_errors import WorkerHandle


class BenchRunner:
    """Starts, continues and stops a measurement; `ended` gets an error that the user has to see, or None."""

    def __init__(
        self,
        screen: Screen[None],
        services: Services,
        started: Callable[[], None],
        changed: Callable[[], None],
        ended: Callable[[WorkbenchError | None], None],
    ) -> None:
        self._screen = screen
        self._services = services
        self._started = started
        self._changed = changed
        self._ended = ended
        self._work = WorkerHandle(screen, "measure")
        self.job: BenchJob | None = None
        """The last measurement; None before the first."""

    @property
    def running(self) -> bool:
        return self.job is not None and self.job.running

    def begin(self, plan: BenchPlan, doubts: Sequence[str] = ()) -> None:
        """Start a measurement; `doubts`, and the load of a server on another machine, need the user's consent."""

        def start(agreed: bool | None) -> None:
            if agreed:
                services = self._services
                self.job = BenchJob(plan, services.bench, services.engines, services.adviser, self._changed)
                self._started()
                self._start(self.job, 0)

        warning = plan.sweep.warning if plan.sweep is not None else ""
        texts = [f"{warning} Continue only if you are allowed to load it."] if warning else []
        texts += doubts
        if not texts:
            start(True)
            return
        from workbench.ui.dialogs.confirm import ConfirmDialog

        title = "A server on another machine" if warning else "Before it starts"
        self._screen.app.push_screen(ConfirmDialog(title, "\n\n".join(texts), "continues"), start)

    def add_pairs(self) -> bool:
        """Add pairs to the comparison; returns whether there is one."""
        job = self.job
        if job is None or not job.can_continue:
            return False
        self._start(job, MORE_PAIRS)
        return True

    def _start(self, job: BenchJob, more: int) -> None:
        async def measure() -> None:
            await (job.more_pairs(more) if more else job.run())
            self._ended(job.unkept or (job.failures[0] if job.is_empty and job.failures else None))

        self._work.start(measure())

    async def leave(self) -> None:
        """Stop, and wait until the memory is released."""
        await self._work.end(self.job)
