"""Stopping work from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable


class CancelToken:
    """A flag that is raised once and stays up, and that calls back whoever has to be woken for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        """Whether the work is to stop."""
        return self._set

    def set(self) -> None:
        """Ask the work to stop. Callbacks run in this thread, each once, however often this is called."""
        with self._lock:
            self._set = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_set(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the flag goes up; at once if it is up already."""
        with self._lock:
            if not self._set:
                self._callbacks.append(callback)
                return
        callback()
