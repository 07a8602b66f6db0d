from __future__ import annotations

import asyncio
import os
import sqlite3
from functools import partial

import pytest

from tests.store.session_values import FIGURES, MADE, Clock, Talk
from workbench.core.errors import DamagedSessionsError, SessionError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.recipe import GIVEN
from workbench.core.tree import View
from workbench.store.sessions.store import DatabaseSessionStore

MODEL = ModelEntry("demo", "SmolLM2", "F16", path="/models/demo.gguf")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "sessions.db"


@pytest.fixture
def store(path):
    store = DatabaseSessionStore(path, clock=Clock())
    yield store
    store.close()


@pytest.fixture
def other(path):
    """The store of another program."""
    store = DatabaseSessionStore(path, clock=Clock())
    yield store
    store.close()


async def one_turn(store, question="Why?", text="So."):
    talk, journal = Talk(), await store.create()
    await journal.message(talk.user(question))
    await journal.message(talk.answer(text))
    return journal


def die(store):
    """What the death of a program does: its mark is gone, and no end is written."""
    store._presence.leave()


async def said(store, session_id="last"):
    return [turn.message.content for turn in (await store.open_session(session_id)).turns]


async def test_a_conversation_is_read_back(store):
    talk, journal = Talk(), await store.create()
    sampling, load = Sampling(temperature=0.1, stop=("a\n", "é")), LoadSettings(num_ctx=4096, type_k="q8_0")
    await journal.settings("Be brief.", sampling, load)
    await journal.model(MODEL)
    asked, answered = talk.user("Why is the sky blue?\n日本 \u2028 \x00 \ud800 🙂"), talk.answer("Because.", "Hmm.")
    await journal.message(asked)
    await journal.message(answered)
    await journal.close()
    session = await store.open_session(journal.id)
    assert (session.system, session.sampling, session.load) == ("Be brief.", sampling, load)
    assert (session.model, session.model_path) == ("demo", "/models/demo.gguf")
    assert session.tree.nodes == (asked, answered)
    assert session.tree.leaf == 2
    (_, turn) = session.turns
    assert (turn.metrics, turn.making, turn.finish_reason) == (FIGURES, MADE, "stop")


async def test_nothing_is_stored_before_the_first_message(store, path):
    journal = await store.create()
    await journal.settings("s", Sampling(), LoadSettings())
    await journal.model(MODEL)
    await journal.close()
    assert not path.exists()
    assert await store.summaries() == []
    assert await store.interrupted() == []
    assert not path.parent.exists(), "looking makes nothing"


async def test_settings_and_model_can_change_at_any_time(store):
    journal = await store.create()
    await journal.settings("old", Sampling(), LoadSettings())
    await journal.settings("new", Sampling(), LoadSettings())
    await journal.message(Talk().user("hi"))
    assert (await store.open_session("last")).system == "new"
    await journal.settings("newer", Sampling(seed=7), LoadSettings())
    await journal.model(MODEL)
    session = await store.open_session("last")
    assert (session.system, session.sampling.seed, session.model) == ("newer", 7, "demo")


async def test_ids_sort_by_time_and_are_never_given_twice(path):
    clock = lambda: 1_787_322_725.0  # noqa: E731
    stores = [DatabaseSessionStore(path, clock=clock) for _ in range(2)]
    journals = [await stores[0].create(), await stores[0].create(), await stores[1].create()]
    for journal in journals:
        await journal.message(Talk().user("hi"))
    assert [each.id for each in journals] == ["260821-143205", "260821-143205-2", "260821-143205-3"]
    for store in stores:
        store.close()


async def test_an_answer_grows_and_then_is_whole(store):
    talk, journal = Talk(), await store.create()
    await journal.message(talk.user("Tell me"))
    for text in ("Once", "Once upon", "Once upon", "Once upon a time"):
        await journal.partial(talk.partial(text, "thought"))
    turn = (await store.open_session("last")).turns[-1]
    assert (turn.message.content, turn.message.reasoning) == ("Once upon a time", "thought")
    assert (turn.finish_reason, turn.model, turn.making) == ("interrupted", "demo", MADE)
    await journal.message(talk.answer("Once.", "", reason="cancelled"))
    await journal.message(talk.user("More"))
    await journal.partial(talk.partial("Twi"))
    assert await said(store) == ["Tell me", "Once.", "More", "Twi"]


