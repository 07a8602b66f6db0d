"""How commands that take long tell how far they are, and how they are stopped."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from workbench.cli.output import note
from workbench.core.cancel import CancelToken

INTERRUPTED = 130
"""The exit status of a command that was stopped."""
SPEAK_INTERVAL_S = 2.0
"""How often progress is told where it cannot be written over."""

_Result = TypeVar("_Result")


class ProgressLine:
    """A line on standard error, written over where that is a terminal."""

    def __init__(self) -> None:
        self._told_at = -SPEAK_INTERVAL_S

    def say(self, text: str, *, last: bool = False) -> None:
        """Replace the line; where it cannot be replaced, print one every few seconds, and always the `last`."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif last or time.monotonic() - self._told_at >= SPEAK_INTERVAL_S:
            self._told_at = time.monotonic()
            note(text)

    def clear(self) -> None:
        """Make room for what comes next."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


async def stoppable(work: Callable[[CancelToken], Awaitable[_Result]]) -> _Result:
    """Do `work` until it is done, or until a signal asks to stop."""
    cancel = CancelToken()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no such handler; there, Ctrl+C raises KeyboardInterrupt, and the work cleans up behind itself.
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, cancel.set)
    return await work(cancel)
