"""Benchmarks of models in child processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from typing_extensions import override

from workbench.core.bench import (
    BenchCase,
    Bencher,
    BenchMachine,
    BenchModel,
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
from workbench.engine.child.host import InChild, opened
from workbench.engine.child.process import EngineProcess
from workbench.engine.child.seats import EngineSeats
from workbench.engine.child.values import ROOT, Passed
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
        return _TargetInChild(*await opened(self._seats, case.settings.engine_host, cancel, "open_target", *arguments))


class _TargetInChild(BenchTarget):
    """A model opened for a benchmark in a child process."""

    def __init__(self, held: InChild, model: BenchModel) -> None:
        self._held = held
        self.model = model

    @override
    async def prepare(self, settings: BenchSettings, test: BenchTest) -> BenchRun:
        process = self._held.process
        return _RunInChild(process, await process.call(ROOT, "prepare", self._held.number, settings, test))

    @override
    async def close(self) -> None:
        await self._held.close()


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
