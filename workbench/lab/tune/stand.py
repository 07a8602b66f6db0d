"""Short runs of one model in many ways: what is loaded stays loaded as long as the next way can use it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

from workbench.core.bench import (
    BenchCase,
    Bencher,
    BenchRun,
    BenchSettings,
    BenchTarget,
    BenchTest,
    ConditionWatch,
    Sample,
)
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, EngineError, MemoryShortError, TuneError, WorkbenchError
from workbench.lab.bench.bench import weights_key
from workbench.lab.bench.measure import OTHERS_PERCENT, mark, take_sample
from workbench.lab.tune.goal import Busy

MOST_CONTEXTS = 4
"""Contexts that stay open at once: making one takes longer than a short run."""
LOOK_S = 1.0
"""How long the machine is watched to see whether it is quiet."""
PATIENCE_S = 60.0
"""How long, in all, is waited for other programs."""
AGAIN = 2
"""How often a disturbed run is repeated."""

Sleep = Callable[[float], Awaitable[None]]


class BusyMachineError(TuneError):
    """Other programs compute, and the user wants no figures then."""


class Stand:
    """Runs of one model.

    Args:
        ref: The model.
        work: What one run computes.
        on_phase: Called with what goes on, in words.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        bencher: Bencher,
        ref: str,
        work: BenchTest,
        watch: ConditionWatch,
        *,
        busy: Busy = "wait",
        seed: int = 1,
        on_phase: Callable[[str], None] = lambda _: None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._bencher = bencher
        self._ref = ref
        self._work = work
        self._watch = watch
        self._busy = busy
        self._seed = seed
        self._phase = on_phase
        self._sleep = sleep
        self._target: BenchTarget | None = None
        self._case: BenchCase | None = None
        self._contexts: dict[BenchSettings, BenchRun] = {}
        self._warm: set[BenchSettings] = set()
        self._ran: set[BenchSettings] = set()
        self.runs = 0
        """Runs so far, without those that warm up."""
        self.waited_s = 0.0
        """Seconds that it waited for other programs."""

    async def take(self, way: BenchSettings, seed: int, cancel: CancelToken) -> Sample:
        """One run, repeated where another program disturbed it.

        Raises:
            WorkbenchError: This way cannot be run; CancelledError; BusyMachineError.
        """
        while True:
            try:
                sample = await self._take(await self._ready(way, cancel), seed, cancel)
            except EngineError:
                # Its process may have ended.
                with suppress(WorkbenchError):
                    await self.close()
                # What ran before gets another try: something else may have ended it.
                if way not in self._ran:
                    raise
                self._ran.remove(way)
            else:
                self._ran.add(way)
                return sample

    async def _take(self, run: BenchRun, seed: int, cancel: CancelToken) -> Sample:
        for again in range(AGAIN + 1):
            self._phase("measuring")
            (sample,) = mark([await take_sample(run, self._seed + seed, self._watch, cancel)])
            self.runs += 1
            if (sample.conditions.others_percent or 0) < OTHERS_PERCENT or not sample.disturbed:
                break
            if self._busy == "stop":
                raise BusyMachineError(
                    "Other programs compute: the search has stopped.", "Close them, or take --busy mark."
                )
            if self._busy == "mark" or again == AGAIN or not await self._quiet(cancel):
                break
        return sample

    async def close(self) -> None:
        """Release all memory."""
        target, self._target, self._case = self._target, None, None
        try:
            await self._drop_contexts()
        finally:
            if target is not None:
                await target.close()

    async def _quiet(self, cancel: CancelToken) -> bool:
        """Wait until other programs are done; False where patience ends first."""
        while self.waited_s < PATIENCE_S:
            if cancel.is_set:
                raise CancelledError("The search was stopped.")
            self._phase("waiting: other programs compute")
            await self._watch.begin()
            await self._sleep(LOOK_S)
            self.waited_s += LOOK_S
            if ((await self._watch.end()).others_percent or 0) < OTHERS_PERCENT:
                return True
        return False

    async def _ready(self, way: BenchSettings, cancel: CancelToken) -> BenchRun:
        """The context for a way, with its threads, warmed up."""
        case = BenchCase(self._ref, way, self._work)
        if self._case is None or weights_key(case) != weights_key(self._case):
            await self.close()
            self._phase("loading")
            self._target = await self._bencher.open(case, lambda _: None, cancel)
            self._case = case
        apart = _without_threads(way)
        run = self._contexts.pop(apart, None)
        if run is None:
            run = await self._make(way)
        self._contexts[apart] = run
        await run.use_threads(way.n_threads, way.n_threads_batch)
        if way not in self._warm:
            self._phase("warming up")
            await run.warm_up(cancel)
            self._warm.add(way)
        return run

    async def _make(self, way: BenchSettings) -> BenchRun:
        assert self._target is not None
        while len(self._contexts) >= MOST_CONTEXTS:
            oldest = next(iter(self._contexts))
            await self._contexts.pop(oldest).close()
            self._warm = {each for each in self._warm if _without_threads(each) != oldest}
        with suppress(MemoryShortError):
            return await self._target.prepare(way, self._work)
        await self._drop_contexts()
        return await self._target.prepare(way, self._work)

    async def _drop_contexts(self) -> None:
        contexts, self._contexts = self._contexts, {}
        self._warm.clear()
        for run in contexts.values():
            await run.close()


@lru_cache(maxsize=1024)
def _without_threads(way: BenchSettings) -> BenchSettings:
    """Settings that share a context are equal: threads change live."""
    return replace(way, n_threads=0, n_threads_batch=0)
