"""Streams of events that keep a connection alive while nothing is written yet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")

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


async def merged(streams: Sequence[AsyncGenerator[Item]]) -> AsyncGenerator[tuple[int, Item]]:
    """The items of several streams as they come, each with the index of its stream. The first error ends all."""
    queue: asyncio.Queue[tuple[int, Item] | Exception | None] = asyncio.Queue()
    pumps = [asyncio.ensure_future(_pump(index, each, queue)) for index, each in enumerate(streams)]
    left = len(pumps)
    try:
        while left:
            found = await queue.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        for each in pumps:
            each.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(
    index: int, stream: AsyncGenerator[Item], queue: asyncio.Queue[tuple[int, Item] | Exception | None]
) -> None:
    try:
        async with aclosing(stream) as items:
            async for item in items:
                queue.put_nowait((index, item))
        queue.put_nowait(None)
    except Exception as error:  # noqa: BLE001 - the reader gets it
        queue.put_nowait(error)


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
