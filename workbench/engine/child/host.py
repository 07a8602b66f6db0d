"""Opening models in child processes: the ports of engines and of benchmarks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import replace

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import Capabilities, Engine, EngineHost, ProgressCallback, Request
from workbench.core.errors import CancelledError, WorkbenchError
from workbench.core.events import Batch, Failed, Finished
from workbench.core.memory import Correction
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.child.process import EngineProcess
from workbench.engine.child.seats import EngineSeats
from workbench.engine.child.values import ROOT, OpenObject, Passed
from workbench.engine.child.wire import Callback
from workbench.engine.llama.runtime import outcome
from workbench.engine.outbox import Outbox, RunningAnswers

LOADED_AGAIN = "The process of the engine had ended: the model was loaded again before this answer."
CLOSE_S = 30.0
"""How long a model may take to be closed; a step that runs is waited for."""

_logger = logging.getLogger(__name__)

Resolve = Callable[[str], ModelEntry]


class InChild:
    """An object that was opened in a child process of `seats`."""

    def __init__(self, seats: EngineSeats, process: EngineProcess, number: int) -> None:
        self._seats = seats
        self._closed = False
        self.process = process
        self.number = number

    async def call(self, method: str, *arguments: Passed) -> Passed:
        """The result of one of its methods."""
        return await self.process.call(self.number, method, *arguments)

    async def close(self) -> None:
        """Close it, and the process where it was the last object."""
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.wait_for(self.call("close"), CLOSE_S)
        except WorkbenchError:
            # The process has ended: everything that it held is free.
            pass
        except TimeoutError:
            _logger.warning("The engine's process does not respond: it is ended where nothing else is open in it.")
        finally:
            await asyncio.shield(self._seats.leave(self.process))


async def opened(
    seats: EngineSeats, host: str, cancel: CancelToken, method: str, *arguments: Passed
) -> tuple[InChild, Passed]:
    """What `method` of the child for `host` opens, and what is known of it.

    Where the task is cancelled, it is closed as soon as it is open.
    """
    process = await seats.take(host)
    if cancel.is_set:
        await seats.leave(process, keep=True)
        raise CancelledError("Loading was stopped.")
    opening = process.submit(ROOT, method, *arguments, cancel)
    try:
        found: OpenObject[Passed] = await outcome(opening)
        return InChild(seats, process, found.number), found.facts
    except asyncio.CancelledError:
        cancel.set()
        loop = asyncio.get_running_loop()
        opening.add_done_callback(lambda done: _discard(seats, process, loop, done))
        raise
    except WorkbenchError:
        await seats.leave(process)
        raise


class ChildHost(EngineHost):
    """Opens GGUF files in the processes of `seats`; `resolve` and `correction` are as for `LlamaHost`."""

    def __init__(
        self,
        resolve: Resolve,
        seats: EngineSeats,
        correction: Callable[[str], Awaitable[Correction]] | None = None,
    ) -> None:
        self._resolve = resolve
        self._seats = seats
        self._correction = correction

    @override
    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        began = time.perf_counter()
        model = await asyncio.to_thread(self._resolve, ref)
        correction: Correction = {}
        if self._correction is not None and model.architecture:
            correction = dict(await self._correction(model.architecture))
        asked = model, settings, correction
        held, facts = await opened(self._seats, settings.engine_host, cancel, "open", *asked, Callback(on_progress))
        info, capabilities = facts
        # The start of the process is a part of the load.
        info = replace(info, load_ms=(time.perf_counter() - began) * 1e3)
        return ChildEngine(self._seats, held, info, capabilities, asked)

    @override
    async def shutdown(self) -> None:
        await self._seats.shutdown()


class ChildEngine(Engine):
    """One open model in a child process. Where that has ended, the next request loads the model as it was `asked`."""

    def __init__(
        self,
        seats: EngineSeats,
        held: InChild,
        info: EngineInfo,
        capabilities: Capabilities,
        asked: tuple[ModelEntry, LoadSettings, Correction],
    ) -> None:
        self._seats = seats
        self._held: InChild | None = held
        self._asked = asked
        self._loading = asyncio.Lock()
        self._answers = RunningAnswers()
        self.info = info
        self.capabilities = capabilities

    @override
    async def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        before_it = self._held
        try:
            running = await self._running(cancel)
        except WorkbenchError as error:
            yield (Failed(error, time.perf_counter_ns()),)
            return

        def start(outbox: Outbox) -> None:
            running.process.submit(running.number, "generate", request, cancel, outbox=outbox)

        async with aclosing(self._answers.stream(start, cancel)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                *before, last = batch
                if running is not before_it and isinstance(last, Finished):
                    last = replace(last, notice=" ".join(filter(None, (last.notice, LOADED_AGAIN))))
                yield (*before, last)

    @override
    async def score(self, tokens: Sequence[int]) -> tuple[float, ...]:
        return await self._call("score", tokens)  # type: ignore[no-any-return]

    @override
    async def rank(self, request: Request, choices: Sequence[str], cancel: CancelToken) -> tuple[float, ...]:
        return await self._call("rank", request, choices, cancel)  # type: ignore[no-any-return]

    @override
    async def check_tools(self) -> None:
        await self._call("check_tools")

    @override
    async def tokens(self, request: Request) -> tuple[int, ...]:
        return await self._call("tokens", request)  # type: ignore[no-any-return]

    @override
    async def close(self) -> None:
        if self._answers.closed:
            return
        self._answers.close()
        async with self._loading:
            if self._held is not None:
                await self._held.close()

    async def _call(self, method: str, *arguments: Passed) -> Passed:
        return await (await self._running(CancelToken())).call(method, *arguments)

    async def _running(self, cancel: CancelToken) -> InChild:
        """The model, which is loaded again where its process has ended."""
        self._answers.check_open()
        async with self._loading:
            self._answers.check_open()
            if self._held is not None and self._held.process.ended is None:
                return self._held
            if (ended := self._held) is not None:
                self._held = None
                await self._seats.leave(ended.process)
            _, settings, _ = self._asked
            nothing = Callback(lambda _: None)
            self._held, _ = await opened(self._seats, settings.engine_host, cancel, "open", *self._asked, nothing)
            return self._held


def _discard(seats: EngineSeats, process: EngineProcess, loop: asyncio.AbstractEventLoop, done: Future[Passed]) -> None:
    """Close what was opened for a task that has been cancelled."""

    async def close() -> None:
        if done.exception() is None:
            await InChild(seats, process, done.result().number).close()
        else:
            await seats.leave(process)

    if not loop.is_closed():
        asyncio.run_coroutine_threadsafe(close(), loop)
