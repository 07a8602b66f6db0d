"""A search in a thread of its own, and what it tells in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from threading import Event, Thread

from workbench.core.models import LibraryView

Tell = Callable[[LibraryView], None]
"""Told what is known so far, in any thread."""


async def views_of(search: Callable[[Tell, Event], LibraryView | None]) -> AsyncGenerator[LibraryView, None]:
    """What `search` tells, and last what it gives. A view that nobody took before the next one came is left out.

    Args:
        search: Runs in a thread of its own, which does not keep the program from ending. It is given whom to tell,
            and an event that is set when nobody listens any more; it gives None where it was stopped.
    """
    loop, stop, news = asyncio.get_running_loop(), Event(), asyncio.Event()
    latest: list[LibraryView] = []
    ended: list[BaseException | None] = []

    def tell(view: LibraryView) -> None:
        latest[:] = [view]
        # A loop that is closed has nobody left to tell.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(news.set)

    def run() -> None:
        failure: BaseException | None = None
        try:
            if (view := search(tell, stop)) is not None:
                latest[:] = [view]
        except BaseException as error:  # noqa: BLE001 - it is raised again where the views are awaited
            failure = error
        ended.append(failure)
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(news.set)

    Thread(target=run, name="library search", daemon=True).start()
    try:
        while not (ended and not latest):
            await news.wait()
            news.clear()
            views, latest[:] = list(latest), []
            for view in views:
                yield view
        if (failure := ended[0]) is not None:
            raise failure
    finally:
        stop.set()
