"""A measurement as the bench screen runs it: it can be looked at while it goes on, stopped, and continued."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from workbench.core.bench import Bencher, BenchMachine, BenchResult, ConditionWatch, MemorySpeed
from workbench.core.cancel import CancelToken
from workbench.core.engine import EngineHost, MemoryAdviser
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.core.parameters import LoadSettings
from workbench.core.sweep import LoadClients
from workbench.lab.bench.bench import Bench, BenchProgress, utc_now
from workbench.lab.bench.felt import Felt
from workbench.lab.bench.pairs import Duel, fit_together
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.record import BenchBook, BenchRecord, DuelRecord, FeltRecord, record_duel, record_sweep
from workbench.lab.bench.sweep import Sweep

FELT_MARGIN = 256
"""Tokens of context beyond the longest prompt and answer: the length of a prompt is only met about."""


class BenchJob:
    """One measurement.

    Args:
        plan: What is measured.
        tools: What it is measured with.
        engines: Opens models for what the user feels.
        adviser: Tells whether two models fit in memory together.
        load: Settings that such a model is opened with, apart from its context.
        on_change: Told, in the event loop, that something is new.
    """

    def __init__(
        self,
        plan: BenchPlan,
        tools: BenchTools,
        engines: EngineHost,
        adviser: MemoryAdviser,
        load: LoadSettings,
        on_change: Callable[[], None],
    ) -> None:
        self.plan = plan
        self._tools = tools
        self._engines = engines
        self._adviser = adviser
        self._load = load
        self._on_change = on_change
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cancel = CancelToken()
        self._duels: list[Duel] = []
        self._kept_duels: dict[int, tuple[int, DuelRecord]] = {}
        self._results: Sequence[BenchResult] = ()
        self._felt: list[FeltRecord] = []
        self._sweep: Sweep | None = None
        self._base: BenchRecord | None = None
        self.progress: BenchProgress | None = None
        """How far it is; None before it began and after it ended."""
        self.running = False
        self.failures: list[WorkbenchError] = []
        self.added = 0
        """Pairs that were added after those that were planned."""

    @property
    def record(self) -> BenchRecord | None:
        """What came of it so far; None before the machine was looked at."""
        if self._base is None:
            return None
        return replace(
            self._base,
            interrupted=self._cancel.is_set,
            results=tuple(self._results),
            duels=tuple(self._duel_records()),
            felt=tuple(self._felt),
            sweep=None if self._sweep is None else record_sweep(self._sweep),
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing came of it."""
        record = self.record
        return record is None or record.is_empty

    @property
    def can_continue(self) -> bool:
        """Whether pairs can be added to it."""
        return not self.running and any(duel.pairs for duel in self._duels)

    def _duel_records(self) -> list[DuelRecord]:
        found = []
        for index, duel in enumerate(self._duels):
            kept = self._kept_duels.get(index)
            count = len(duel.pairs)
            if kept is None or kept[0] != count:
                record = record_duel(duel)
                if record is None:
                    continue
                kept = self._kept_duels[index] = (count, record)
            found.append(kept[1])
        return found

    def stop(self) -> None:
        """End it soon; what is done stays."""
        self._cancel.set()

    async def run(self) -> None:
        """Measure everything, or until `stop`; what failed is in `failures`."""
        await self._work(self._first)

    async def more_pairs(self, count: int) -> None:
        """Add pairs to a comparison."""
        self._cancel = CancelToken()
        self.failures.clear()

        async def add(watch: ConditionWatch) -> None:
            before = max(len(duel.pairs) for duel in self._duels)
            for duel in self._duels:
                await self._fight(duel, count)
            self.added += max(len(duel.pairs) for duel in self._duels) - before
            # The command is to make as many pairs as there are now.
            total = max(len(duel.pairs) for duel in self._duels)
            self.plan = replace(self.plan, pairs=total)
            if self._base is not None:
                self._base = replace(self._base, command=self.plan.command)

        await self._work(add)

    async def _work(self, step: Callable[[ConditionWatch], object]) -> None:
        self.running = True
        self._loop = asyncio.get_running_loop()
        try:
            if self._base is None:
                await self._begin()
            record = self._base
            if record is None or self._cancel.is_set:
                return
            with self._tools.watching(record.machine) as watch:
                await step(watch)  # type: ignore[misc]
        except CancelledError:
            pass
        except WorkbenchError as error:
            self.failures.append(error)
        finally:
            self.running, self.progress = False, None
            self._on_change()

    async def _begin(self) -> None:
        machine = await self._tools.bencher.machine()
        memory: MemorySpeed | None = None
        if machine.backends == "CPU" and self.plan.wants_memory_speed:
            self._show(BenchProgress("warming up", "memory bandwidth", 0, 0, 0.0))
            memory = await asyncio.to_thread(self._tools.measure_memory, machine)
        run = self._tools.bench_runs.new_id()
        self._base = BenchRecord(run, utc_now(), self.plan.kind, self.plan.command, machine, memory)

    async def _first(self, watch: ConditionWatch) -> None:
        match self.plan.kind:
            case "pairs":
                await self._pairs(watch)
            case "felt":
                await self._feel()
            case "sweep":
                await self._load_server()
            case _:
                await self._tests(watch)

    async def _tests(self, watch: ConditionWatch) -> None:
        memory = self._base.memory if self._base else None
        bench = Bench(
            self._tools.bencher,
            self.plan.grid.cases(),
            repetitions=self.plan.repetitions,
            warm=self.plan.warm,
            seed=self.plan.seed,
            watch=watch,
            memory_bytes_per_s=memory.bytes_per_s if memory else None,
        )
        self._results = bench.results
        try:
            await bench.run(self._cancel, self._show, lambda _: self._on_change())
        finally:
            self.failures += dict.fromkeys(failure.error for failure in bench.failures)

    async def _pairs(self, watch: ConditionWatch) -> None:
        cases = self.plan.grid.cases()
        half = len(cases) // 2
        for a, b in zip(cases[:half], cases[half:], strict=True):
            if self._cancel.is_set:
                return
            together = await fit_together(self._adviser, a, b)
            duel = Duel(
                self._tools.bencher, a, b, together=together, warm=self.plan.warm, seed=self.plan.seed, watch=watch
            )
            self._duels.append(duel)
            await self._fight(duel, self.plan.pairs or 0)

    async def _fight(self, duel: Duel, pairs: int) -> None:
        """Add pairs to one comparison. Between runs nothing stays loaded: who looks at figures needs the memory."""
        if self._cancel.is_set:
            return
        try:
            await duel.run(pairs, self._cancel, self._show)
        finally:
            await duel.close()

    async def _feel(self) -> None:
        grid, plan = self.plan.grid, self.plan
        longest = max(grid.n_gen)
        load = replace(self._load, num_ctx=round(max(plan.felt) * 1.1) + longest + FELT_MARGIN)
        for ref in dict.fromkeys(grid.models):
            if self._cancel.is_set:
                return
            try:
                await self._feel_one(ref, load, longest)
            except CancelledError:
                return
            except WorkbenchError as error:
                self.failures.append(error)

    async def _feel_one(self, ref: str, load: LoadSettings, longest: int) -> None:
        def loading(fraction: float) -> None:
            self._show(BenchProgress("loading", f"{ref} {fraction:.0%}", 0, 0, 0.0))

        engine = await self._engines.open(ref, load, loading, self._cancel)
        label, place = engine.info.model.label, len(self._felt)
        work = Felt(
            engine,
            self.plan.felt,
            repetitions=self.plan.repetitions,
            n_gen=longest,
            again=self.plan.cache,
            seed=self.plan.seed,
        )

        def show(progress: BenchProgress) -> None:
            if work.results:
                self._felt[place:] = [FeltRecord(label, work.results)]
            self._show(progress)

        try:
            await work.run(self._cancel, show)
        finally:
            if work.results:
                self._felt[place:] = [FeltRecord(label, work.results)]
            await engine.close()

    async def _load_server(self) -> None:
        plan = self.plan.sweep
        assert plan is not None

        def loading(fraction: float) -> None:
            self._show(BenchProgress("loading", f"{plan.model} {fraction:.0%}", 0, 0, 0.0))

        client = await self._tools.load_clients.open(plan.ref, loading, self._cancel)
        self._sweep = Sweep(client, plan.settings, seed=self.plan.seed)
        try:
            await self._sweep.run(self._cancel, self._show, lambda _: self._on_change())
        finally:
            await client.close()

    def _show(self, progress: BenchProgress) -> None:
        """Progress comes from any thread while a model loads."""
        self.progress = progress
        if self._loop is not None and self.running:
            self._loop.call_soon_threadsafe(self._on_change)


class BenchTools(Protocol):
    """What speed is measured with. Nothing of it is loaded before it is asked for."""

    @property
    def bencher(self) -> Bencher:
        """Opens models for timing."""

    @property
    def load_clients(self) -> LoadClients:
        """Makes clients that stand for many users of a server."""

    @property
    def bench_runs(self) -> BenchBook:
        """The kept runs."""

    def watching(self, machine: BenchMachine) -> AbstractContextManager[ConditionWatch]:
        """Sees what goes on beside a measurement, inside the `with` block."""

    def measure_memory(self, machine: BenchMachine) -> MemorySpeed | None:
        """The memory bandwidth of the processors, which takes a moment; None where it cannot be measured."""
