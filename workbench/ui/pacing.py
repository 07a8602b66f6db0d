"""When to draw: text that comes in pieces is handed to the screen a few times a second, however fast it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from workbench.core.events import TokenKind

CPU_SHARE = 0.04
"""What part of a processor the event loop may take while a model computes on the same ones."""
FREE_SHARE = 0.30
"""What part it may take where the model computes elsewhere."""
SLOWEST_INTERVAL = 0.2
"""Seconds between two paints at the most, however dear they are."""

Emit = Callable[[str, str], None]
"""Takes new text of the answer and new text of the reasoning."""


class Pacer:
    """Hands text on at most every so many seconds: the first piece at once, the last one on `flush`.

    Where drawing takes more than its share of the processor, the interval grows until it does not.

    Args:
        emit: Takes the gathered text.
        interval: The least time between two calls of `emit`, in seconds.
        share: What part of a processor the event loop may take.
        clock: Reads seconds.
        cpu_clock: Reads the processor time of this thread, in seconds.
    """

    def __init__(
        self,
        emit: Emit,
        interval: float,
        *,
        share: float = FREE_SHARE,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._emit = emit
        self._base = interval
        self._interval = interval
        self._share = share
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._pending: dict[TokenKind, list[str]] = {"answer": [], "reasoning": []}
        self._last: float | None = None
        self._last_cpu = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def interval(self) -> float:
        """The time between two paints that is kept now, in seconds."""
        return self._interval

    def add(self, text: str, kind: TokenKind) -> None:
        """Take a piece of text."""
        if text:
            self._pending[kind].append(text)

    def pulse(self) -> None:
        """Hand on what there is if it is time, or see to it that it will be."""
        if not any(self._pending.values()):
            return
        wait = 0.0 if self._last is None else self._last + self._interval - self._clock()
        if wait <= 0:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self.flush)

    def flush(self) -> None:
        """Hand on everything now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer, reasoning = "".join(self._pending["answer"]), "".join(self._pending["reasoning"])
        for texts in self._pending.values():
            texts.clear()
        if answer or reasoning:
            self._adapt()
            self._emit(answer, reasoning)

    def _adapt(self) -> None:
        now, cpu = self._clock(), self._cpu_clock()
        if self._last is not None and now > self._last:
            if (cpu - self._last_cpu) / (now - self._last) > self._share:
                self._interval = max(self._base, min(SLOWEST_INTERVAL, self._interval * 1.2))
            else:
                self._interval = max(self._base, self._interval * 0.95)
        self._last, self._last_cpu = now, cpu
