"""Streams of events that keep a connection alive while nothing is written yet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")

LOOK_S = 0.2
"""How often it is checked whether a reader is still there."""
PING_S = 10.0
"""The longest silence: clients and proxies close connections on which nothing comes."""
MOST_TOGETHER = 64
"""Chunks that are made before their reader takes them."""

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def data(value: object, event: str = "") -> str:
    """One server-sent event with a JSON value."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def kept_alive(chunks: AsyncGenerator[str], ping: str) -> AsyncGenerator[str]:
    """The chunks, those that come together as one, and `ping` after each `PING_S` without one.

    Several tokens that the engine hands over together cost one write. Closes the source where the reader leaves.
    """
    queue: asyncio.Queue[tuple[int, str] | Exception | None] = asyncio.Queue(MOST_TOGETHER)
    pump = asyncio.ensure_future(_pump(0, chunks, queue))
    try:
        while True:
            try:
                async with asyncio.timeout(PING_S):
                    item = await queue.get()
            except TimeoutError:
                yield ping
                continue
            found: list[str] = []
            while isinstance(item, tuple):
                found.append(item[1])
                if queue.empty():
                    break
                item = queue.get_nowait()
            if found:
                yield "".join(found)
                # A task whose next item is always there already would not get the cancellation of a reader that left.
                await asyncio.sleep(0)
            if isinstance(item, Exception):
                raise item
            if item is None:
                return
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


async def merged(streams: Sequence[AsyncGenerator[Item]]) -> AsyncGenerator[tuple[int, Item]]:
    """The items of several streams as they come, each with the index of its stream. The first error ends all."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as items:
            async for item in items:
                yield 0, item
        return
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
                await queue.put((index, item))
        await queue.put(None)
    except Exception as error:  # noqa: BLE001 - the reader gets it
        await queue.put(error)


async def unless_gone(answer: Awaitable[object], is_gone: Callable[[], Awaitable[bool]]) -> object:
    """An answer, cancelled as soon as its reader `is_gone`."""
    working = asyncio.ensure_future(answer)
    try:
        while not working.done():
            await asyncio.wait([working], timeout=LOOK_S)
            if not working.done() and await is_gone():
                working.cancel()
        return await working
    finally:
        if not working.done():
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
