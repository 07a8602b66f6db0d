"""How `workbench bench` runs a measurement: progress on standard error, results on standard output."""

from __future__ import annotations

import sys

from workbench.cli.composition import Workers
from workbench.cli.main import INTERRUPTED
from workbench.cli.output import error_document, note, note_error, print_json, say
from workbench.cli.progress import ProgressLine, stoppable, stopped_by
from workbench.core.cancel import CancelToken
from workbench.core.errors import StoppedError
from workbench.lab.bench.bench import time_text
from workbench.lab.bench.job import BenchJob
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.text import record_lines, record_text


class BenchCommand:
    """Runs a plan and prints it; with `json` as lines of JSON, each as soon as it is known."""

    def __init__(self, plan: BenchPlan, workers: Workers, *, json: bool) -> None:
        self._workers = workers
        self._json = json
        self._job = BenchJob(plan, workers, workers.engines, workers.adviser, self._changed)
        self._line = ProgressLine()
        self._printed = 0
        """Lines of JSON that were printed."""

    async def run(self) -> int:
        """Measure and print everything; gives the exit status."""
        return await stoppable(self._run)

    async def _run(self, cancel: CancelToken) -> int:
        job = self._job
        async with stopped_by(cancel, job.stop, self._line, self._workers.engines if job.plan.kind == "felt" else None):
            await job.run()
        record = job.record
        if record is None or record.is_empty:
            if job.stopped:
                raise StoppedError("Stopped before the first result.")
            if job.failures:
                raise job.failures[0]
        else:
            if self._json:
                self._print_lines()
            else:
                say(record_text(record))
            kept = f"kept as {record.id}: workbench bench --show {record.id}"
            note(kept if job.unkept is None else f"workbench: {job.unkept}")
        for error in job.failures:
            note_error(error)
            if self._json:
                print_json({"error": error_document(error)})
        if job.stopped:
            note("stopped: the results until then are above")
            return INTERRUPTED
        return 1 if job.failures else 0

    def _changed(self) -> None:
        if (progress := self._job.progress) is not None:
            step = f" {progress.step}/{progress.steps}" if progress.step else ""
            left = "" if progress.left_s is None else f", about {time_text(progress.left_s)} left"
            self._line.say(f"{progress.fraction:4.0%}  {progress.phase} {progress.label}{step}{left}")
        # The sides and the verdict of a comparison are only known at its end.
        if self._json and self._job.plan.kind in ("tests", "parallel", "sweep"):
            self._print_lines()

    def _print_lines(self) -> None:
        """Print the lines of JSON that are new."""
        record = self._job.record
        new = [] if record is None else list(record_lines(record, self._printed))
        if new:
            self._line.clear()
            self._printed += len(new)
            for line in new:
                print_json(line)
            sys.stdout.flush()