async def test_a_partial_that_does_not_go_on_starts_over(store):
    talk, journal = Talk(), await store.create()
    await journal.message(talk.user("Tell me"))
    for text in ("Once upon", "Twice", "Twice told"):
        await journal.partial(talk.partial(text))
    assert await said(store) == ["Tell me", "Twice told"]


async def test_the_pieces_of_a_finished_answer_are_gone(store, path):
    talk, journal = Talk(), await store.create()
    await journal.message(talk.user("Tell me"))
    await journal.partial(talk.partial("Once"))
    await journal.message(talk.answer("Once."))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM piece").fetchone() == (0,)


async def test_branches_and_what_is_deleted(store):
    talk, journal = Talk(), await store.create()
    await journal.message(talk.user("q"))
    await journal.message(talk.answer("a"))
    await journal.message(talk.answer("b", parent=1))
    assert await said(store) == ["q", "b"]
    await journal.view(View(2))
    assert await said(store) == ["q", "a"]
    await journal.view(View(1, frozenset({2, 3})))
    session = await store.open_session("last")
    assert session.tree.view == View(1, frozenset({2, 3}))
    assert len(session.tree.nodes) == 3
    await journal.view(View(3, frozenset({2})))
    assert (await store.open_session("last")).tree.view == View(3, frozenset({2}))


async def test_the_messages_of_a_modelfile_are_no_title(store):
    talk, journal = Talk(), await store.create()
    for text in ("An example?", "Another?"):
        await journal.message(talk.user(text, reason=GIVEN))
        await journal.message(talk.answer("Yes.", reason=GIVEN))
    assert [each.title for each in await store.summaries()] == ["empty session"]
    asked = talk.user("Mine")
    await journal.message(asked)
    assert [each.title for each in await store.summaries()] == ["Mine"]
    await journal.view(View(asked.number))
    assert [each.title for each in await store.summaries()] == ["Mine"]
    assert (await store.open_session(journal.id)).title == "Mine"


async def test_the_title_is_that_of_the_open_branch(store):
    talk, journal = Talk(), await store.create()
    await journal.message(talk.user("first"))
    await journal.message(talk.answer("a"))
    await journal.message(talk.user("other words", parent=0))
    assert [each.title for each in await store.summaries()] == ["other words"]
    await journal.view(View(2))
    assert [each.title for each in await store.summaries()] == ["first"]


async def test_a_session_can_be_resumed(store, other):
    journal = await one_turn(store)
    await journal.close()
    session, again = await other.resume(journal.id)
    assert again.id == journal.id
    assert len(session.turns) == 2
    await again.settings(session.system, session.sampling, session.load)
    await again.message(Talk(2).user("And?"))
    await again.close()
    assert await said(store) == ["Why?", "So.", "And?"]
    assert await store.interrupted() == []


async def test_an_interrupted_answer_stays_when_the_session_goes_on(store, other):
    talk, journal = Talk(), await store.create()
    await journal.message(talk.user("Tell me"))
    await journal.partial(talk.partial("Once"))
    die(store)
    session, again = await other.resume(journal.id)
    assert session.turns[-1].finish_reason == "interrupted"
    assert session.turns[-1].is_cut
    talk = Talk(2)
    await again.partial(talk.partial("Anew"))
    await again.message(talk.answer("Anew."))
    assert await said(other) == ["Tell me", "Once", "Anew."]
    assert [hit.message for hit in await other.search("once")] == [2], "what was cut off is found"


async def test_what_a_dead_program_left_is_offered_until_it_is_closed(store, other):
    journal = await one_turn(store, "dead")
    assert await other.interrupted() == []
    die(store)
    (found,) = await other.interrupted()
    assert found.id == journal.id
    _, again = await other.resume(found.id)
    assert await other.interrupted() == []
    await again.close()
    assert await other.interrupted() == []


