"""The client of a sweep, seen from the program: a child process, which does nothing but ask."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.core.errors import CancelledError, ServerError, WorkbenchError
from workbench.core.servers import ServerAddress, split_ref
from workbench.core.sweep import LoadClient, LoadCost, LoadLevel, LoadSample, LoadTarget

WORKER = "workbench.engine.remote.load_worker"
STOPPED = "The sweep was stopped."
_LONGEST_LINE = 2**24


class ChildLoadClients:
    """Makes clients, each in a process of its own.

    Args:
        address_of: Finds the key for the server at a URL.
    """

    def __init__(self, address_of: Callable[[str], ServerAddress] = ServerAddress) -> None:
        self._address_of = address_of

    async def open(self, ref: str, on_progress: ProgressCallback, cancel: CancelToken) -> LoadClient:
        """See who is at the server that `ref` names as `http://host:port#MODEL`, and have it load the model.

        Raises:
            WorkbenchError: It cannot be asked; CancelledError when `cancel` was set.
        """
        key = self._address_of(split_ref(ref)[0]).key
        client = ChildLoadClient(await _child())
        cancel.on_set(client.end_soon)
        target: LoadTarget | None = None
        try:
            # The key goes through the pipe: arguments and environments of processes can be looked at.
            async for event in client.ask({"open": ref, "key": None if key is None else key.reveal()}, cancel):
                if "progress" in event:
                    on_progress(event["progress"])
                elif "target" in event:
                    target = LoadTarget(**event["target"])
        finally:
            if target is None:
                await client.close()
        if cancel.is_set or target is None:
            await client.close()
            raise CancelledError(STOPPED)
        client.target = target
        return client


class ChildLoadClient:
    """A client that runs."""

    target: LoadTarget

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()

    async def run(self, level: LoadLevel, cancel: CancelToken) -> AsyncIterator[LoadSample | LoadCost]:
        """Ask everything of a level.

        Raises:
            ServerError: The client itself ended.
        """
        order = {
            "concurrency": level.concurrency,
            "prompts": level.prompts,
            "n_gen": level.n_gen,
            "seconds": level.seconds,
        }
        cancel.on_set(self.end_soon)
        async for event in self.ask({"level": order}, cancel):
            if "sample" in event:
                yield LoadSample(**event["sample"])
            elif "cost" in event:
                yield LoadCost(**event["cost"])

    async def ask(self, order: dict[str, object], cancel: CancelToken) -> AsyncIterator[dict[str, Any]]:
        """Give an order; yields what comes of it.

        Raises:
            WorkbenchError: It cannot be done.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with suppress(ConnectionError):
            stdin.write(json.dumps(order).encode() + b"\n")
            await stdin.drain()
        failed: WorkbenchError | None = None
        async for line in stdout:
            if not line.endswith(b"\n"):
                break
            event: dict[str, Any] = json.loads(line)
            if "end" in event:
                if failed is not None:
                    raise failed
                return
            if "error" in event:
                failed = error_of(**event["error"])
            else:
                yield event
        if not cancel.is_set:
            raise ServerError("The process that asks the server has ended unexpectedly.", "Try it again.")

    def end_soon(self) -> None:
        """End it; from any thread."""
        # The loop may be closed by the time that somebody raises the flag.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._kill)

    def _kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        """End it."""
        self._kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def _child() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", WORKER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LONGEST_LINE,
        # Ctrl+C reaches every process of the terminal's group: whether to stop is decided here alone.
        start_new_session=True,
    )


def error_of(kind: str, message: str, hint: str) -> WorkbenchError:
    """An error that another process has met, as it would be here."""
    left: list[type[WorkbenchError]] = [WorkbenchError]
    while left:
        each = left.pop()
        if each.kind == kind:
            return each(message, hint)
        left += each.__subclasses__()
    return ServerError(message, hint)
