"""The one orchestrator of a tuning, for the screen and the command line: memory first, then the search, then pairs."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from typing_extensions import override

from workbench.core.bench import BenchCase, Bencher, BenchMachine, BenchSettings, ConditionWatch
from workbench.core.engine import MemoryAdviser
from workbench.core.errors import CancelledError
from workbench.lab.bench.bench import BenchProgress
from workbench.lab.bench.measure import Clock
from workbench.lab.bench.pairs import Duel, DuelRecord, fit_together
from workbench.lab.tune.goal import TunePlan, measured_settings
from workbench.lab.tune.job import TuningJob
from workbench.lab.tune.levers import TuneFacts, changes
from workbench.lab.tune.memory import MemoryCheck
from workbench.lab.tune.record import TuneRecord
from workbench.lab.tune.search import LeverSearch
from workbench.lab.tune.stand import PATIENCE_S, BusyMachineError, Sleep, Stand

RIVAL_PAIRS = 6
"""Pairs of the best and the second best."""
PAIRS = (10, 16, 24)
"""Pairs of the last comparison; the noisier the runs of the search, the more."""
WIDTH = 0.01
"""The interval that is aimed at: so much to each side, as a fraction."""


class TuneTools(Protocol):
    """What a tuning needs from other rooms."""

    @property
    def tune_bencher(self) -> Bencher:
        """Opens models for timing, where settings that end a process do not end this one."""

    @property
    def adviser(self) -> MemoryAdviser:
        """Estimates memory."""

    def watching(self, machine: BenchMachine) -> AbstractContextManager[ConditionWatch]:
        """Watches the machine during a measurement, inside the `with` block."""


def logical_cores() -> int:
    """The processors that this process may run on, as the system counts them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class TuneJob(TuningJob):
    """One tuning."""

    def __init__(
        self,
        plan: TunePlan,
        tools: TuneTools,
        on_change: Callable[[], None] = lambda: None,
        *,
        logical: int | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(on_change)
        self.plan = plan
        self._tools = tools
        self._logical = logical or logical_cores()
        self._clock = clock
        self._sleep = sleep
        self._machine: BenchMachine | None = None
        self._facts = TuneFacts(plan.work, 1, self._logical, plan.caches)
        self._start = self._today = measured_settings(plan.today)
        self._memory = MemoryCheck(plan, tools.adviser)
        self._search: LeverSearch | None = None
        self._stand: Stand | None = None
        self._duels: list[Duel] = []
        self._final: DuelRecord | None = None
        self._rivals: DuelRecord | None = None
        self._best: BenchSettings | None = None
        self._notes: list[str] = []
        self._began = 0.0

    @property
    def leading(self) -> tuple[str, ...]:
        """What the fastest settings by short runs change, in words."""
        return () if self._search is None else changes(self._search.best.settings, self._start, self._facts)

    @property
    def record(self) -> TuneRecord:
        """The results so far."""
        search = self._search
        tried = [] if search is None else list(search.tried.values())
        work, now = self.plan.work, self._today
        best = self._best or (now if search is None else search.best.settings)
        return TuneRecord(
            self.plan.model.label,
            self.plan.model.ref,
            self._facts,
            self._machine,
            self.plan.today,
            self._start,
            best,
            tuple(
                each.trial(work, changes(each.settings, now, self._facts), self._price(each.settings)) for each in tried
            ),
            self._final,
            self._rivals,
            self.running,
            (*self._notes, *filter(None, [self._price(best)])),
            self.plan.limits.min_ctx,
        )

    def _price(self, way: BenchSettings) -> str:
        """What its cache types cost in quality beside today's; empty for the same."""
        kinds = dict.fromkeys((way.type_k, way.type_v))
        new = [kind for kind in kinds if kind not in (self._today.type_k, self._today.type_v)]
        return "; ".join(f"{kind} cache: {self.plan.prices[kind]}" for kind in new if kind in self.plan.prices)

    @override
    async def _work(self) -> None:
        self._began = self._clock()
        self._show("looking at the memory")
        self._machine = await self._tools.tune_bencher.machine()
        self._facts = replace(self._facts, cores=self._machine.cores)
        await self._begin()
        with self._tools.watching(self._machine) as watch:
            await self._measure(watch)

    async def _begin(self) -> None:
        """Find settings to begin with."""
        needs = await self._memory.needs(self._today)
        self._facts = replace(self._facts, needs=needs)
        if needs is None and (self.plan.limits.max_bytes or self.plan.limits.min_ctx):
            self._notes.append("The memory of this model cannot be estimated: the constraints are not checked.")
        self._start = await self._memory.start(self._today, self._facts)
        if changed := " and ".join(changes(self._start, self._today, self._facts)):
            self._notes.append(f"Your settings do not meet the constraints: {changed} does.")

    async def _measure(self, watch: ConditionWatch) -> None:
        bencher, plan = self._tools.tune_bencher, self.plan
        stand = self._stand = Stand(
            bencher, plan.model.ref, plan.work, watch, busy=plan.busy, seed=plan.seed, on_phase=self._show,
            sleep=self._sleep,
        )  # fmt: skip
        limit_s = math.inf if plan.minutes is None else 60 * plan.minutes
        search = self._search = LeverSearch(
            stand, self._start, self._facts, self._memory.refusal, self._cancel,
            out_of_time=lambda: self._clock() - self._began > limit_s, on_trial=self._on_change,
        )  # fmt: skip
        try:
            await search.run()
        except BusyMachineError as error:
            self._notes.append(error.message)
            return
        finally:
            await stand.close()
        if search.ended_early:
            self._notes.append("The time was over before all levers were tried.")
        if stand.waited_s >= PATIENCE_S:
            self._notes.append("Other programs computed for longer than the search waits: such runs are marked.")
        await self._prove(search, watch)

    async def _prove(self, search: LeverSearch, watch: ConditionWatch) -> None:
        """Pairs of the best two, and of the best and today's settings, with new runs."""
        best, rival, start = search.best.settings, search.rival, self._start
        if rival is None:
            self._notes.append("No other setting of this model could be tried here.")
            return
        if start not in (best, rival.settings):
            duel = await self._fight(rival.settings, best, RIVAL_PAIRS, watch, "the best beside the second best")
            self._rivals = duel
            if duel is not None and duel.comparison.verdict == "slower":
                best = rival.settings
        elif best == start:
            best = rival.settings
        self._best = best
        wanted = (1.96 * search.spread / WIDTH) ** 2
        pairs = next((each for each in PAIRS if each >= max(wanted, self.plan.pairs)), max(PAIRS[-1], self.plan.pairs))
        self._final = await self._fight(start, best, pairs, watch, "the best beside your settings")

    async def _fight(
        self, a: BenchSettings, b: BenchSettings, pairs: int, watch: ConditionWatch, what: str
    ) -> DuelRecord | None:
        if self._cancel.is_set:
            raise CancelledError("The search was stopped.")
        ref, work, bencher = self.plan.model.ref, self.plan.work, self._tools.tune_bencher
        first, second = BenchCase(ref, a, work), BenchCase(ref, b, work)
        together = await fit_together(self._tools.adviser, first, second)
        duel = Duel(bencher, first, second, watch, together=together, seed=self.plan.seed, clock=self._clock)

        def show(progress: BenchProgress) -> None:
            self.progress = replace(progress, label=f"pair {progress.step} of {progress.steps}: {what}")
            self._on_change()

        try:
            await duel.run(pairs, self._cancel, show)
        finally:
            await duel.close()
        return duel.record

    def _show(self, phase: str) -> None:
        search, stand = self._search, self._stand
        runs = 0 if stand is None else stand.runs
        left = 0 if search is None else search.runs_left + 2 * (self.plan.pairs + RIVAL_PAIRS)
        spent = self._clock() - self._began
        label = phase if search is None or not search.lever else f"{search.lever}: {phase}"
        fraction, left_s = (runs / (runs + left), left * spent / runs) if runs else (0.0, None)
        self.progress = BenchProgress("measuring", label, runs, runs + left, fraction, left_s)
        self._on_change()
