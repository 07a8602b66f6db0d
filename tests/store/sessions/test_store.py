from __future__ import annotations

import asyncio
import sqlite3

import pytest

from tests.store.session_values import FIGURES, Talk
from tests.store.sessions.made import T0, session
from workbench.core.chat import Message
from workbench.core.errors import SessionError
from workbench.core.models import ModelEntry
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.store.sessions import schema
from workbench.store.sessions.digests import model_digest
from workbench.store.sessions.store import PURGE_SECONDS, DatabaseSessionStore


async def test_summaries_are_newest_first(store, three):
    assert [each.title for each in await store.summaries()] == ["two", "three", "one"]


async def test_a_summary(store):
    talk, journal = Talk(), await store.create()
    await journal.model(ModelEntry("demo", "Demo"))
    await journal.message(talk.user("  Why is\n the sky blue?  "))
    await journal.message(talk.answer("So."))
    await journal.message(talk.user("And?"))
    await journal.partial(talk.partial("We"))
    (summary,) = await store.summaries()
    assert (summary.id, summary.title, summary.model) == (journal.id, "Why is the sky blue?", "demo")
    assert (summary.messages, summary.metrics) == (4, FIGURES)
    assert not summary.pinned


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("260101-100000", "260101-100000"),
        ("260101-11", "260101-110000"),
        ("2602", "260202-100000"),
        ("last", "260101-110000"),
    ],
)
async def test_short_names(store, three, name, found):
    assert await store.find(name) == found
    assert (await store.open_session(name)).id == found


@pytest.mark.parametrize(
    ("name", "said_of_it"),
    [
        ("2601", "beginning of 2 sessions"),
        ("260101-110001", "260101-110000"),
        ("", "There is no session ''"),
        ("../260101-100000", "There is no session"),
        ("zzz", "260101-110000"),
    ],
)
async def test_names_that_mean_nothing(store, three, name, said_of_it):
    with pytest.raises(SessionError) as caught:
        await store.find(name)
    assert said_of_it in str(caught.value)


@pytest.mark.parametrize("name", ["last", "x"])
async def test_nothing_is_stored_yet(store, name):
    for ask in (store.find, store.open_session, store.resume, store.dismiss):
        with pytest.raises(SessionError, match=r"No session is stored|None is stored"):
            await ask(name)
    with pytest.raises(SessionError, match="no session"):
        await store.rename(name, "x")
    assert store.recent_model_paths(5) == []


async def test_renaming_and_pinning(store, three):
    await store.rename("260101-100000", "  My\n talk ")
    await store.pin("260101-100000", True)
    found = await store.summaries()
    assert [(each.title, each.pinned) for each in found] == [("My talk", True), ("two", False), ("three", False)]
    opened = await store.open_session("260101-1000")
    assert (opened.name, opened.title, opened.pinned) == ("My talk", "My talk", True)
    await store.rename("260101-100000", "")
    assert (await store.open_session("260101-1000")).title == "one"


async def test_a_deleted_session_can_be_had_back_for_a_while(store, three, path, clock):
    await store.delete("260101-110000")
    assert [each.title for each in await store.summaries()] == ["three", "one"]
    assert await store.search("two") == []
    with pytest.raises(SessionError):
        await store.open_session("260101-110000")
    await store.restore("260101-110000")
    assert (await store.find("last")) == "260101-110000"
    await store.delete("260101-110000")
    store.close()
    clock.now += PURGE_SECONDS + 60
    later = DatabaseSessionStore(path, clock=clock)
    assert len(await later.summaries()) == 2
    with pytest.raises(SessionError, match="no session"):
        await later.restore("260101-110000")
    later.close()


async def test_deleted_messages_are_dropped_after_a_while(store, path, clock):
    tree = Tree.of([Turn(Message("user", text), T0) for text in "abc"]).without(2)
    await store.keep(Session("x", T0, T0, tree=tree))
    store.close()
    clock.now = T0 + PURGE_SECONDS + 60
    later = DatabaseSessionStore(path, clock=clock)
    opened = await later.open_session("x")
    assert [node.turn.message.content for node in opened.tree.nodes] == ["a"]
    assert await later.search("c") == []
    later.close()


async def test_recent_models(store):
    for number, model in enumerate(["/a", "", "/b", "/a"]):
        await store.keep(session(f"s{number}", "hi", at=T0 + number, model_path=model))
    assert store.recent_model_paths(10) == ["/a", "/b"]
    assert store.recent_model_paths(1) == ["/a"]


def test_tables_are_created_whole_or_not_at_all(monkeypatch):
    monkeypatch.setattr(schema, "_TABLES", "CREATE TABLE half (x);\nCREATE TABLE wrong (;\n")
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        schema.prepare(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


async def test_programs_that_start_at_once_create_one_database(path):
    stores = [DatabaseSessionStore(path) for _ in range(3)]
    names = await asyncio.gather(*(each.keep(session(f"s{number}", "hi")) for number, each in enumerate(stores)))
    assert {each.id for each in await stores[0].summaries()} == set(names)
    for each in stores:
        each.close()


def test_a_digest_tells_files_from_each_other(tmp_path):
    first, second, large = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    first.write_bytes(b"x" * 1000)
    second.write_bytes(b"x" * 1001)
    with large.open("wb") as file:
        file.truncate(20 << 20)
    before = [model_digest(ModelEntry("m", "m", path=str(path))) for path in (first, second, large)]
    assert len(set(before)) == 3
    assert all(digest.startswith("sampled-sha256:") for digest in before)
    with large.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    assert model_digest(ModelEntry("m", "m", path=str(large))) != before[2]
    assert model_digest(ModelEntry("m", "m", path=str(tmp_path / "none"))) == ""
    assert model_digest(ModelEntry("m", "m")) == ""
    assert model_digest(ModelEntry("m", "m", path=str(first), digest="ab")) == "sha256:ab"
