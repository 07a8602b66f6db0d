"""What `workbench bench` does: it measures, says how far it is, prints, and keeps the run."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from workbench.cli.bench_print import print_record, record_lines, result_line
from workbench.cli.composition import Workers
from workbench.cli.output import error_document, note, print_json
from workbench.cli.progress import INTERRUPTED, ProgressLine
from workbench.core.bench import BenchResult, ConditionWatch, MemorySpeed
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.core.recipe import Recipe
from workbench.core.sweep import SweepLevel
from workbench.lab.bench.bench import Bench, BenchProgress, utc_now
from workbench.lab.bench.felt import Felt
from workbench.lab.bench.pairs import Duel, fit_together
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.record import BenchRecord, FeltRecord, record_duel, record_sweep
from workbench.lab.bench.report import sweep_fields
from workbench.lab.bench.sweep import Sweep

FELT_MARGIN = 256
"""Tokens of context beyond the longest prompt and answer: the length of a prompt is only met about."""


@dataclass
class Measuring:
    """One run of the command."""

    plan: BenchPlan
    workers: Workers
    json: bool = False
    cancel: CancelToken = field(default_factory=CancelToken)
    failures: list[WorkbenchError] = field(default_factory=list)

    async def run(self) -> int:
        """Measure everything; gives the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            # Windows has no such handler; there, Ctrl+C raises KeyboardInterrupt.
            with suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, self.cancel.set)
        progress = _Progress()
        machine = await self.workers.bencher.machine()
        memory = None
        if machine.backends == "CPU" and self.plan.wants_memory_speed:
            progress.say("memory bandwidth …")
            memory = await asyncio.to_thread(self.workers.measure_memory, machine)
        record = BenchRecord(
            self.workers.bench_runs.new_id(), utc_now(), self.plan.kind, self.plan.command, machine, memory
        )
        work = {"pairs": self._pairs, "felt": self._felt, "tests": self._tests, "parallel": self._tests}
        work["sweep"] = self._sweep
        with self.workers.watching(machine) as watch:
            record = await work[self.plan.kind](record, watch, progress, memory)
        progress.clear()
        return await self._finish(replace(record, interrupted=self.cancel.is_set))

    async def _tests(
        self, record: BenchRecord, watch: ConditionWatch, progress: _Progress, memory: MemorySpeed | None
    ) -> BenchRecord:
        def on_result(result: BenchResult) -> None:
            if self.json:
                progress.clear()
                print_json(result_line(result, record))
                sys.stdout.flush()

        bench = Bench(
            self.workers.bencher,
            self.plan.grid.cases(),
            repetitions=self.plan.repetitions,
            warm=self.plan.warm,
            seed=self.plan.seed,
            watch=watch,
            memory_bytes_per_s=memory.bytes_per_s if memory else None,
        )
        await bench.run(self.cancel, progress.show, on_result)
        self.failures += dict.fromkeys(failure.error for failure in bench.failures)
        return replace(record, results=tuple(bench.results))

    async def _pairs(
        self, record: BenchRecord, watch: ConditionWatch, progress: _Progress, _: MemorySpeed | None
    ) -> BenchRecord:
        cases = self.plan.grid.cases()
        half = len(cases) // 2
        duels = []
        for a, b in zip(cases[:half], cases[half:], strict=True):
            together = await fit_together(self.workers.adviser, a, b)
            duel = Duel(
                self.workers.bencher, a, b, together=together, warm=self.plan.warm, seed=self.plan.seed, watch=watch
            )
            try:
                await duel.run(self.plan.pairs or 0, self.cancel, progress.show)
            except WorkbenchError as error:
                self.failures.append(error)
            finally:
                await duel.close()
            kept = record_duel(duel)
            if kept is not None:
                duels.append(kept)
            if self.cancel.is_set or self.failures:
                break
        record = replace(record, duels=tuple(duels))
        if self.json:
            progress.clear()
            for line in record_lines(record):
                print_json(line)
        return record

    async def _felt(
        self, record: BenchRecord, _: ConditionWatch, progress: _Progress, __: MemorySpeed | None
    ) -> BenchRecord:
        felt: list[FeltRecord] = []
        longest = max(self.plan.grid.n_gen)
        for ref in dict.fromkeys(self.plan.grid.models):
            host = self.workers.engines
            try:
                recipe = self.workers.catalog.recipe(ref) or Recipe()
                load = recipe.settings(self.workers.config.sampling, self.workers.config.load)[1]
                load = replace(load, num_ctx=round(max(self.plan.felt) * 1.1) + longest + FELT_MARGIN)
                engine = await host.open(ref, load, lambda _: None, self.cancel)
                work = Felt(
                    engine,
                    self.plan.felt,
                    repetitions=self.plan.repetitions,
                    n_gen=longest,
                    again=self.plan.cache,
                    seed=self.plan.seed,
                )
                try:
                    await work.run(self.cancel, progress.show)
                finally:
                    if work.results:
                        felt.append(FeltRecord(engine.info.model.label, work.results))
                    await engine.close()
            except CancelledError:
                break
            except WorkbenchError as error:
                self.failures.append(error)
            if self.cancel.is_set:
                break
        await self.workers.engines.shutdown()
        record = replace(record, felt=tuple(felt))
        if self.json:
            progress.clear()
            for line in record_lines(record):
                print_json(line)
        return record

    async def _sweep(
        self, record: BenchRecord, _: ConditionWatch, progress: _Progress, __: MemorySpeed | None
    ) -> BenchRecord:
        plan = self.plan.sweep
        assert plan is not None
        progress.say(f"asking {plan.server} …")

        def loading(fraction: float) -> None:
            progress.say(f"{plan.ref} is loaded: {fraction:.0%}")

        def on_level(level: SweepLevel) -> None:
            if self.json:
                progress.clear()
                print_json(sweep_fields(level))
                sys.stdout.flush()

        try:
            client = await self.workers.load_clients.open(plan.ref, loading, self.cancel)
        except CancelledError:
            return record
        except WorkbenchError as error:
            self.failures.append(error)
            return record
        sweep = Sweep(client, plan.settings, seed=self.plan.seed)
        try:
            await sweep.run(self.cancel, progress.show, on_level)
        except WorkbenchError as error:
            self.failures.append(error)
        finally:
            await client.close()
        return replace(record, sweep=record_sweep(sweep))

    async def _finish(self, record: BenchRecord) -> int:
        empty = record.is_empty
        if not self.json and not empty:
            print_record(record)
        if not empty:
            try:
                await self.workers.bench_runs.keep(record)
                note(f"kept as {record.id}: workbench bench --show {record.id}")
            except WorkbenchError as error:
                note(f"workbench: {error}")
        if self.failures and empty and not self.cancel.is_set:
            raise self.failures[0]
        self._tell_failures(self.failures)
        if self.cancel.is_set:
            note("stopped: what was measured until then is above" if not empty else "stopped")
            return INTERRUPTED
        return 1 if self.failures else 0

    def _tell_failures(self, failures: Sequence[WorkbenchError]) -> None:
        for error in failures:
            note(f"workbench: {error}")
            if self.json:
                print_json({"error": error_document(error)})


class _Progress(ProgressLine):
    """Tells how far a measurement is."""

    def show(self, progress: BenchProgress) -> None:
        step = f" {progress.step}/{progress.steps}" if progress.step else ""
        left = "" if progress.left_s is None else f", about {_time_text(progress.left_s)} left"
        self.say(f"{progress.fraction:4.0%}  {progress.phase} {progress.label}{step}{left}")


def _time_text(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60} s"
