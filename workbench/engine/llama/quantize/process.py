"""The child process in which llama.cpp quantizes, seen from the program."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, QuantizeError, TargetError

WORKER = "workbench.engine.llama.quantize.worker"
STOPPED = "Quantizing was stopped."
_LONGEST_LINE = 2**27
"""A dry run gives the types of all tensors on one line."""


class QuantizeProcess:
    """A running worker, which takes one order after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, **order: object) -> AsyncIterator[dict[str, Any]]:
        """Give an order; yields what the worker tells of it.

        Raises:
            QuantizeError: The process ended before it had done what it was told.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with suppress(ConnectionError):
            stdin.write(json.dumps(order).encode() + b"\n")
            await stdin.drain()
        async for line in stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "end":
                return
            yield event
        yield {"event": "failed", "message": "its process ended unexpectedly"}

    def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is not None:
            return
        if sys.platform == "win32":
            self._process.kill()
            return
        # asyncio's own way may reap a child that has just ended, and then complains that it is not there to be reaped.
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)

    async def gone(self) -> None:
        """Tell it that nothing more is wanted, and wait until it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@asynccontextmanager
async def quantize_process(cancel: CancelToken) -> AsyncIterator[QuantizeProcess]:
    """Start a worker. It is gone when the block is left, in whichever way.

    Raises:
        CancelledError: `cancel` was set, before or in the block.
    """
    if cancel.is_set:
        raise CancelledError(STOPPED)
    child = QuantizeProcess(
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LONGEST_LINE,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
            # Ctrl+C reaches every process of the terminal's group: whether to stop is decided here alone.
            start_new_session=True,
        )
    )
    loop = asyncio.get_running_loop()

    def kill_soon() -> None:
        # The loop may be closed by the time that somebody raises the flag.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(child.kill)

    cancel.on_set(kill_soon)
    well = False
    try:
        yield child
        well = not cancel.is_set
        if not well:
            raise CancelledError(STOPPED)
    except (QuantizeError, TargetError):
        # What a killed process leaves half done is no failure.
        if cancel.is_set:
            raise CancelledError(STOPPED) from None
        raise
    finally:
        if not well:
            child.kill()
        await child.gone()
