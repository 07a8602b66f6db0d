"""Waiting until the screen has nothing left to do, by looking at what is left to do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
from textual import _wait
from textual._styles_cache import StylesCache

SOON_SECONDS = _wait.SLEEP_GRANULARITY
"""A timer that is due within this time is waited for."""
PAINT_SECONDS = 0.001
"""How long a screen gathers what is to be painted; in the program it is a sixtieth of a second."""
LOOKS = 3
"""So often in a row nothing is to be left: between two looks, sockets and threads hand over what they have."""

wait_for_quiet_process = _wait.wait_for_idle
"""Textual's own, which knows of the process only how much of a processor it takes."""


async def wait_for_idle(min_sleep: float = 0, max_sleep: float = 1) -> None:
    """Wait until the event loop has nothing to run, and no timer that is due soon.

    Textual's function of that name sleeps for a fiftieth of a second, and again until the process used next to nothing
    of one: it takes its time where nothing happens, and ends too early where the machine gave the process none. What
    the loop has still to do is in its books. Only what threads do is not: where any are at work, both are asked.

    Args:
        min_sleep: How far ahead timers are waited for at the least, in seconds.
        max_sleep: Seconds after which to go on although something is left.
    """
    loop = asyncio.get_running_loop()
    end = monotonic() + max_sleep
    soon = loop.time() + max(SOON_SECONDS, min_sleep)
    looks = 0
    while looks < LOOKS and monotonic() < end:
        due = [timer.when() for timer in loop._scheduled if timer.when() < soon and not timer.cancelled()]
        looks = 0 if loop._ready or due else looks + 1
        await asyncio.sleep(0 if loop._ready or not due else max(0, min(due) - loop.time()))
    if threads_work():
        await wait_for_quiet_process(min_sleep, max_sleep)


def threads_work() -> bool:
    """Whether there are threads that may have something to hand to the loop: all but the idle ones of its own pool."""
    executor = asyncio.get_running_loop()._default_executor
    pool = executor._threads if executor is not None else set()
    if executor is not None and executor._idle_semaphore._value < len(pool):
        return True
    return any(thread not in pool for thread in threading.enumerate() if thread is not threading.main_thread())


@contextmanager
def exact_waits() -> Iterator[None]:
    """Within it, tests of the screen wait for what is to come and for nothing else. Nothing they showed is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textual.app.wait_for_idle", wait_for_idle)
        patch.setattr("textual.pilot.wait_for_idle", wait_for_idle)
        patch.setattr("textual.screen.UPDATE_PERIOD", PAINT_SECONDS)
        yield
    # It holds what the last thousand widgets had drawn, which every collection of garbage has to walk through.
    StylesCache.get_inner_outer.cache_clear()
