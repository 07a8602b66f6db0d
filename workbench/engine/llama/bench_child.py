"""Benchmarks in a child process: settings with which llama.cpp ends the process end that one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

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
from workbench.core.errors import CancelledError, EngineProcessError, WorkbenchError, error_of
from workbench.core.json_reader import read_json
from workbench.core.models import ModelEntry
from workbench.engine.llama.bench import LlamaBencher
from workbench.processes import ChildProcess, ProcessEndedError

WORKER = "workbench.engine.llama.bench_worker"


class ChildBencher(Bencher):
    """Opens each model in a process of its own. The arguments are those of `LlamaHost`.

    `processes` has the ids of those that run.
    """

    def __init__(self, resolve: Callable[[str], ModelEntry], processes: set[int], *, memory_guard: bool = True) -> None:
        self._resolve = resolve
        self._processes = processes
        self._guard = memory_guard

    @override
    async def machine(self) -> BenchMachine:
        return await LlamaBencher(self._resolve).machine()

    @override
    async def open(self, case: BenchCase, on_progress: ProgressCallback, cancel: CancelToken) -> BenchTarget:
        entry = await asyncio.to_thread(self._resolve, case.ref)
        try:
            child = _Child(ChildProcess(WORKER, environment={"GGML_NO_BACKTRACE": "1"}), self._processes)
        except OSError as error:
            message = f"Measuring needs a process, and none starts: {error}."
            raise EngineProcessError(message, "Close other programs.") from None
        model = {name: getattr(entry, name) for name in ("ref", "name", "quant", "path", "digest")}
        adapter = None if entry.adapter_path is None else str(entry.adapter_path)
        try:
            found = await child.ask(
                cancel, on_progress, open=asdict(case), model=model, adapter=adapter, guard=self._guard
            )
        except BaseException:
            await child.end()
            raise
        return _ChildTarget(child, read_json(BenchModel, found))


class _Child:
    """The process, asked one thing after the other."""

    def __init__(self, process: ChildProcess, processes: set[int]) -> None:
        self._process = process
        self._processes = processes
        self._asked = 0
        processes.add(process.pid)

    async def ask(
        self, cancel: CancelToken | None = None, on_progress: ProgressCallback = lambda _: None, **order: object
    ) -> Any:  # noqa: ANN401 - JSON
        """The result of an order. Raises the error that it reports; EngineProcessError where it ended."""
        number = self._asked = self._asked + 1
        if cancel is not None:
            cancel.on_set(lambda: self._process.send(cancel=number))
        result: Any = None
        failed: WorkbenchError | None = None
        abort = ""
        try:
            async for event in self._process.ask(number=number, **order):
                if "progress" in event:
                    on_progress(event["progress"])
                elif "error" in event:
                    failed = error_of(**event["error"])
                elif "abort" in event:
                    abort = str(event["abort"])
                else:
                    result = event.get("result")
        except ProcessEndedError:
            if cancel is not None and cancel.is_set:
                raise CancelledError("The measurement was stopped.") from None
            why = abort or f"exit status {await asyncio.to_thread(self._process.close, 1.0)}"
            raise EngineProcessError(f"llama.cpp ended the process that measures: {why}") from None
        if failed is not None:
            raise failed
        return result

    async def end(self) -> None:
        """End the process, which frees its memory."""
        self._process.kill()
        await asyncio.to_thread(self._process.close)
        self._processes.discard(self._process.pid)


class _ChildTarget(BenchTarget):
    def __init__(self, child: _Child, model: BenchModel) -> None:
        self._child = child
        self.model = model

    @override
    async def prepare(self, settings: BenchSettings, test: BenchTest) -> BenchRun:
        return _ChildRun(self._child, await self._child.ask(prepare=asdict(settings), test=asdict(test)))

    @override
    async def close(self) -> None:
        await self._child.end()


class _ChildRun(BenchRun):
    def __init__(self, child: _Child, number: int) -> None:
        self._child = child
        self._number = number

    @override
    async def warm_up(self, cancel: CancelToken) -> float:
        return float(await self._child.ask(cancel, warm_up=self._number))

    @override
    async def repeat(self, seed: int, cancel: CancelToken) -> RunTime:
        return read_json(RunTime, await self._child.ask(cancel, repeat=self._number, seed=seed))

    @override
    async def use_threads(self, decode: int, prompt: int) -> None:
        await self._child.ask(threads=self._number, decode=decode, prompt=prompt)

    @override
    async def close(self) -> None:
        try:
            await self._child.ask(close=self._number)
        except EngineProcessError:
            # Its memory is free then.
            return
