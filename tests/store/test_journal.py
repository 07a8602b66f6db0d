from __future__ import annotations

import asyncio
import errno
import json
import os

import pytest

from workbench.core.chat import Message
from workbench.core.errors import SessionError
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.store import session_file
from workbench.store.sessions import FileSessionStore

MODEL = ModelEntry("demo", "SmolLM2", "F16", path="/models/demo.gguf")
FIGURES = AnswerMetrics(decode_tps=50.5, completion_tokens=3, cached_tokens=0)


class Clock:
    def __init__(self, now=1_787_322_725.0):
        self.now = now

    def __call__(self):
        self.now += 1
        return self.now


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "sessions"


@pytest.fixture
def store(folder):
    return FileSessionStore(folder, Clock())


def user(text):
    return Message("user", text)


def answer(text, reasoning=""):
    return Message("assistant", text, reasoning)


def kinds(folder, session_id):
    lines = (folder / f"{session_id}.jsonl").read_bytes().splitlines()
    return [json.loads(line)["t"] for line in lines]


async def one_turn(store, question="Why?", text="So."):
    journal = await store.create()
    await journal.message(user(question))
    await journal.answer(answer(text), "demo", FIGURES, "stop")
    return journal


async def test_a_conversation_is_read_back(store):
    journal = await store.create()
    sampling, load = Sampling(temperature=0.1, stop=("a\n", "é")), LoadSettings(num_ctx=4096, type_k="q8_0")
    await journal.settings("Be brief.", sampling, load)
    await journal.model(MODEL)
    await journal.message(user("Why is the sky blue?\n日本 \u2028 \x00 \ud800 🙂"))
    await journal.answer(answer("Because.", "Hmm."), "demo", FIGURES, "stop")
    await journal.close()
    session = await store.open_session(journal.id)
    assert (session.system, session.sampling, session.load) == ("Be brief.", sampling, load)
    assert (session.model, session.model_path) == ("demo", "/models/demo.gguf")
    question, reply = session.turns
    assert question.message == user("Why is the sky blue?\n日本 \u2028 \x00 \ud800 🙂")
    assert reply.message == answer("Because.", "Hmm.")
    assert (reply.model, reply.metrics, reply.finish_reason) == ("demo", FIGURES, "stop")
    assert session.created_at < question.at < reply.at == session.updated_at


async def test_nothing_is_stored_before_the_first_message(store, folder):
    journal = await store.create()
    await journal.settings("s", Sampling(), LoadSettings())
    await journal.model(MODEL)
    await journal.close()
    assert not folder.exists()
    assert await store.summaries() == []
    assert await store.interrupted() == []


async def test_only_the_newest_settings_are_stored_with_the_first_message(store, folder):
    journal = await store.create()
    await journal.settings("old", Sampling(), LoadSettings())
    await journal.settings("new", Sampling(), LoadSettings())
    await journal.message(user("hi"))
    await journal.settings("new", Sampling(), LoadSettings())
    assert kinds(folder, journal.id) == ["session", "settings", "message"]
    assert (await store.open_session(journal.id)).system == "new"


async def test_a_change_of_settings_is_stored_at_once(store, folder):
    journal = await one_turn(store)
    await journal.settings("", Sampling(seed=7), LoadSettings())
    await journal.model(MODEL)
    await journal.model(MODEL)
    assert kinds(folder, journal.id) == ["session", "message", "answer", "settings", "model"]


async def test_ids_sort_by_time_and_are_never_given_twice(folder):
    store = FileSessionStore(folder, lambda: 1_787_322_725.0)
    first, second = await store.create(), await store.create()
    other_program = await FileSessionStore(folder, lambda: 1_787_322_725.0).create()
    for journal in (first, second, other_program):
        await journal.message(user("hi"))
    assert [first.id, second.id, other_program.id] == ["260821-143205", "260821-143205-2", "260821-143205-3"]
    assert sorted(path.stem for path in folder.iterdir()) == [first.id, second.id, other_program.id]


