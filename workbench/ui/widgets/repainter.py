"""Drawing what changes often at a steady interval: drawing takes time from what is measured."""

from __future__ import annotations

from collections.abc import Callable

from textual.message_pump import MessagePump
from textual.timer import Timer

PAINT_SECONDS = 0.2
"""The interval at which progress is drawn."""


class Repainter:
    """Calls `paint` some time after `changed`, and at the interval for as long as something runs."""

    def __init__(self, host: MessagePump, paint: Callable[[], object], running: Callable[[], bool]) -> None:
        self._host = host
        self._paint = paint
        self._running = running
        self._dirty = False
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin, once the host is mounted."""
        self._timer = self._host.set_interval(PAINT_SECONDS, self._tick, pause=True)

    def changed(self) -> None:
        """Something has to be drawn."""
        if not self._dirty and self._timer is not None:
            self._dirty = True
            self._timer.resume()

    def _tick(self) -> None:
        self._dirty = False
        self._paint()
        if not self._running() and self._timer is not None:
            self._timer.pause()
