from __future__ import annotations

import asyncio
import re
import sqlite3

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.store.session_values import FIGURES, Clock, Talk, sessions, texts
from workbench.core.chat import Message
from workbench.core.errors import SessionError
from workbench.core.models import ModelEntry
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.store.sessions import schema
from workbench.store.sessions.digests import model_digest
from workbench.store.sessions.rows import insert_session, read_session, to_text
from workbench.store.sessions.search import match_expression, search
from workbench.store.sessions.store import PURGE_SECONDS, DatabaseSessionStore

T0 = 1_787_322_725.0
runny = st.text("图书 aส้\ud800", max_size=8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(path, clock):
    store = DatabaseSessionStore(path, clock=clock)
    yield store
    store.close()


def session(session_id, *said, at=T0, **values):
    turns = [Turn(Message("assistant" if index % 2 else "user", text), at) for index, text in enumerate(said)]
    return Session(session_id, at, at, tree=Tree.of(turns), **values)


@pytest.fixture
async def three(store):
    await store.keep(session("260101-100000", "one", at=T0))
    await store.keep(session("260101-110000", "two", at=T0 + 50))
    await store.keep(session("260202-100000", "three", at=T0 + 10))


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


# Search.


async def found(store, words):
    return [hit.session.id for hit in await store.search(words)]


async def test_words_are_found_in_every_message_and_name(store):
    await store.keep(session("a", "Why is the sky blue?", "Rayleigh scattering."))
    await store.keep(session("b", "Write a poem", "The sky was grey.", at=T0 + 1))
    await store.keep(session("c", "Hello", "Hi", name="Sky diving 100%_"))
    assert await found(store, "sky") == ["c", "b", "a"]
    assert await found(store, "sky blue") == ["a"]
    assert await found(store, "SKY") == ["c", "b", "a"]
    assert await found(store, "scat") == ["a"]
    assert await found(store, '"was grey"') == ["b"]
    assert await found(store, '"grey was"') == []
    assert await found(store, "scat ") == [], "a word that is complete"
    assert await found(store, "100%_") == ["c"]
    assert await found(store, "10%") == []
    (hit,) = await store.search("rayleigh")
    assert (hit.snippet, hit.message) == ("Rayleigh scattering.", 2)
    assert [hit.snippet[slice(*mark)] for mark in hit.marks] == ["Rayleigh"]


async def test_reasoning_accents_and_other_scripts_are_found(store):
    turns = [Turn(Message("user", "Über die Straße"), T0), Turn(Message("assistant", "ja", "γνῶθι сам"), T0)]
    await store.keep(Session("x", T0, T0, tree=Tree.of(turns)))
    for words in ("uber", "Straße", "γνῶθι", "САМ"):
        assert await found(store, words) == ["x"], words


async def test_a_session_is_found_once_where_its_newest_message_has_the_words(store):
    await store.keep(session("a", "sky", "sky", "the sky again"))
    (hit,) = await store.search("sky")
    assert (hit.message, hit.snippet) == (3, "the sky again")


@pytest.mark.parametrize("words", ["", "  ", '"', "* ( )", "-", "\x00", "'"])
async def test_nothing_to_look_for(store, three, words):
    assert await store.search(words) == []


@given(st.text())
def test_nothing_that_is_typed_is_an_error(words):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection)
    for index in ("words", "runs"):
        typed = match_expression(words).encode(errors="ignore").decode()
        if typed:
            connection.execute(f"SELECT rowid FROM {index} WHERE {index} MATCH ?", (typed,)).fetchall()
    connection.close()


async def test_a_long_text_is_searched_by_its_beginning(store):
    text = ":smile:" * 1_000
    await store.keep(session("260101-100000", text))
    for words in (text, text * 50, "smile " * 10_000):
        assert [hit.session.id for hit in await store.search(words)] == ["260101-100000"]


# Scripts that set no spaces between words.

FILL = """
INSERT INTO runs (rowid, content, reasoning)
SELECT key, in_pairs(content), in_pairs(reasoning) FROM message WHERE has_runs(content) OR has_runs(reasoning)
"""
CHINESE = "我今天在图书馆用Python编写了一个显存计算程序。"
JAPANESE = "昨日は図書館でGPUのメモリーを調べました。"
THAI = "สวัสดีครับ วันนี้ผมไปห้องสมุดกับเพื่อน"
KOREAN = "오늘 서울대학교에서 도서관을 찾았습니다."


@pytest.mark.parametrize(
    ("text", "inside", "absent"),
    [
        (CHINESE, ["图书馆", "书馆", "显存", "程序", "我", "序", "写了一个", "在图书馆用Python编写", "Python"],
         ["图馆", "书图", "馆书", "编存", "龍"]),
        (JAPANESE, ["図書館", "メモリ", "モリー", "調べ", "の", "GPUの", "gpu", "日は図", "館でGPUのメ"],
         ["図館", "メリ", "モリを", "GPUを"]),
        (THAI, ["สวัสดี", "ห้องสมุด", "สมุด", "ครับ", "เพื่อน", "วันนี้ผม", "ส"], ["สมด", "ดุมส", "หองสมุด"]),
        (KOREAN, ["대학교", "서울", "도서관", "관", "서관을 찾"], ["교대", "도관"]),
    ],
)  # fmt: skip
async def test_words_in_the_middle_of_a_run_of_characters(store, text, inside, absent):
    await store.keep(session("other", "Nothing of this kind."))
    await store.keep(session("x", "Hello", text))
    for words in inside:
        assert await found(store, words) == ["x"], words
        assert await found(store, f'"{words}"') == ["x"], words
    for words in absent:
        assert await found(store, words) == [], words