async def test_partial_answers_hold_only_what_is_new(store, folder):
    journal = await store.create()
    await journal.message(user("Tell me"))
    for text in ("Once", "Once upon", "Once upon", "Once upon a time"):
        await journal.partial(answer(text, "thought"), "demo")
    records = [json.loads(line) for line in (folder / f"{journal.id}.jsonl").read_bytes().splitlines()]
    assert [(r["content"], r.get("reasoning", "")) for r in records if r["t"] == "partial"] == [
        ("Once", "thought"),
        (" upon", ""),
        (" a time", ""),
    ]
    session = await store.open_session(journal.id)
    assert session.turns[-1].message == answer("Once upon a time", "thought")
    assert session.turns[-1].finish_reason == "interrupted"
    assert session.turns[-1].model == "demo"


async def test_the_answer_replaces_its_partials(store):
    journal = await store.create()
    await journal.message(user("Tell me"))
    await journal.partial(answer("Once upon"), "demo")
    await journal.answer(answer("Once."), "demo", FIGURES, "cancelled")
    await journal.message(user("More"))
    await journal.partial(answer("Twi"), "demo")
    session = await store.open_session(journal.id)
    assert [turn.message.content for turn in session.turns] == ["Tell me", "Once.", "More", "Twi"]


async def test_a_partial_that_does_not_go_on_starts_over(store):
    journal = await store.create()
    await journal.message(user("Tell me"))
    await journal.partial(answer("Once upon"), "demo")
    await journal.partial(answer("Twice"), "demo")
    await journal.partial(answer("Twice told"), "other")
    (_, turn) = (await store.open_session(journal.id)).turns
    assert (turn.message.content, turn.model) == ("Twice told", "other")


async def test_a_message_after_a_partial_keeps_the_partial(store):
    journal = await store.create()
    await journal.message(user("Tell me"))
    await journal.partial(answer("Once"), "demo")
    await journal.message(user("Again"))
    await journal.partial(answer("Once"), "demo")
    session = await store.open_session(journal.id)
    assert [turn.message.content for turn in session.turns] == ["Tell me", "Once", "Again", "Once"]


async def test_a_session_can_be_resumed(store, folder):
    journal = await one_turn(store)
    await journal.close()
    session, again = await store.resume(journal.id)
    assert again.id == journal.id
    assert len(session.turns) == 2
    await again.settings(session.system, session.sampling, session.load)
    await again.message(user("And?"))
    await again.close()
    assert kinds(folder, journal.id) == ["session", "message", "answer", "end", "resumed", "message", "end"]
    assert len((await store.open_session("last")).turns) == 3


async def test_looking_at_a_session_by_resuming_it_changes_nothing(store, folder):
    journal = await one_turn(store)
    await journal.close()
    before = (folder / f"{journal.id}.jsonl").read_bytes()
    _, again = await store.resume(journal.id)
    await again.close()
    assert (folder / f"{journal.id}.jsonl").read_bytes() == before


async def test_an_interrupted_answer_stays_when_the_session_goes_on(store):
    journal = await store.create()
    await journal.message(user("Tell me"))
    await journal.partial(answer("Once"), "demo")
    drop(journal)
    session, again = await store.resume(journal.id)
    assert session.turns[-1].finish_reason == "interrupted"
    await again.partial(answer("Anew"), "demo")
    await again.answer(answer("Anew."), "demo", FIGURES, "stop")
    session = await store.open_session(journal.id)
    assert [turn.message.content for turn in session.turns] == ["Tell me", "Once", "Anew."]


def drop(journal):
    """What the death of a program does: its file is closed, and no end is written."""
    journal._file.close()


async def test_what_a_dead_program_left_is_offered_until_it_is_closed(store):
    journal = await one_turn(store, "dead")
    assert await store.interrupted() == []
    drop(journal)
    (found,) = await store.interrupted()
    assert found.id == journal.id
    _, again = await store.resume(found.id)
    assert await store.interrupted() == []
    await again.close()
    assert await store.interrupted() == []


async def test_interrupted_sessions_come_newest_first_and_can_be_dismissed(store):
    journals = [await one_turn(store, name) for name in ("one", "two", "three")]
    for journal in journals:
        drop(journal)
    assert [session.title for session in await store.interrupted()] == ["three", "two", "one"]
    await store.dismiss(journals[1].id)
    assert [session.title for session in await store.interrupted()] == ["three", "one"]
    assert len(await store.summaries()) == 3


async def test_a_dismissed_session_that_goes_on_can_be_interrupted_again(store):
    journal = await one_turn(store)
    drop(journal)
    await store.dismiss(journal.id)
    _, again = await store.resume(journal.id)
    await again.message(user("More"))
    drop(again)
    assert len(await store.interrupted()) == 1


