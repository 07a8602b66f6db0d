"""The newest log lines, held in memory for the log pane."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a worker logged."""

    number: int
    """Counted from 1, without gaps."""
    level: LogLevel
    source: str
    text: str


class LogBook:
    """Keeps the last `capacity` lines; any thread may add to it."""

    def __init__(self, capacity: int = 5000) -> None:
        self._lines: deque[LogLine] = deque(maxlen=capacity)
        self._lock = threading.Lock()
        self._count = 0

    def add(self, level: LogLevel, source: str, text: str) -> None:
        """Log one line."""
        with self._lock:
            self._count += 1
            self._lines.append(LogLine(self._count, level, source, text))

    def since(self, number: int) -> Sequence[LogLine]:
        """The lines after line `number` that are still held."""
        with self._lock:
            skip = max(0, number - (self._count - len(self._lines)))
            return tuple(islice(self._lines, skip, None))
