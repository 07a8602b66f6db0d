from __future__ import annotations

import asyncio

import anyio
import pytest

from workbench.serve.sse import kept_alive


async def test_chunks_that_come_together_are_written_together():
    more = asyncio.Event()

    async def chunks():
        yield "a"
        yield "b"
        await more.wait()
        yield "c"

    found = []
    async for text in kept_alive(chunks(), "ping"):
        found.append(text)
        more.set()
    assert found == ["ab", "c"]


async def test_a_silence_is_filled(monkeypatch):
    monkeypatch.setattr("workbench.serve.sse.PING_S", 0.001)
    more = asyncio.Event()

    async def chunks():
        await more.wait()
        yield "a"

    found = []
    async for text in kept_alive(chunks(), "ping"):
        found.append(text)
        more.set()
    assert found[0] == "ping"
    assert found[-1] == "a"


async def test_an_error_comes_after_what_was_written():
    async def chunks():
        yield "a"
        raise ValueError("broken")

    texts = kept_alive(chunks(), "ping")
    assert await anext(texts) == "a"
    with pytest.raises(ValueError, match="broken"):
        await anext(texts)


async def test_a_reader_that_leaves_closes_the_source_though_chunks_never_pause():
    closed = []

    async def chunks():
        try:
            while True:
                yield "a"
                await asyncio.sleep(0)
        finally:
            closed.append(True)

    async def read():
        async for _ in kept_alive(chunks(), "ping"):
            pass

    # The cancellation of a response repeats until it has ended, but only while the task waits.
    async with anyio.create_task_group() as group:
        group.start_soon(read)
        for _ in range(20):
            await asyncio.sleep(0)
        group.cancel_scope.cancel()
    assert closed == [True]