async def test_two_programs_do_not_write_one_session(store, folder):
    journal = await one_turn(store)
    other = FileSessionStore(folder, Clock())
    with pytest.raises(SessionError, match="another program"):
        await other.resume(journal.id)
    with pytest.raises(SessionError, match="another program"):
        await other.dismiss(journal.id)
    assert len((await other.open_session(journal.id)).turns) == 2
    await journal.close()
    _, taken = await other.resume(journal.id)
    await taken.close()


async def test_a_closed_journal_takes_no_more(store):
    journal = await one_turn(store)
    await journal.close()
    await journal.close()
    with pytest.raises(SessionError, match="closed"):
        await journal.message(user("late"))


async def test_words_are_written_though_nobody_waits_for_them(store):
    journal = await one_turn(store)
    task = asyncio.ensure_future(journal.message(user("more")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await journal.close()
    assert (await store.open_session(journal.id)).turns[-1].message == user("more")


class FullDisk:
    """Takes some bytes and then none, as a disk does that fills up."""

    def __init__(self, monkeypatch, error=errno.ENOSPC, room=0):
        self.room, self.error = room, error
        self._write = os.write
        monkeypatch.setattr(session_file.os, "write", self)

    def __call__(self, descriptor, data):
        if self.room <= 0:
            raise OSError(self.error, os.strerror(self.error))
        count = self._write(descriptor, bytes(data[: self.room]))
        self.room -= count
        return count


@pytest.mark.parametrize("room", [0, 1, 20, 50, 60, 61, 62, 63, 64, 65, 70, 10_000])
async def test_what_a_full_disk_refused_is_written_later(store, room, monkeypatch):
    journal = await one_turn(store)
    disk = FullDisk(monkeypatch, room=room)
    refusals = []
    for text in ("one", "two"):
        try:
            await journal.message(user(text))
        except SessionError as error:
            refusals.append(error)
    assert len(refusals) == 2 or room > 50
    assert all(os.strerror(errno.ENOSPC) in each.message and "Free some space" in each.hint for each in refusals)
    disk.room = 1 << 30
    await journal.message(user("three"))
    session = await store.open_session(journal.id)
    assert [turn.message.content for turn in session.turns] == ["Why?", "So.", "one", "two", "three"]


@pytest.mark.parametrize("error", [errno.EROFS, errno.EIO])
async def test_a_disk_that_refuses_from_the_start(store, folder, error, monkeypatch):
    disk = FullDisk(monkeypatch, error)
    journal = await store.create()
    with pytest.raises(SessionError, match=os.strerror(error)):
        await journal.message(user("one"))
    with pytest.raises(SessionError, match=os.strerror(error)):
        await journal.partial(answer("tw"), "demo")
    with pytest.raises(SessionError, match=os.strerror(error)):
        await journal.close()
    disk.room = 1 << 30
    await journal.close()
    assert kinds(folder, journal.id) == ["session", "message", "partial", "end"]


async def test_a_failed_sync_is_not_written_twice(store, folder, monkeypatch):
    journal = await one_turn(store)
    with monkeypatch.context() as patch:
        patch.setattr(session_file.os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.EIO, "bad")))
        with pytest.raises(SessionError):
            await journal.message(user("one"))
    await journal.message(user("two"))
    assert kinds(folder, journal.id) == ["session", "message", "answer", "message", "message"]


async def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "data").write_text("in the way")
    store = FileSessionStore(tmp_path / "data" / "sessions", Clock())
    journal = await store.create()
    with pytest.raises(SessionError, match="cannot be written"):
        await journal.message(user("one"))
    (tmp_path / "data").unlink()
    await journal.message(user("two"))
    assert len((await store.open_session("last")).turns) == 2


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted there")
async def test_a_file_that_is_deleted_while_it_is_open_is_written_anew(store, folder):
    journal = await one_turn(store)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    await journal.message(user("still here?"))
    await journal.message(user("yes"))
    session = await store.open_session(journal.id)
    assert [turn.message.content for turn in session.turns] == ["Why?", "So.", "still here?", "yes"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
async def test_conversations_are_private(store, folder):
    journal = await one_turn(store)
    assert (folder / f"{journal.id}.jsonl").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
