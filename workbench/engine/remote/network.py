"""The one thread for connections to servers, with an event loop of its own.

Bytes are stamped when they arrive, and not once the screen has been drawn.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


class _Lookups(ThreadPoolExecutor):
    """Resolves names, each in a daemon thread.

    The system's resolver may take half a minute and cannot be interrupted; the program must not wait for it at exit.
    """

    def submit(
        self, function: Callable[Parameters, Result], /, *arguments: Parameters.args, **named: Parameters.kwargs
    ) -> Future[Result]:
        """Call a function in a new thread."""
        future: Future[Result] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(*arguments, **named))
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                future.set_exception(error)

        threading.Thread(target=call, name="lookup", daemon=True).start()
        return future


class Network:
    """The thread and its event loop. It starts with the first work, and lives as long as the program."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start_lock = threading.Lock()

    def submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run a coroutine there; from any thread. Cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(work, self._ensure_started())

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine there, and wait for it here. Cancelling the wait cancels it."""
        return await asyncio.wrap_future(self.submit(work))

    async def run_until(self, cancel: CancelToken, work: Coroutine[Any, Any, Result], stopped: str) -> Result:
        """`run`, which `cancel` ends.

        Raises:
            CancelledError: `cancel` was set; `stopped` is its message.
        """
        running = self.submit(work)

        cancel.on_set(running.cancel)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            if cancel.is_set:
                raise CancelledError(stopped) from None
            raise

    def _ensure_started(self) -> asyncio.AbstractEventLoop:
        with self._start_lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(_Lookups())
                # A daemon: a server that answers slowly must not keep the program from ending.
                threading.Thread(target=self._loop.run_forever, name="network", daemon=True).start()
            return self._loop


shared_network = Network()
"""The one network of the process."""
