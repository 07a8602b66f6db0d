"""The views of a search that runs in a thread, for an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from threading import Event, Thread

from workbench.core.models import LibraryView

Report = Callable[[LibraryView], None]
"""Receives what is known so far, in any thread."""


async def views_of(search: Callable[[Report, Event], LibraryView | None]) -> AsyncGenerator[LibraryView, None]:
    """The views that `search` reports, and last the one that it returns. A view that is superseded early is dropped.

    `search` runs in its own daemon thread. Its arguments are the function to report views to, and an event that is set
    when nobody listens any more; it returns None where it was stopped.
    """
    loop, stop, news = asyncio.get_running_loop(), Event(), asyncio.Event()
    latest: list[LibraryView] = []
    ended: list[BaseException | None] = []

    def report(view: LibraryView) -> None:
        latest[:] = [view]
        # Nobody listens to a closed loop.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(news.set)

    def run() -> None:
        failure: BaseException | None = None
        try:
            if (view := search(report, stop)) is not None:
                latest[:] = [view]
        except BaseException as error:  # noqa: BLE001 - raised again where the views are awaited
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
