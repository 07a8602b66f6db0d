"""When to draw: text that comes in pieces is handed to the screen a few times a second, however fast it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from workbench.core.events import TokenKind

CPU_SHARE = 0.03
"""What part of a processor the event loop may take while a model computes on the same ones."""
FREE_SHARE = 0.30
"""What part it may take where the model computes elsewhere."""
SLOWEST_INTERVAL = 0.25
"""Seconds between two paints at the most, however dear they are."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the screen reads the time from; tests move it by hand."""

    now_ns: Callable[[], int] = time.perf_counter_ns
    """The engine's clock, in nanoseconds."""
    cpu_s: Callable[[], float] = time.thread_time
    """Processor time of the event loop's thread, in seconds."""


REAL_CLOCKS = Clocks()

Emit = Callable[[str, str], None]
"""Takes new text of the answer and new text of the reasoning."""


class Pacer:
    """Hands text on at most every so many seconds: the first piece at once, the last one on `flush`.

    Where drawing takes more than its share of the processor, the interval grows until it does not.

    Args:
        emit: Takes the gathered text.
        interval: The least time between two calls of `emit`, in seconds.
        share: What part of a processor the event loop may take.
        clocks: What the time is read from.
    """

    def __init__(
        self,
        emit: Emit,
        interval: float,
        *,
        share: float = FREE_SHARE,
        clocks: Clocks = REAL_CLOCKS,
    ) -> None:
        self._emit = emit
        self._base = interval
        self._interval = interval
        self._share = share
        self._clocks = clocks
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
        wait = 0.0 if self._last is None else self._last + self._interval - self._now()
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

    def _now(self) -> float:
        return self._clocks.now_ns() / 1e9

    def _adapt(self) -> None:
        now, cpu = self._now(), self._clocks.cpu_s()
        if self._last is not None and now > self._last:
            if (cpu - self._last_cpu) / (now - self._last) > self._share:
                self._interval = max(self._base, min(SLOWEST_INTERVAL, self._interval * 1.2))
            else:
                self._interval = max(self._base, self._interval * 0.95)
        self._last, self._last_cpu = now, cpu
