"""The load generator of a sweep: a child process that does nothing but query the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.errors import CancelledError, ServerError, WorkbenchError, error_of
from workbench.core.servers import ServerAddress, split_ref
from workbench.core.sweep import LoadClient, LoadClients, LoadCost, LoadLevel, LoadSample, LoadTarget
from workbench.processes import ChildProcess, JsonObject, ProcessEndedError

WORKER = "workbench.engine.remote.load_worker"
STOPPED = "The sweep was stopped."


class ChildLoadClients(LoadClients):
    """Starts load generators, each in a process of its own. `address_of` finds the key for the server at a URL."""

    def __init__(self, address_of: Callable[[str], ServerAddress] = ServerAddress) -> None:
        self._address_of = address_of

    @override
    async def open(self, ref: str, on_progress: ProgressCallback, cancel: CancelToken) -> LoadClient:
        key = self._address_of(split_ref(ref)[0]).key
        try:
            child = ChildProcess(WORKER)
        except OSError as error:
            message = f"Asking the server needs a process, and none starts: {error}."
            raise ServerError(message, "Close other programs.") from None
        target: LoadTarget | None = None
        try:
            # The key goes through the pipe: arguments and environments of processes are visible to others.
            async for event in _ask(child, cancel, open=ref, key=None if key is None else key.reveal()):
                if "progress" in event:
                    on_progress(event["progress"])
                elif "target" in event:
                    target = LoadTarget(**event["target"])
            if cancel.is_set or target is None:
                target = None
                raise CancelledError(STOPPED)
        finally:
            if target is None:
                await _end(child)
        return ChildLoadClient(child, target)


class ChildLoadClient(LoadClient):
    """A running load generator."""

    def __init__(self, child: ChildProcess, target: LoadTarget) -> None:
        self._child = child
        self.target = target

    @override
    async def run(self, level: LoadLevel, cancel: CancelToken) -> AsyncIterator[LoadSample | LoadCost]:
        async for event in _ask(self._child, cancel, level=asdict(level)):
            if "sample" in event:
                yield LoadSample(**event["sample"])
            elif "cost" in event:
                yield LoadCost(**event["cost"])

    @override
    async def close(self) -> None:
        await _end(self._child)


async def _ask(child: ChildProcess, cancel: CancelToken, **order: object) -> AsyncIterator[JsonObject]:
    """The events that answer an order. `cancel` ends the process."""
    cancel.on_set(child.kill)
    failed: WorkbenchError | None = None
    try:
        async for event in child.ask(**order):
            if "error" in event:
                failed = error_of(**event["error"], otherwise=ServerError)
            else:
                yield event
    except ProcessEndedError:
        if not cancel.is_set:
            message = "The process that asks the server has ended unexpectedly."
            raise ServerError(message, "Try it again.") from None
    if failed is not None:
        raise failed


async def _end(child: ChildProcess) -> None:
    child.kill()
    await asyncio.to_thread(child.close)
