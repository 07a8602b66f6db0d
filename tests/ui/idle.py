"""Waiting until the screen has nothing left to do, by the books of the event loop.

They are private fields of asyncio, the same in Python 3.11 to 3.13.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, process_time
from typing import Any

import pytest
from textual import _wait
from textual._styles_cache import StylesCache
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.timer import Timer

SOON_SECONDS = _wait.SLEEP_GRANULARITY
"""A timer that is due within this time is waited for."""
PAINT_SECONDS = 0.001
"""How long a screen gathers what is to be painted; in the program it is a sixtieth of a second."""
LOOKS = 3
"""How many looks in a row have to find nothing: between two looks, sockets and threads hand over what they have."""

LONG_SECONDS = 1.0
"""The shortest time after which a message disappears by itself."""

set_timer = MessagePump.set_timer
paint = Screen._compositor_refresh
unpainted: set[Screen[Any]] = set()
wait_for_quiet_process = _wait.wait_for_idle
"""Textual's own, which knows only how much processor time the process takes."""


async def wait_for_idle(min_sleep: float = 0, max_sleep: float = 1) -> None:
    """Wait until the event loop has nothing to run, and no timer that is due soon.

    Textual's function of that name sleeps for a fiftieth of a second, and again until the process used next to nothing
    of the processor: it is slow where nothing happens, and ends too early on a busy machine. The event loop knows what
    it has still to do. It does not know what threads do: where any work, Textual's function runs as well, and alone on
    a loop that keeps other books than CPython's.

    Args:
        min_sleep: How far ahead timers are waited for at the least, in seconds.
        max_sleep: Seconds of the processor's time after which to go on although something is left; ten times as many
            that a busy machine may let pass.
    """
    loop = asyncio.get_running_loop()
    end, end_of_work = monotonic() + 10 * max_sleep, process_time() + max_sleep
    soon = loop.time() + max(SOON_SECONDS, min_sleep)
    looks = 0
    while looks < LOOKS and monotonic() < end and process_time() < end_of_work:
        ready, scheduled = getattr(loop, "_ready", None), getattr(loop, "_scheduled", None)
        if ready is None or scheduled is None:
            return await wait_for_quiet_process(min_sleep, max_sleep)
        due = [timer.when() for timer in scheduled if timer.when() < soon and not timer.cancelled()]
        looks = 0 if ready or due else looks + 1
        await asyncio.sleep(0 if ready or not due else max(0, min(due) - loop.time()))
    if threads_work():
        await wait_for_quiet_process(min_sleep, max_sleep)


def paint_later(screen: Screen[Any]) -> None:
    """In place of painting: nobody sees the frames that a screen paints while it still changes, a third of its work."""
    if screen is screen.app.screen:
        unpainted.add(screen)
        # The compositor knows their regions.
        screen._dirty_widgets.clear()
    else:
        paint(screen)


async def wait_until_painted(min_sleep: float = 0, max_sleep: float = 1) -> None:
    """Wait until the event loop is idle, paint what has changed since it was the last time, and wait again."""
    await wait_for_idle(min_sleep, max_sleep)
    if unpainted:
        for screen in unpainted:
            screen.call_next(paint, screen)
        unpainted.clear()
        await wait_for_idle(min_sleep, max_sleep)


def threads_work() -> bool:
    """Whether a thread may have something to hand to the loop: any but the idle ones of the loop's own pool."""
    executor = getattr(asyncio.get_running_loop(), "_default_executor", None)
    pool = getattr(executor, "_threads", set())
    idle = getattr(executor, "_idle_semaphore", None)
    if executor is not None and getattr(idle, "_value", 0) < len(pool):
        return True
    return any(thread not in pool for thread in threading.enumerate() if thread is not threading.main_thread())


async def no_wait(*_: object) -> bool:
    """In place of the test driver's own wait, which sends every widget a message: an idle loop has no messages left."""
    return True


def timer_of_what_stays(host: MessagePump, delay: float, *arguments: Any, **options: Any) -> Timer:
    """Set a timer; a long one does not end in a test: a slow machine would miss the message that it removes."""
    return set_timer(host, 3600 if delay >= LONG_SECONDS else delay, *arguments, **options)


@contextmanager
def exact_waits() -> Iterator[None]:
    """Have Textual's test driver wait with `wait_for_idle`, and drop afterwards what Textual cached of the screens.

    Messages that disappear by themselves stay. Screens are painted when the driver pauses, not after every key.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textual.app.wait_for_idle", wait_for_idle)
        patch.setattr("textual.pilot.wait_for_idle", wait_until_painted)
        patch.setattr("textual.pilot.Pilot._wait_for_screen", no_wait)
        patch.setattr("textual.screen.UPDATE_PERIOD", PAINT_SECONDS)
        patch.setattr(MessagePump, "set_timer", timer_of_what_stays)
        patch.setattr(Screen, "_compositor_refresh", paint_later)
        yield
    unpainted.clear()
    # It holds the drawn lines of the last thousand widgets, which every collection of garbage would visit.
    StylesCache.get_inner_outer.cache_clear()
