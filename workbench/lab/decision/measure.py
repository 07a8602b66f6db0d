"""Measuring what a decision lacks, by the orchestrators of the bench, of quality and of evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.core.engine import EngineHost
from workbench.core.errors import CancelledError
from workbench.lab.bench.job import BenchJob
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.decision.plans import Plan
from workbench.lab.decision.tools import DecisionTools
from workbench.lab.evals.run import EvalRun
from workbench.lab.quality.job import QualityJob, QualityProgress
from workbench.lab.quality.plan import QualityPlan
from workbench.lab.stoppable import Stoppable


class Measurement(Stoppable):
    """Runs plans one after the other. It can be stopped; what is done by then is kept.

    `on_progress` is called in the event loop with a line of text.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        tools: DecisionTools,
        engines: EngineHost,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self._plans = plans
        self._tools = tools
        self._engines = engines
        self._on_progress = on_progress

    async def run(self) -> None:
        """Measure everything, or until `stop`.

        Raises:
            WorkbenchError: Something could not be measured or kept; what came before it is kept.
        """
        for plan in self._plans:
            if self._cancel.is_set:
                return
            try:
                await self._run(plan)
            except CancelledError:
                return

    async def _run(self, plan: Plan) -> None:
        tools = self._tools
        job: BenchJob | QualityJob | EvalRun
        if isinstance(plan, BenchPlan):
            job = bench = BenchJob(plan, tools, self._engines, tools.adviser, lambda: self._show_bench(bench))
        elif isinstance(plan, QualityPlan):
            job = QualityJob(plan, tools, self._show_quality)
        else:
            job = evals = EvalRun(plan, tools, self._engines, tools.adviser, lambda: self._show_eval(evals))
        self._cancel.on_set(job.stop)
        await job.run()
        failures = [] if isinstance(job, QualityJob) else job.failures
        if job.unkept is not None or (failures and not job.stopped):
            raise job.unkept or failures[0]

    def _show_bench(self, job: BenchJob) -> None:
        if (progress := job.progress) is not None:
            step = f" {progress.step} of {progress.steps}" if progress.step else ""
            self._on_progress(f"bench {progress.fraction:.0%}  {progress.phase} {progress.label}{step}")

    def _show_quality(self, progress: QualityProgress) -> None:
        self._on_progress(f"quality {progress.fraction:.0%}  {progress.phase}")

    def _show_eval(self, run: EvalRun) -> None:
        self._on_progress(f"eval {run.done} of {run.total}  {run.phase}")
