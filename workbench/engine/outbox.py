"""The way of an answer's events from the thread that makes them to the event loop that shows them."""

from __future__ import annotations

import asyncio

from workbench.core.events import Batch, Event

FLUSH_INTERVAL_NS = 40_000_000
"""Events are handed to the event loop at most this often, so that it is woken 25 times a second and not per token."""


class Outbox:
    """Hands events from a thread to an event loop, in batches.

    Args:
        loop: The loop of whoever reads `batches`.
    """

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
        if at_once or event.at_ns - self._flushed_ns >= FLUSH_INTERVAL_NS:
            self.flush(event.at_ns)

    def flush(self, now_ns: int) -> None:
        """Hand over what is held."""
        batch, self._events = tuple(self._events), []
        self._flushed_ns = now_ns
        if batch and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.batches.put_nowait, batch)
