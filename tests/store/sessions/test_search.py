"""Searching the words of all sessions."""

from __future__ import annotations

import re
import sqlite3

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.store.session_values import Talk, sessions, texts
from tests.store.sessions.made import T0, runny, session
from workbench.core.chat import Message
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.store.sessions import schema
from workbench.store.sessions.rows import insert_session, read_session, to_text
from workbench.store.sessions.search import match_expression, search


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
