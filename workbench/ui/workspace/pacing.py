"""Limiting how often streamed text is drawn, however fast the tokens arrive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from workbench.core.events import TokenKind

CPU_SHARE = 0.03
"""The share of one CPU core that the event loop may use while a model computes on the CPU."""
FREE_SHARE = 0.30
"""The share of one CPU core that it may use where the model computes elsewhere."""
SLOWEST_INTERVAL = 0.25
"""The most seconds between two paints, however expensive they are."""


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> object: ...


def _call_later(seconds: float, call: Callable[[], object]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, call)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of the screen; tests advance them by hand."""

    now_ns: Callable[[], int] = time.perf_counter_ns
    """The engine's clock, in nanoseconds."""
    cpu_s: Callable[[], float] = time.thread_time
    """Processor time of the event loop's thread, in seconds."""
    call_later: Callable[[float, Callable[[], object]], Timer] = _call_later
    """Calls a function when some seconds have passed on the engine's clock."""


REAL_CLOCKS = Clocks()


class Emit(Protocol):
    """Takes new text of the answer and new text of the reasoning."""

    def __call__(self, answer: str, reasoning: str, /, *, recast: bool = ...) -> object:
        """`recast`: the text before turns out to be reasoning."""


class Pacer:
    """Collects text and emits it at a limited rate: the first piece at once, the last one on `flush`.

    Where drawing takes more than `share` of one CPU core, the interval, in seconds, grows until it does not.
    """

    def __init__(self, emit: Emit, interval: float, *, share: float = FREE_SHARE, clocks: Clocks = REAL_CLOCKS) -> None:
        self._emit = emit
        self._base = interval
        self.interval = interval
        """The current time between two paints, in seconds."""
        self._share = share
        self._clocks = clocks
        self._pending: dict[TokenKind, list[str]] = {"answer": [], "reasoning": []}
        self._last: float | None = None
        self._last_cpu = 0.0
        self._timer: Timer | None = None

    def add(self, text: str, kind: TokenKind) -> None:
        if text:
            self._pending[kind].append(text)

    def recast(self) -> None:
        """The text so far turns out to be reasoning."""
        self.flush()
        self._emit("", "", recast=True)

    def pulse(self) -> None:
        """Emit the collected text if it is due, else schedule it."""
        if not any(self._pending.values()):
            return
        wait = 0.0 if self._last is None else self._last + self.interval - self._now()
        if wait <= 0:
            self.flush()
        elif self._timer is None:
            self._timer = self._clocks.call_later(wait, self.flush)

    def flush(self) -> None:
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
                self.interval = max(self._base, min(SLOWEST_INTERVAL, self.interval * 1.2))
            else:
                self.interval = max(self._base, self.interval * 0.95)
        self._last, self._last_cpu = now, cpu
