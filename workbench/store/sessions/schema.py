"""The tables of the sessions database. Their version is SQLite's `user_version`."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from workbench.store.sessions import bigrams

APPLICATION_ID = 0x776B6264
"""Identifies the database to `file` and other tools: `wkbd`."""

VERSION = 2

_TABLES = """
CREATE TABLE making (
    -- The model and settings of answers, as JSON: file and digest, system prompt, parameters. Each one once.
    key INTEGER PRIMARY KEY,
    made TEXT NOT NULL UNIQUE
);
CREATE TABLE session (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,               -- seconds since the epoch
    updated_at REAL NOT NULL,
    first_words TEXT NOT NULL DEFAULT '',
    name TEXT NOT NULL DEFAULT '',          -- given by the user
    pinned INTEGER NOT NULL DEFAULT 0,
    model TEXT NOT NULL DEFAULT '',
    model_path TEXT NOT NULL DEFAULT '',
    making INTEGER REFERENCES making (key), -- the settings of the next answer
    leaf INTEGER NOT NULL DEFAULT 0,        -- the number of the message that the conversation ends with
    messages INTEGER NOT NULL DEFAULT 0,
    metrics TEXT,                           -- the figures of the last answer, as JSON
    holder TEXT,                            -- the program that has it open; NULL if it ended well
    deleted_at REAL
);
CREATE INDEX session_listed ON session (pinned DESC, updated_at DESC) WHERE deleted_at IS NULL;
CREATE INDEX session_held ON session (holder) WHERE holder IS NOT NULL;
CREATE INDEX session_deleted ON session (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE TABLE message (
    key INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES session (key) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number > 0),
    parent INTEGER CHECK (parent < number), -- NULL where it begins the conversation
    role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
    content TEXT NOT NULL,
    reasoning TEXT NOT NULL DEFAULT '',
    at REAL NOT NULL,
    model TEXT NOT NULL DEFAULT '',
    finish_reason TEXT NOT NULL DEFAULT '',
    metrics TEXT,
    making INTEGER REFERENCES making (key),
    seed INTEGER,
    trace BLOB,                             -- the timing of its text; workbench.core.trace
    deleted_at REAL,
    UNIQUE (session, number),
    FOREIGN KEY (session, parent) REFERENCES message (session, number) ON DELETE CASCADE
);
CREATE INDEX message_parent ON message (session, parent);
CREATE INDEX message_deleted ON message (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE TABLE piece (
    -- The text of an answer in progress, flush by flush.
    message INTEGER NOT NULL REFERENCES message (key) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    content TEXT NOT NULL,
    reasoning TEXT NOT NULL,
    PRIMARY KEY (message, number)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (
    content, reasoning,
    content = 'message', content_rowid = 'key', tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
CREATE TRIGGER message_words_in AFTER INSERT ON message BEGIN
    INSERT INTO words (rowid, content, reasoning) VALUES (new.key, new.content, new.reasoning);
END;
CREATE TRIGGER message_words_out AFTER DELETE ON message BEGIN
    INSERT INTO words (words, rowid, content, reasoning) VALUES ('delete', old.key, old.content, old.reasoning);
END;
CREATE TRIGGER message_words_changed AFTER UPDATE OF content, reasoning ON message BEGIN
    INSERT INTO words (words, rowid, content, reasoning) VALUES ('delete', old.key, old.content, old.reasoning);
    INSERT INTO words (rowid, content, reasoning) VALUES (new.key, new.content, new.reasoning);
END;
"""


def _statements(script: str) -> list[str]:
    """The statements of a script: `executescript` would commit the transaction around them."""
    found, lines = [], list[str]()
    for line in script.splitlines():
        lines.append(line)
        statement = "\n".join(lines)
        if sqlite3.complete_statement(statement):
            found.append(statement)
            lines.clear()
    return found


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A write that ends with the `with` block: what an error interrupts changes nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables of a new database, in one transaction; one that has them is left alone.

    The connection gets the functions that the triggers call: without them it can read, but not write.
    """
    bigrams.register(connection)
    if _version(connection):
        return
    with transaction(connection):
        # Another program may have done it while this one waited.
        if not _version(connection):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for statement in _statements(_TABLES + bigrams.TABLE):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_without_tables(connection: sqlite3.Connection) -> bool:
    """Whether nothing was stored yet: the disk was full when the database was created."""
    return _version(connection) == 0


def is_from_another_version(connection: sqlite3.Connection) -> bool:
    """Whether another version of the program, with other tables, made the database."""
    return _version(connection) not in (0, VERSION)
