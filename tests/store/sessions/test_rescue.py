from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings

from tests.store.session_values import Clock, Talk, sessions
from workbench.store.sessions.rescue import rescue
from workbench.store.sessions.rows import insert_session, read_session
from workbench.store.sessions.schema import prepare, transaction
from workbench.store.sessions.store import DatabaseSessionStore


def database():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    prepare(connection)
    return connection


@pytest.fixture
def target():
    connection = database()
    connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


@pytest.fixture
async def source(tmp_path):
    """A database of three sessions of four messages each, whose rules are off; the tests damage the second."""
    store = DatabaseSessionStore(tmp_path / "sessions.db", clock=Clock())
    for number in (1, 2, 3):
        talk, journal = Talk(), await store.create()
        for text in ("one", "two", "three", "four"):
            say = talk.user if talk.number % 2 == 0 else talk.answer
            await journal.message(say(f"{text} of {number}"))
        await journal.close()
    store.close()
    connection = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.create_function("words_of", -1, lambda *_: "")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    yield connection
    connection.close()


def saved(source, target):
    with transaction(target):
        count = rescue(source, target)
    found = [read_session(target, key) for (key,) in target.execute("SELECT key FROM session ORDER BY key")]
    assert len(found) == count
    assert target.execute("PRAGMA foreign_key_check").fetchall() == []
    return [[turn.message.content for turn in session.turns] for session in found]


def talk(number, *words):
    return [f"{word} of {number}" for word in words or ("one", "two", "three", "four")]


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        ("DELETE FROM message WHERE session = 2 AND number = 2", ("one", "three", "four")),
        ("DELETE FROM message WHERE session = 2 AND number IN (1, 2)", ("three", "four")),
        ("DELETE FROM message WHERE session = 2 AND number = 4", ("one", "two", "three")),
        ("UPDATE message SET parent = 9 WHERE session = 2 AND number = 3", None),
        ("UPDATE message SET parent = number WHERE session = 2 AND number = 3", None),
        ("UPDATE message SET role = 'god' WHERE session = 2 AND number = 2", ("one", "three", "four")),
        ("UPDATE message SET role = x'ff' WHERE session = 2 AND number = 2", ("one", "three", "four")),
        ("UPDATE message SET number = -4 WHERE session = 2 AND number = 4", ("one", "two", "three")),
        ("UPDATE message SET at = 'noon' WHERE session = 2", None),
        ("UPDATE message SET at = 9e999 WHERE session = 2", None),
        ("UPDATE message SET trace = 'text', seed = 'x', metrics = '[', making = 99 WHERE session = 2", None),
        ("UPDATE message SET content = x'ff00' WHERE session = 2 AND number = 2", ("one", "three", "four")),
        ("UPDATE session SET leaf = 99 WHERE key = 2", None),
        ("UPDATE session SET leaf = 'x', pinned = 'y', holder = 7, deleted_at = 'z' WHERE key = 2", None),
        ("UPDATE session SET id = x'ff', name = x'ff', model = x'ff', model_path = 7, making = 99 WHERE key = 2", None),
        ("UPDATE session SET created_at = 'a', updated_at = -1 WHERE key = 2", None),
        ("UPDATE making SET made = '[' || key", None),
        ("UPDATE making SET made = key", None),
    ],
)
def test_an_inconsistent_session_takes_no_other_with_it_and_what_is_readable_of_it_is_kept(
    source, target, damage, kept
):
    source.execute(damage)
    assert saved(source, target) == [talk(1), talk(2, *(kept or ())), talk(3)]


def test_a_session_without_a_readable_row_leaves_the_others(source, target):
    source.execute("UPDATE session SET key = -2 WHERE key = 2")
    assert saved(source, target) == [talk(1), talk(3)]


def test_what_cannot_be_stored_is_left_out_alone(source, target):
    target.execute(
        "CREATE TRIGGER no BEFORE INSERT ON message WHEN new.content = 'three of 2' "
        "BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    assert saved(source, target) == [talk(1), talk(3)]


@settings(max_examples=30)
@given(session=sessions())
def test_a_sound_session_is_rescued_as_it_was(session):
    source, target = database(), database()
    key, name = insert_session(source, session, None)
    before = read_session(source, key)
    assert rescue(source, target) == 1
    after = read_session(target, 1)
    assert (after, name) == (before, after.id)
    source.close()
    target.close()
