"""Streams of events that keep a connection alive while nothing is written yet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

PING_S = 10.0
"""The longest silence: clients and proxies close connections on which nothing comes."""

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def data(value: object, event: str = "") -> str:
    """One server-sent event with a JSON value."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def kept_alive(chunks: AsyncIterator[str], ping: str, interval_s: float = PING_S) -> AsyncIterator[str]:
    """The chunks, and `ping` after each `interval_s` without one. Closes the source where the reader leaves."""
    source = aiter(chunks)
    following: asyncio.Task[str] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(source))
            done, _ = await asyncio.wait([following], timeout=interval_s)
            if not done:
                yield ping
                continue
            try:
                chunk = following.result()
            except StopAsyncIteration:
                return
            finally:
                following = None
            yield chunk
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        if (close := getattr(source, "aclose", None)) is not None:
            await close()


async def unless_gone(
    answer: Awaitable[object], is_gone: Callable[[], Awaitable[bool]], interval_s: float = 0.2
) -> object:
    """An answer, cancelled as soon as its reader `is_gone`."""
    working = asyncio.ensure_future(answer)
    try:
        while not working.done():
            await asyncio.wait([working], timeout=interval_s)
            if not working.done() and await is_gone():
                working.cancel()
        return await working
    finally:
        if not working.done():
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
