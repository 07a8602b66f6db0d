"""The child process that hosts the engine: it serves the ports of one llama.cpp until its input closes."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from workbench.core.bench import BenchCase, BenchModel, BenchSettings, BenchTest
from workbench.core.cancel import CancelToken
from workbench.core.engine import Capabilities, Engine
from workbench.core.errors import EngineError, WorkbenchError
from workbench.core.memory import Correction
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.child.values import (
    ROOT,
    Aborting,
    CancelSet,
    Events,
    HostOptions,
    Logged,
    MethodCall,
    OpenObject,
    Passed,
    Returned,
)
from workbench.engine.child.wire import ChildEnd, messages
from workbench.engine.llama.aborts import abort_hooks
from workbench.engine.llama.host import LlamaHost
from workbench.engine.llama.runtime import current_machine, shared_runtime
from workbench.engine.llama.states import KeptState
from workbench.processes import take_output

if TYPE_CHECKING:
    from workbench.engine.llama.bench import LlamaBencher
    from workbench.engine.llama.plan import Machine
    from workbench.lab.quality.logits import Chunk, LogitModel, ModelSpec, Reduce

_logger = logging.getLogger(__name__)


class HostedEngines:
    """The object with the number `ROOT`. What it opens gets a number, under which the parent calls its methods."""

    def __init__(self) -> None:
        self.objects: dict[int, Any] = {ROOT: self}
        self._models: dict[str, ModelEntry] = {}
        self._corrections: dict[str, Correction] = {}
        """By architecture."""
        self._next = ROOT
        self._host: LlamaHost | None = None
        self._bencher: LlamaBencher | None = None

    async def start(self, options: HostOptions, kept: Sequence[KeptState]) -> None:
        """Make the engine; `kept` are states that an earlier process has left. To be called once, and first."""
        logging.getLogger("workbench").setLevel(options.log_level)
        shared_runtime.step_back(options.niceness)
        self._host = LlamaHost(
            self._models.__getitem__,
            state_budget_bytes=options.state_budget_bytes,
            checkpoints=options.checkpoints,
            memory_guard=options.memory_guard,
            typed_control_tokens=options.typed_control_tokens,
            correction=self._correction,
        )
        self._host.states.take_in(kept)
        self._guard = options.memory_guard

    async def _correction(self, architecture: str) -> Correction:
        return self._corrections.get(architecture, {})

    def _add(self, found: Passed) -> int:
        self._next += 1
        self.objects[self._next] = found
        return self._next

    async def open(
        self,
        model: ModelEntry,
        settings: LoadSettings,
        correction: Correction,
        on_progress: Callable[[float], None],
        cancel: CancelToken,
    ) -> OpenObject[tuple[EngineInfo, Capabilities]]:
        """See `EngineHost.open`."""
        assert self._host is not None
        self._models[model.ref], self._corrections[model.architecture or ""] = model, correction
        engine: Engine = await self._host.open(model.ref, settings, on_progress, cancel)
        return OpenObject(self._add(engine), (engine.info, engine.capabilities))

    async def open_target(
        self, model: ModelEntry, case: BenchCase, on_progress: Callable[[float], None], cancel: CancelToken
    ) -> OpenObject[BenchModel]:
        """See `Bencher.open`."""
        self._models[case.ref] = model
        bencher = self._benches()
        machine = await bencher.machine()
        target = await bencher.open(case, on_progress, cancel)
        return OpenObject(self._add(target), replace(target.model, build=machine))

    async def prepare(self, target: int, settings: BenchSettings, test: BenchTest) -> int:
        """The number of a run: see `BenchTarget.prepare`."""
        return self._add(await self.objects[target].prepare(settings, test))

    async def open_logits(
        self,
        models: Mapping[str, ModelEntry],
        specs: Sequence[ModelSpec],
        n_ctx: int,
        on_progress: Callable[[float], None],
        cancel: CancelToken,
    ) -> OpenObject[tuple[LogitModel, ...]]:
        """See `LogitHost.open`; `models` are those of the specifications, by reference."""
        from workbench.engine.llama.logits import LlamaLogitHost

        host = LlamaLogitHost(models.__getitem__, memory_guard=self._guard)
        found = await host.open(specs, n_ctx, on_progress, cancel)
        return OpenObject(self._add(found), found.models)

    async def compute_logits(
        self,
        number: int,
        chunk: Chunk,
        reduce: Reduce,
        cancel: CancelToken,
        on_position: Callable[[int], None],
    ) -> None:
        """See `LogitModels.compute`."""
        await self.objects[number].compute(chunk, reduce, cancel, on_position)

    async def machine(self) -> Machine:
        """The hardware, as this build sees it."""
        return await current_machine()

    async def next_state(self) -> KeptState | None:
        """Give a kept state away; None where none is left."""
        assert self._host is not None
        return self._host.states.give_away()

    def _benches(self) -> LlamaBencher:
        from workbench.engine.llama.bench import LlamaBencher

        if self._bencher is None:
            self._bencher = LlamaBencher(self._models.__getitem__, memory_guard=self._guard)
        return self._bencher


class _Service:
    """Answers the calls of the parent, each in a task of its own."""

    def __init__(self, end: ChildEnd, loop: asyncio.AbstractEventLoop) -> None:
        self._end = end
        self._loop = loop
        self._engines = HostedEngines()
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Read from the parent until it is gone, which ends this process."""
        try:
            for message in messages(sys.stdin.buffer, self._end.find):
                if isinstance(message, CancelSet):
                    # At once: the loop may have to wait for the thread that computes.
                    self._end.cancel(message)
                else:
                    self._loop.call_soon_threadsafe(self._begin, message)
        finally:
            # Without what a driver has registered for the end of a process, which may block.
            os._exit(0)

    def _begin(self, call: MethodCall) -> None:
        task = self._loop.create_task(self._answer(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: MethodCall) -> None:
        value, problem = None, None
        try:
            doing = getattr(self._engines.objects[call.target], call.method)(*call.arguments)
            if isinstance(doing, AsyncIterator):
                async for batch in doing:
                    self._end.send(Events(call.number, batch))
            else:
                value = await doing
        except WorkbenchError as error:
            problem = error
        except Exception as error:
            _logger.exception("A call in the engine's process failed.")
            problem = EngineError(f"The engine failed: {error!r}.", "The log (F12) has the details.")
        if call.method == "close":
            self._engines.objects.pop(call.target, None)
        self._end.send(Returned(call.number, value, problem))


class _SendLines(logging.Handler):
    """Sends log lines to the parent."""

    def __init__(self, end: ChildEnd) -> None:
        super().__init__()
        self._end = end

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._end.send(Logged(record.name, record.levelno, self.format(record)))


async def _serve(end: ChildEnd) -> None:
    service = _Service(end, asyncio.get_running_loop())
    threading.Thread(target=service.listen, name="parent", daemon=True).start()
    await asyncio.Event().wait()


def main() -> None:
    """Serve until the parent is gone."""
    faulthandler.enable()
    end = ChildEnd(take_output())
    logger = logging.getLogger("workbench")
    logger.propagate = False
    logger.addHandler(_SendLines(end))
    abort_hooks.append(lambda message: end.send(Aborting(message)))
    asyncio.run(_serve(end))


if __name__ == "__main__":
    main()