async def test_every_word_has_to_be_in_the_message(store):
    await store.keep(session("a", CHINESE))
    await store.keep(session("b", "图书馆在哪里?", at=T0 + 1))
    assert await found(store, "图书馆") == ["b", "a"]
    assert await found(store, "图书馆 显存") == ["a"]
    assert await found(store, "显存 python") == ["a"]
    assert await found(store, '"图书馆在" 哪里') == ["b"]
    assert await found(store, "python 哪里") == []


async def test_words_of_other_scripts_are_found_in_both_kinds_of_messages(store):
    await store.keep(session("a", CHINESE))
    await store.keep(session("b", "Python is a snake.", at=T0 + 1))
    await store.keep(session("c", "用 python 写", at=T0 + 2))
    assert await found(store, "python") == ["c", "b", "a"]
    assert await found(store, "snake") == ["b"]
    assert await found(store, "PYTH") == ["c", "b", "a"]
    assert await found(store, '"pyth"') == []


async def test_punctuation_parts_runs_and_phrases_go_over_it(store):
    await store.keep(session("x", "你好，世界。再见！"))
    assert await found(store, '"你好，世界"') == ["x"]
    assert await found(store, '"你好 世界"') == ["x"]
    assert await found(store, "好世") == []


async def test_reasoning_is_searched_and_does_not_go_on_from_the_answer(store):
    turns = [Turn(Message("assistant", "天气很好", "显存不够"), T0)]
    await store.keep(Session("x", T0, T0, tree=Tree.of(turns)))
    assert await found(store, "显存") == ["x"]
    assert await found(store, "好显") == []
    (hit,) = await store.search("不够")
    assert hit.snippet == "显存不够"


async def test_what_was_found_is_shown_with_what_stands_around_it(store):
    await store.keep(session("x", "前" * 40 + "图书馆\n在那里" + "后" * 80))
    (hit,) = await store.search("图书馆 那里")
    assert hit.snippet == "…" + "前" * 16 + "图书馆 在那里" + "后" * 37 + "…"
    assert [hit.snippet[slice(*mark)] for mark in hit.marks] == ["图书馆", "那里"]


async def test_what_is_changed_and_deleted_is_found_no_more(store, path):
    talk, journal = Talk(), await store.create()
    await journal.message(talk.user("写一首诗"))
    await journal.partial(talk.partial("海是"))
    await journal.partial(talk.partial("海是蓝色"))
    await journal.message(talk.answer("海是蓝色的"))
    assert await found(store, "蓝色的") == [journal.id]
    await journal.close()
    await store.delete(journal.id)
    assert await found(store, "蓝色") == []


@given(st.lists(st.tuples(runny, runny), min_size=1, max_size=6))
def test_the_index_holds_what_is_stored_and_nothing_else(states):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection)
    insert_session(connection, session("x", "a"), None)
    for content, reasoning in states:
        connection.execute("UPDATE message SET content = ?, reasoning = ?", (to_text(content), to_text(reasoning)))
        kept = indexed_runs(connection)
        connection.execute("INSERT INTO runs (runs) VALUES ('integrity-check')")
        connection.execute("INSERT INTO runs (runs) VALUES ('delete-all')")
        connection.execute(FILL)
        assert indexed_runs(connection) == kept
    connection.close()


@given(st.text("图书馆显存aB1 ,。ส้ม", min_size=1, max_size=12), st.data())
def test_any_piece_of_a_run_is_found(text, data):
    """What is cut out of a text inside of its runs is found in it, and what does not stand in it is not."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection)
    insert_session(connection, session("x", text), None)
    for run in re.findall("[图书馆显存]+|[ส้ม]+", text):
        start = data.draw(st.integers(0, len(run) - 1))
        piece = run[start : data.draw(st.integers(start + 1, len(run)))]
        if any(character.isalnum() for character in piece):
            assert search(connection, piece), piece
    strange = data.draw(st.text("图书馆显存", min_size=1, max_size=4))
    assert bool(search(connection, strange)) == (strange in text)
    connection.close()


def indexed_runs(connection):
    """Every token of the index with its place."""
    connection.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.tokens USING fts5vocab(main, runs, instance)")
    return connection.execute("SELECT * FROM temp.tokens ORDER BY doc, col, offset, term").fetchall()


# What is stored is what is read.


@given(sessions())
def test_any_session_is_read_back(given_session):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    schema.prepare(connection)
    key, name = insert_session(connection, given_session, None)
    assert name == given_session.id
    assert read_session(connection, key) == given_session
    _, other = insert_session(connection, given_session, None)
    assert other == f"{given_session.id}-2"
    connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.execute("DELETE FROM session")
    assert connection.execute("SELECT count(*) FROM message").fetchone() == (0,)
    assert indexed_runs(connection) == []
    connection.close()


@example("", "0\ud800")
@example("0\ud800", "0")
@example("图\ud800", "图")
@given(texts, texts)
def test_any_words_can_be_searched_beside_any_text(content, words):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection)
    insert_session(connection, session("x", content), None)
    search(connection, words)
    connection.close()


# Creating the tables.


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


# Digests.


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