async def test_interrupted_sessions_come_newest_first_and_can_be_dismissed(store, other):
    journals = [await one_turn(store, name) for name in ("one", "two", "three")]
    die(store)
    assert [session.title for session in await other.interrupted()] == ["three", "two", "one"]
    await other.dismiss(journals[1].id)
    assert [session.title for session in await other.interrupted()] == ["three", "one"]
    assert len(await other.summaries()) == 3


async def test_two_programs_do_not_write_one_session(store, other):
    journal = await one_turn(store)
    for ask in (other.resume, other.dismiss, other.delete):
        with pytest.raises(SessionError, match="another program"):
            await ask(journal.id)
    with pytest.raises(SessionError, match="in this program"):
        await store.resume(journal.id)
    assert len((await other.open_session(journal.id)).turns) == 2
    await journal.close()
    _, taken = await other.resume(journal.id)
    await taken.close()


async def test_two_programs_write_their_sessions_side_by_side(store, other):
    talks = [Talk(), Talk()]
    journals = [await store.create(), await other.create()]

    async def talk_on(talk, journal):
        for number in range(10):
            await journal.message(talk.user(f"q{number}"))
            await journal.partial(talk.partial("a"))
            await journal.message(talk.answer("a."))
        await journal.close()

    await asyncio.gather(*(talk_on(*pair) for pair in zip(talks, journals, strict=True)))
    for session_store in (store, other):
        assert [each.messages for each in await session_store.summaries()] == [20, 20]


async def test_a_closed_journal_takes_no_more(store):
    journal = await one_turn(store)
    await journal.close()
    await journal.close()
    with pytest.raises(SessionError, match="closed"):
        await journal.message(Talk(2).user("late"))


