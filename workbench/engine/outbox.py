"""Delivery of an answer's events, from the thread that makes them to the event loop that shows them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from workbench.core.cancel import CancelToken
from workbench.core.errors import EngineError
from workbench.core.events import Batch, Event, Failed, Finished

FLUSH_INTERVAL_NS = 40_000_000
"""Events are handed to the event loop at most this often, so that it is woken 25 times a second and not per token."""


class Outbox:
    """Hands events from a thread to the event loop that reads `batches`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.batches: asyncio.Queue[Batch] = asyncio.Queue()
        self._loop = loop
        self._events: list[Event] = []
        self._flushed_ns = 0

    @property
    def holds(self) -> bool:
        """Whether something waits for the next batch."""
        return bool(self._events)

    def put(self, event: Event, *, at_once: bool = False) -> None:
        """Add an event; it leaves with the next batch, or now."""
        self._events.append(event)
        if at_once or self.is_due(event.at_ns):
            self.flush(event.at_ns)

    def is_due(self, now_ns: int) -> bool:
        """Whether an event of this time leaves with all that wait."""
        return now_ns - self._flushed_ns >= FLUSH_INTERVAL_NS

    def flush(self, now_ns: int) -> None:
        """Hand over the events that wait."""
        batch, self._events = tuple(self._events), []
        self._flushed_ns = now_ns
        if batch:
            self.deliver(batch)

    def deliver(self, batch: Batch) -> None:
        """Hand over a batch that another process has gathered."""
        # The loop may be closed between a look at it and the call.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.batches.put_nowait, batch)


class RunningAnswers:
    """The answers that one engine writes, until it is closed."""

    def __init__(self) -> None:
        self._running: set[CancelToken] = set()
        self.closed = False

    def check_open(self) -> None:
        """Raise an EngineError if the engine is closed."""
        if self.closed:
            raise EngineError("This model has been closed.", "Open it again.")

    async def stream(self, start: Callable[[Outbox], object], cancel: CancelToken) -> AsyncIterator[Batch]:
        """Start the work that fills an outbox, and yield its batches; the last event is a `Finished` or a `Failed`.

        `cancel` is set where the reader stops early.
        """
        try:
            self.check_open()
        except EngineError as error:
            yield (Failed(error, time.perf_counter_ns()),)
            return
        outbox = Outbox(asyncio.get_running_loop())
        self._running.add(cancel)
        start(outbox)
        ended = False
        try:
            while not ended:
                batch = await outbox.batches.get()
                ended = isinstance(batch[-1], Finished | Failed)
                yield batch
        finally:
            self._running.discard(cancel)
            if not ended:
                cancel.set()

    def close(self) -> None:
        """Cancel every answer, and refuse new ones."""
        self.closed = True
        for cancel in tuple(self._running):
            cancel.set()
