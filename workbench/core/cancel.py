"""Cancel work from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable


class CancelToken:
    """A flag that is set once and stays set, with callbacks to wake whoever waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._callbacks: list[Callable[[], object]] = []

    @property
    def is_set(self) -> bool:
        """Whether the work should stop."""
        return self._set

    def set(self) -> None:
        """Ask the work to stop. Each callback runs once, in the thread of the first call."""
        with self._lock:
            self._set = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_set(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the flag is set; immediately if it is set already."""
        with self._lock:
            if not self._set:
                self._callbacks.append(callback)
                return
        callback()
