"""Benchmarks of models in child processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from typing_extensions import override

from workbench.core.bench import (
    BenchCase,
    Bencher,
    BenchMachine,
    BenchRun,
    BenchSettings,
    BenchTarget,
    BenchTest,
    RunTime,
)
from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.engine_hosts import PROCESS
from workbench.core.models import ModelEntry
from workbench.engine.child.host import close_in_child, opened
from workbench.engine.child.process import EngineProcess
from workbench.engine.child.seats import EngineSeats
from workbench.engine.child.values import ROOT, OpenTarget, Passed
from workbench.engine.child.wire import Callback


class AnyBencher(Bencher):
    """Opens GGUF files for benchmarks with `here` or in the processes of `seats`; `resolve` is as for `LlamaHost`."""

    def __init__(self, here: Bencher, resolve: Callable[[str], ModelEntry], seats: EngineSeats) -> None:
        self._here = here
        self._resolve = resolve
        self._seats = seats

    @override
    async def machine(self) -> BenchMachine:
        return await self._here.machine()

    @override
    async def open(self, case: BenchCase, on_progress: ProgressCallback, cancel: CancelToken) -> BenchTarget:
        if case.settings.engine_host == PROCESS:
            return await self._here.open(case, on_progress, cancel)
        model = await asyncio.to_thread(self._resolve, case.ref)
        arguments = model, case, Callback(on_progress)
        found: OpenTarget
        process, found = await opened(self._seats, case.settings.engine_host, cancel, "open_target", *arguments)
        return _TargetInChild(self._seats, process, found)


class _TargetInChild(BenchTarget):
    """A model opened for a benchmark in a child process."""

    def __init__(self, seats: EngineSeats, process: EngineProcess, target: OpenTarget) -> None:
        self._seats = seats
        self._process = process
        self._number = target.number
        self._closed = False
        self.model = target.model

    @override
    async def prepare(self, settings: BenchSettings, test: BenchTest) -> BenchRun:
        return _RunInChild(self._process, await self._process.call(ROOT, "prepare", self._number, settings, test))

    @override
    async def close(self) -> None:
        closed, self._closed = self._closed, True
        if not closed:
            await close_in_child(self._seats, self._process, self._number)


class _RunInChild(BenchRun):
    """A context for one test in a child process."""

    def __init__(self, process: EngineProcess, number: int) -> None:
        self._process = process
        self._number = number

    @override
    async def warm_up(self, cancel: CancelToken) -> float:
        seconds: float = await self._do(cancel, "warm_up")
        return seconds

    @override
    async def repeat(self, seed: int, cancel: CancelToken) -> RunTime:
        found: RunTime = await self._do(cancel, "repeat", seed)
        return found

    @override
    async def use_threads(self, decode: int, prompt: int) -> None:
        await self._process.call(self._number, "use_threads", decode, prompt)

    @override
    async def close(self) -> None:
        await self._process.call(self._number, "close")

    async def _do(self, cancel: CancelToken, method: str, *arguments: Passed) -> Passed:
        try:
            return await self._process.call(self._number, method, *arguments, cancel)
        except asyncio.CancelledError:
            cancel.set()
            raise