async def test_words_are_written_though_nobody_waits_for_them(store):
    journal = await one_turn(store)
    task = asyncio.ensure_future(journal.message(Talk(2).user("more")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await journal.close()
    assert await said(store) == ["Why?", "So.", "more"]


# Disks that refuse.


def pragma(store, text):
    """Set something in the connection that writes."""
    connection = store._database._connections["writer"]
    store._writer.submit(connection.execute, f"PRAGMA {text}").result()


async def test_what_a_full_disk_refused_is_written_later(store):
    journal = await one_turn(store)
    pragma(store, "max_page_count = 1")  # SQLite takes the number of pages that there are.
    talk, refusals = Talk(2), []
    for text in ("one " * 9_000, "two"):
        with pytest.raises(SessionError) as caught:
            await journal.message(talk.user(text))
        refusals.append(caught.value)
    assert all("disk is full" in each.message and "Free some space" in each.hint for each in refusals)
    assert await said(store) == ["Why?", "So."]
    pragma(store, "max_page_count = 1000000")
    await journal.message(talk.user("three"))
    assert await said(store) == ["Why?", "So.", "one " * 9_000, "two", "three"]


async def test_a_database_that_may_not_be_written(store):
    journal = await one_turn(store)
    pragma(store, "query_only = on")
    talk = Talk(2)
    with pytest.raises(SessionError, match="may not be written"):
        await journal.message(talk.user("one"))
    with pytest.raises(SessionError, match="may not be written"):
        await journal.partial(talk.partial("tw"))
    with pytest.raises(SessionError, match="may not be written"):
        await journal.close()
    pragma(store, "query_only = off")
    await journal.close()
    assert await said(store) == ["Why?", "So.", "one", "tw"]
    assert await store.interrupted() == []


async def test_a_new_database_that_another_program_switches_to_a_log_too(store, monkeypatch):
    """Of two that wait for each other SQLite lets one fail at once."""
    pauses: list[float] = []
    monkeypatch.setattr("workbench.store.sessions.database.time.sleep", pauses.append)

    class Connection(sqlite3.Connection):
        def execute(self, sql, *args):
            if "journal_mode" in sql and not pauses:
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorname = "SQLITE_BUSY"
                raise error
            return super().execute(sql, *args)

    monkeypatch.setattr("sqlite3.connect", partial(sqlite3.connect, factory=Connection))
    await one_turn(store)
    assert len(pauses) == 1
    assert await said(store) == ["Why?", "So."]


async def test_a_database_that_another_program_keeps_locked(store, path, monkeypatch):
    monkeypatch.setattr("workbench.store.sessions.database.BUSY_SECONDS", 0.01)
    journal = await one_turn(store)
    with sqlite3.connect(path, isolation_level=None) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(SessionError, match="another program keeps it locked"):
            await journal.message(Talk(2).user("one"))
        assert await said(store) == ["Why?", "So."], "reading goes on"
        blocker.execute("ROLLBACK")
    blocker.close()
    await journal.message(Talk(3).user("two"))
    assert await said(store) == ["Why?", "So.", "one", "two"]


async def test_a_folder_that_cannot_be_made(tmp_path, path):
    (tmp_path / "data").write_text("in the way")
    store = DatabaseSessionStore(path, clock=Clock())
    talk, journal = Talk(), await store.create()
    with pytest.raises(SessionError, match="cannot be opened"):
        await journal.message(talk.user("one"))
    (tmp_path / "data").unlink()
    await journal.message(talk.user("two"))
    assert await said(store) == ["one", "two"]
    store.close()


@pytest.mark.parametrize("version", [1, 1000])
async def test_a_database_of_another_version_is_left_alone(store, other, path, version):
    journal = await one_turn(store)
    await journal.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = path.read_bytes()
    for ask in (other.summaries, other.interrupted):
        with pytest.raises(SessionError, match="another version"):
            await ask()
    fresh = await other.create()
    with pytest.raises(SessionError, match="another version"):
        await fresh.message(Talk().user("kept in memory"))
    assert path.read_bytes() == before


# Damage.


def damage(path, offset=0, length=100):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * length)


async def test_a_file_that_is_no_database_is_put_aside_and_told_of(store, path):
    path.parent.mkdir()
    path.write_bytes(b"this is no database at all" * 1000)
    with pytest.raises(DamagedSessionsError) as caught:
        await store.interrupted()
    (aside,) = path.parent.glob("sessions-damaged-*.db")
    assert str(aside) in caught.value.hint
    assert aside.read_bytes() == b"this is no database at all" * 1000
    assert await store.interrupted() == [], "it is reported once"
    await one_turn(store)
    assert await said(store) == ["Why?", "So."]


async def test_a_database_that_is_damaged_while_it_is_open_loses_no_word_of_this_session(store, other, path):
    earlier = await one_turn(store, "earlier")
    await earlier.close()
    _, journal = await store.resume(earlier.id)
    talk = Talk(2)
    await journal.message(talk.user("more"))
    pragma(store, "wal_checkpoint(TRUNCATE)")
    store._writer.submit(store._database.close).result()
    damage(path)
    with pytest.raises(DamagedSessionsError):
        await journal.message(talk.user("and more"))
    assert await said(store, earlier.id) == ["earlier", "So.", "more", "and more"]
    await journal.message(talk.user("still"))
    assert await said(other) == ["earlier", "So.", "more", "and more", "still"]
    assert len(list(path.parent.glob("sessions-damaged-*.db"))) == 1


async def test_what_can_be_read_of_a_damaged_database_is_saved(store, other, path):
    for number in range(30):
        journal = await one_turn(store, f"question {number}", f"answer {number} " * 300)
        await journal.close()
    pragma(store, "wal_checkpoint(TRUNCATE)")
    store.close()
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'session_listed'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    damage(path, (page - 1) * size, size)
    with pytest.raises(DamagedSessionsError, match="30 of them were saved"):
        await other.summaries()
    assert len(await other.summaries()) == 30
    assert (await other.open_session("last")).turns[1].message.content == "answer 29 " * 300


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted there")
async def test_a_file_that_is_deleted_while_it_is_open_is_written_anew(store, path):
    journal = await one_turn(store)
    for each in path.parent.glob("sessions.db*"):
        each.unlink()
    talk = Talk(2)
    await journal.message(talk.user("still here?"))
    await journal.message(talk.user("yes"))
    assert await said(store, journal.id) == ["Why?", "So.", "still here?", "yes"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
async def test_conversations_are_private(store, path):
    await one_turn(store)
    assert all(each.stat().st_mode & 0o077 == 0 for each in path.parent.glob("sessions.db*"))
    assert path.parent.stat().st_mode & 0o777 == 0o700
