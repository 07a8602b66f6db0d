"""String arrays that were walked through before: the quantizations of a model all carry the same vocabulary."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

WORTH_KNOWING = 1000
"""Arrays with fewer strings are walked through as fast as they are compared."""


class KnownStrings:
    """Remembers the bytes of string arrays, so that the same array in another file is passed over by comparing them.

    It may be used from several threads.

    Args:
        budget: How many bytes to hold; what was not met again for longest is dropped first.
    """

    def __init__(self, budget: int = 32 << 20) -> None:
        self._budget = budget
        self._lock = Lock()
        self._arrays: OrderedDict[tuple[int, bytes], bytes] = OrderedDict()
        self._held = 0

    def find(self, count: int, start: bytes) -> bytes | None:
        """The array of `count` strings that begins with `start`, if it is known."""
        with self._lock:
            found = self._arrays.get((count, start))
            if found is not None:
                self._arrays.move_to_end((count, start))
            return found

    def remember(self, count: int, start: bytes, raw: bytes) -> None:
        """Remember an array of `count` strings. Of two that begin alike the later one is kept."""
        if len(raw) > self._budget:
            return
        with self._lock:
            replaced = self._arrays.pop((count, start), b"")
            self._arrays[count, start] = raw
            self._held += len(raw) - len(replaced)
            while self._held > self._budget:
                _, dropped = self._arrays.popitem(last=False)
                self._held -= len(dropped)
