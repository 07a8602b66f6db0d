"""Progress of long commands, and stopping them."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from workbench.cli.output import note
from workbench.core.cancel import CancelToken
from workbench.core.engine import EngineHost
from workbench.core.errors import CancelledError, StoppedError

SPEAK_INTERVAL_S = 2.0
"""How often progress is printed where the line cannot be overwritten."""

_CLEAR_LINE = "\r\x1b[K"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_Result = TypeVar("_Result")


class ProgressLine:
    """A line on standard error that is overwritten on a terminal.

    Elsewhere it is printed every few seconds, unless it is `on_terminals_only`.
    """

    def __init__(self, *, on_terminals_only: bool = False) -> None:
        self._told_at = float("inf") if on_terminals_only else -SPEAK_INTERVAL_S

    def say(self, text: str, *, last: bool = False) -> None:
        """Replace the line; the `last` one is printed in any case."""
        if sys.stderr.isatty():
            note(text, start=_CLEAR_LINE, end="")
        elif last or time.monotonic() - self._told_at >= SPEAK_INTERVAL_S:
            self._told_at = time.monotonic()
            note(text)

    def clear(self) -> None:
        """Clear the line on a terminal."""
        if sys.stderr.isatty():
            note("", start=_CLEAR_LINE, end="")


def cancelled_by(
    work: Callable[[], Awaitable[_Result]], error: CancelledError
) -> Callable[[CancelToken], Awaitable[_Result]]:
    """`work` for `stoppable`: it is cancelled by a signal, which raises `error`."""

    async def run(cancel: CancelToken) -> _Result:
        task = asyncio.ensure_future(work())
        cancel.on_set(task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            if cancel.is_set:
                raise error from None
            raise

    return run


@asynccontextmanager
async def stopped_by(
    cancel: CancelToken, stop: Callable[[], object], line: ProgressLine, engines: EngineHost | None = None
) -> AsyncIterator[None]:
    """Calls `stop` when `cancel` is set; at the end of the block, clears the line and closes the engines."""
    cancel.on_set(stop)
    try:
        yield
    finally:
        line.clear()
        if engines is not None:
            await engines.shutdown()


def show_loading(line: ProgressLine, fraction: float) -> None:
    """Show how much of a model is loaded; nothing once it is."""
    if fraction < 1.0:
        line.say(f"Loading {fraction:4.0%}")
    else:
        line.clear()


async def stoppable(work: Callable[[CancelToken], Awaitable[_Result]]) -> _Result:
    """Do `work` until it is done, or until a signal asks to stop; a second signal does not wait for the work.

    Raises:
        StoppedError: A signal stopped it before it had a result.
    """
    cancel = CancelToken()
    task = asyncio.ensure_future(work(cancel))

    def stop() -> None:
        if cancel.is_set:
            task.cancel()
        cancel.set()

    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    for number in before:
        # Windows has no such handlers: there, Ctrl+C raises KeyboardInterrupt, and the work cleans up after itself.
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        return await task
    except (CancelledError, asyncio.CancelledError) as error:
        if not cancel.is_set:
            raise
        message = error.message if isinstance(error, CancelledError) else "Stopped."
        raise StoppedError(message) from error
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, handler)
