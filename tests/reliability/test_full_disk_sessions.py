"""The sessions on a disk that is full: before the first message, in use, and at the next start."""

from __future__ import annotations

import time

import pytest

from tests.reliability.disks import mounted
from workbench.core.chat import Message
from workbench.core.errors import SessionError
from workbench.core.tree import Node, Turn
from workbench.store.sessions.store import DatabaseSessionStore


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", 2 * 2**20) as found:
        yield found


@pytest.fixture
def open_store(disk):
    stores = []

    def opened():
        stores.append(DatabaseSessionStore(disk.folder / "data" / "sessions.db"))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


def node(number: int, text: str) -> Node:
    role = "user" if number % 2 else "assistant"
    return Node(number, number - 1, Turn(Message(role, text), time.time()))


async def test_a_disk_that_is_full_from_the_beginning(disk, open_store):
    disk.fill()
    store = open_store()
    journal = await store.create()
    with pytest.raises(SessionError, match="the disk is full") as failure:
        await journal.message(node(1, "first"))
    assert "Free some space" in failure.value.hint
    assert await store.summaries() == []
    assert await store.search("first") == []
    assert await store.interrupted() == []
    assert store.recent_model_paths(3) == []
    disk.free()
    await journal.message(node(2, "second"))
    (session,) = await store.summaries()
    assert session.messages == 2


async def test_a_disk_that_fills_up_in_use(disk, open_store):
    store = open_store()
    journal = await store.create()
    await journal.message(node(1, "first"))
    disk.fill()
    with pytest.raises(SessionError, match="the disk is full"):
        await journal.message(node(2, "second " * 50_000))
    with pytest.raises(SessionError, match="the disk is full"):
        await store.rename(journal.id, "a name")
    (found,) = await store.summaries()
    assert found.messages == 1
    disk.free()
    await journal.message(node(3, "third"))
    assert [turn.message.content[:6] for turn in (await store.open_session(journal.id)).turns] == [
        "first",
        "second",
        "third",
    ]


async def test_stored_sessions_can_be_read_although_the_disk_is_full(disk, open_store):
    store = open_store()
    journal = await store.create()
    await journal.message(node(1, "first"))
    await journal.close()
    store.close()
    disk.fill()

    again = open_store()
    (found,) = await again.summaries()
    assert found.id == journal.id
    assert [hit.session.id for hit in await again.search("first")] == [journal.id]
    assert (await again.open_session("last")).turns[0].message.content == "first"
    with pytest.raises(SessionError, match="the disk is full"):
        await again.resume(journal.id)
    # With space again, nothing keeps showing the old state.
    disk.free()
    _, resumed = await again.resume(journal.id)
    await resumed.message(node(2, "second"))
    assert (await again.summaries())[0].messages == 2
