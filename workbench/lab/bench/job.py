"""The one orchestrator of the bench, for the screen and the command line: a job runs a plan and keeps its record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from workbench.core.bench import Bencher, BenchMachine, BenchResult, ConditionWatch, MemorySpeed
from workbench.core.cancel import CancelToken
from workbench.core.engine import EngineHost, MemoryAdviser, Request
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.core.origins import set_names
from workbench.core.sweep import LoadClients
from workbench.lab.bench.bench import Bench, BenchProgress, utc_now
from workbench.lab.bench.latency import LatencyTest
from workbench.lab.bench.pairs import Duel, fit_together
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.record import BenchRecord, LatencyRecord
from workbench.lab.bench.sweep import Sweep
from workbench.lab.run_book import RunBook
from workbench.lab.stoppable import Stoppable


class BenchTools(Protocol):
    """Everything that a measurement needs. Nothing is loaded before it is asked for."""

    @property
    def bencher(self) -> Bencher:
        """Opens models for timing."""

    @property
    def load_clients(self) -> LoadClients:
        """Makes clients that stand for many users of a server."""

    @property
    def bench_runs(self) -> RunBook[BenchRecord]:
        """The kept runs."""

    def watching(self, machine: BenchMachine) -> AbstractContextManager[ConditionWatch]:
        """Watches the machine during a measurement, inside the `with` block."""

    def measure_memory(self, machine: BenchMachine) -> MemorySpeed | None:
        """Measure the memory bandwidth of the processors, which takes a moment; None where that is not possible."""


class BenchJob(Stoppable):
    """One measurement. It can be observed while it runs, stopped, and continued where it compares pairs.

    `on_change` is called in the event loop when `progress`, `record` or `failures` has changed.
    """

    def __init__(
        self,
        plan: BenchPlan,
        tools: BenchTools,
        engines: EngineHost,
        adviser: MemoryAdviser,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.plan = plan
        self._tools = tools
        self._engines = engines
        self._adviser = adviser
        self._on_change = on_change
        self._loop: asyncio.AbstractEventLoop | None = None
        self._duels: list[Duel] = []
        self._results: Sequence[BenchResult] = ()
        self._latencies: list[LatencyRecord] = []
        self._sweep: Sweep | None = None
        self._base: BenchRecord | None = None
        self.progress: BenchProgress | None = None
        """None before it began and after it ended."""
        self.running = False
        self.failures: list[WorkbenchError] = []
        """Why a part of it could not be measured."""
        self.unkept: WorkbenchError | None = None
        """Why the record could not be kept."""
        self.added = 0
        """Pairs that were added after those that were planned."""

    @property
    def record(self) -> BenchRecord | None:
        """The results so far; None before the machine is known."""
        if self._base is None:
            return None
        sweep = self._sweep
        return replace(
            self._base,
            interrupted=self.stopped,
            results=tuple(self._results),
            duels=tuple(record for duel in self._duels if (record := duel.record) is not None),
            felt=tuple(self._latencies),
            sweep=sweep.record if sweep is not None else None,
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is no result."""
        record = self.record
        return record is None or record.is_empty

    @property
    def can_continue(self) -> bool:
        """Whether pairs can be added."""
        return not self.running and any(duel.pairs for duel in self._duels)

    async def run(self) -> None:
        """Measure everything, or until `stop`, and keep the record."""
        await self._work(self._measure)

    async def more_pairs(self, count: int) -> None:
        """Add pairs to a comparison, and keep the record again."""
        self._cancel = CancelToken()
        self.failures.clear()
        await self._work(lambda _: self._add_pairs(count))

    async def _add_pairs(self, count: int) -> None:
        before = max(len(duel.pairs) for duel in self._duels)
        for duel in self._duels:
            await self._fight(duel, count)
        total = max(len(duel.pairs) for duel in self._duels)
        self.added += total - before
        self.plan = replace(self.plan, pairs=total)
        if self._base is not None:
            self._base = replace(self._base, command=self.plan.command)

    async def _work(self, step: Callable[[ConditionWatch], Awaitable[None]]) -> None:
        self.running, self.unkept = True, None
        self._loop = asyncio.get_running_loop()
        try:
            base = self._base or await self._begin()
            if not self._cancel.is_set:
                with self._tools.watching(base.machine) as watch:
                    await step(watch)
        except CancelledError:
            pass
        except WorkbenchError as error:
            self.failures.append(error)
        finally:
            try:
                if (record := self.record) is not None and not record.is_empty:
                    await self._tools.bench_runs.keep(record)
            except WorkbenchError as error:
                self.unkept = error
            finally:
                self.running, self.progress = False, None
                self._on_change()

    async def _begin(self) -> BenchRecord:
        machine = await self._tools.bencher.machine()
        memory = None
        if machine.backends == "CPU" and self.plan.wants_memory_speed:
            self._show(BenchProgress("warming up", "memory bandwidth", 0, 0, 0.0))
            memory = await asyncio.to_thread(self._tools.measure_memory, machine)
        run = self._tools.bench_runs.new_id()
        self._base = BenchRecord(run, utc_now(), self.plan.kind, self.plan.command, machine, memory)
        return self._base

    async def _measure(self, watch: ConditionWatch) -> None:
        match self.plan.kind:
            case "pairs":
                await self._compare(watch)
            case "felt":
                await self._time_answers()
            case "sweep":
                await self._load_server()
            case _:
                await self._time_tests(watch)

    async def _time_tests(self, watch: ConditionWatch) -> None:
        memory = self._base.memory if self._base else None
        bench = Bench(
            self._tools.bencher,
            self.plan.grid.cases(),
            watch,
            repetitions=self.plan.repetitions,
            warm=self.plan.warm,
            seed=self.plan.seed,
            memory_bytes_per_s=memory.bytes_per_s if memory else None,
        )
        self._results = bench.results
        try:
            await bench.run(self._cancel, self._show, lambda _: self._on_change())
        finally:
            self.failures += dict.fromkeys(bench.failures)

    async def _compare(self, watch: ConditionWatch) -> None:
        for a, b in zip(*self.plan.sides, strict=True):
            if self._cancel.is_set:
                return
            together = await fit_together(self._adviser, a, b)
            duel = Duel(self._tools.bencher, a, b, watch, together=together, warm=self.plan.warm, seed=self.plan.seed)
            self._duels.append(duel)
            await self._fight(duel, self.plan.pairs or 0)

    async def _fight(self, duel: Duel, pairs: int) -> None:
        """Add pairs to one comparison. Between runs nothing stays loaded, so that the memory is free."""
        if self._cancel.is_set:
            return
        try:
            await duel.run(pairs, self._cancel, self._show)
        finally:
            await duel.close()

    async def _time_answers(self) -> None:
        for ref in dict.fromkeys(self.plan.grid.models):
            if self._cancel.is_set:
                return
            try:
                await self._time_answers_of(ref)
            except CancelledError:
                return
            except WorkbenchError as error:
                self.failures.append(error)

    async def _time_answers_of(self, ref: str) -> None:
        plan = self.plan
        engine = await self._engines.open(ref, plan.load_of(ref), self._loading(ref), self._cancel)
        label, place = engine.info.model.label, len(self._latencies)
        sampling, origins = plan.sampling_of(ref)
        test = LatencyTest(
            engine,
            plan.latency,
            repetitions=plan.repetitions,
            n_gen=max(plan.grid.n_gen),
            again=plan.cache,
            seed=plan.seed,
            sampled=Request(sampling=sampling, given=set_names(origins)),
        )
        sources = tuple({**origins, "num_predict": "bench", "seed": "bench"}.items())

        def take() -> None:
            if test.results:
                self._latencies[place:] = [LatencyRecord(label, test.results, test.sampling, sources)]

        def show(progress: BenchProgress) -> None:
            take()
            self._show(progress)

        try:
            await test.run(self._cancel, show)
        finally:
            take()
            await engine.close()

    async def _load_server(self) -> None:
        plan = self.plan.sweep
        assert plan is not None
        loading = self._loading(plan.ref)
        loading(0.0)
        client = await self._tools.load_clients.open(plan.ref, loading, self._cancel)
        self._sweep = Sweep(client, plan.settings, seed=self.plan.seed)
        try:
            await self._sweep.run(self._cancel, self._show, lambda _: self._on_change())
        finally:
            await client.close()

    def _loading(self, ref: str) -> Callable[[float], None]:
        return lambda fraction: self._show(BenchProgress("loading", f"{ref} {fraction:.0%}", 0, 0, 0.0))

    def _show(self, progress: BenchProgress) -> None:
        """Take progress, which comes from any thread while a model loads."""
        self.progress = progress
        if self._loop is None or not self.running:
            return
        try:
            in_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            in_loop = False
        if in_loop:
            self._on_change()
        else:
            self._loop.call_soon_threadsafe(self._on_change)
