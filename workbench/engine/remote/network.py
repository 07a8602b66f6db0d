"""The one thread that talks to servers.

Bytes are stamped when they arrive, and not when a screen that is being drawn gets round to them. So the connections
live in an event loop of their own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class Network:
    """The thread and its event loop. It starts with the first work, and lives as long as the program."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start_lock = threading.Lock()

    def submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run a coroutine there; from any thread. Cancelling what is given back cancels it."""
        return asyncio.run_coroutine_threadsafe(work, self._ensure_started())

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine there, and wait for it here. Cancelling the wait cancels it."""
        return await asyncio.wrap_future(self.submit(work))

    def _ensure_started(self) -> asyncio.AbstractEventLoop:
        with self._start_lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon: a server that answers slowly must not keep the program from ending.
                threading.Thread(target=self._loop.run_forever, name="network", daemon=True).start()
            return self._loop


shared_network = Network()
"""The one network of the process."""
