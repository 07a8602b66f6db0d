"""Sessions as rows of the database, and back, inside a transaction of the caller."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from workbench.core.chat import Message
from workbench.core.json_reader import salvage_json
from workbench.core.metrics import AnswerMetrics
from workbench.core.recipe import GIVEN
from workbench.core.session import Session, SessionSummary, first_words
from workbench.core.trace import Trace
from workbench.core.tree import INTERRUPTED, Making, Node, Tree, Turn, View
from workbench.store.files import numbered

Row = tuple[Any, ...]

SUMMARY = "id, first_words, name, model, messages, updated_at, metrics, pinned, deleted_at IS NOT NULL"
"""The columns for `read_summary`."""


def to_text(text: str) -> str | bytes:
    """A text for SQLite: as bytes if it has lone surrogates, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def from_text(value: str | bytes) -> str:
    """The inverse of `to_text`."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogatepass")


def _dumped(value: Mapping[str, object]) -> str:
    # JSON escapes everything beyond ASCII, including lone surrogates.
    return json.dumps(value, separators=(",", ":"))


def _loaded(text: str | None) -> object:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def keep_making(connection: sqlite3.Connection, making: Making | None) -> int | None:
    """The key of the model and settings of an answer, which are stored once."""
    if making is None:
        return None
    # The seed belongs to one answer; everything else is shared by many.
    made = _dumped({name: value for name, value in asdict(making).items() if name != "seed"})
    connection.execute("INSERT OR IGNORE INTO making (made) VALUES (?)", (made,))
    return int(connection.execute("SELECT key FROM making WHERE made = ?", (made,)).fetchone()[0])


def next_making(session: Session) -> Making:
    """The settings of a session in their stored form."""
    return Making(system=session.system, sampling=session.sampling, load=session.load)


# Writing


def insert_session(connection: sqlite3.Connection, session: Session, holder: str | None) -> tuple[int, str]:
    """Store a whole session; returns its key and its id, with a number appended if the wanted one exists."""
    taken = "SELECT 1 FROM session WHERE id = ?"
    name = next(name for name in numbered(session.id) if not connection.execute(taken, (to_text(name),)).fetchone())
    values = (
        to_text(name),
        session.created_at,
        session.updated_at,
        to_text(session.name),
        session.pinned,
        to_text(session.model),
        to_text(session.model_path),
        keep_making(connection, next_making(session)),
        holder,
    )
    cursor = connection.execute(
        "INSERT INTO session (id, created_at, updated_at, name, pinned, model, model_path, making, holder) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    key = cursor.lastrowid
    assert key is not None
    for node in session.tree.nodes:
        put_message(connection, key, node)
    set_view(connection, key, session.tree.view, session.updated_at)
    connection.execute("UPDATE session SET updated_at = ? WHERE key = ?", (session.updated_at, key))
    return key, name


def put_message(connection: sqlite3.Connection, session: int, node: Node) -> int:
    """Store a message, replacing its earlier state, as the end of the conversation; returns its key."""
    turn, message = node.turn, node.turn.message
    known = {} if turn.metrics is None else asdict(turn.metrics)
    metrics = _dumped({name: value for name, value in known.items() if value is not None}) if known else None
    values = (
        node.parent or None,
        message.role,
        to_text(message.content),
        to_text(message.reasoning),
        turn.at,
        to_text(turn.model),
        to_text(turn.finish_reason),
        metrics,
        keep_making(connection, turn.making),
        None if turn.making is None else turn.making.seed,
        turn.trace.data or None,
    )
    row = connection.execute(
        "SELECT key FROM message WHERE session = ? AND number = ?", (session, node.number)
    ).fetchone()
    if row is not None:
        key = int(row[0])
        connection.execute("DELETE FROM piece WHERE message = ?", (key,))
        connection.execute(
            "UPDATE message SET parent = ?, role = ?, content = ?, reasoning = ?, at = ?, model = ?, "
            "finish_reason = ?, metrics = ?, making = ?, seed = ?, trace = ? WHERE key = ?",
            (*values, key),
        )
    else:
        cursor = connection.execute(
            "INSERT INTO message (session, number, parent, role, content, reasoning, at, model, finish_reason, "
            "metrics, making, seed, trace) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (session, node.number, *values),
        )
        assert cursor.lastrowid is not None
        key = cursor.lastrowid
        connection.execute("UPDATE session SET messages = messages + 1 WHERE key = ?", (session,))
    connection.execute(
        "UPDATE session SET leaf = ?, updated_at = max(updated_at, ?), metrics = coalesce(?, metrics) WHERE key = ?",
        (node.number, turn.at, metrics, session),
    )
    if message.role == "user" and turn.finish_reason != GIVEN:
        connection.execute(
            "UPDATE session SET first_words = ? WHERE key = ? AND (? IS NULL OR first_words = '')",
            (to_text(first_words(message.content)), session, node.parent or None),
        )
    return key


def put_piece(connection: sqlite3.Connection, session: int, node: Node, content: str, reasoning: str) -> None:
    """Store the text that an answer in progress has gained; the text of `node` itself is ignored."""
    found = connection.execute("SELECT key FROM message WHERE session = ? AND number = ?", (session, node.number))
    row = found.fetchone()
    if row is None:
        turn = node.turn
        bare = Turn(Message("assistant", ""), turn.at, turn.model, None, INTERRUPTED, turn.making)
        key = put_message(connection, session, Node(node.number, node.parent, bare))
    else:
        key = int(row[0])
    connection.execute(
        "INSERT INTO piece SELECT ?, coalesce(max(number), 0) + 1, ?, ? FROM piece WHERE message = ?",
        (key, to_text(content), to_text(reasoning), key),
    )
    connection.execute("UPDATE session SET updated_at = max(updated_at, ?) WHERE key = ?", (node.turn.at, session))


def set_view(connection: sqlite3.Connection, session: int, view: View, at: float) -> None:
    """Store which messages form the conversation, and which are deleted."""
    connection.execute("UPDATE session SET leaf = ? WHERE key = ?", (view.leaf, session))
    marked = connection.execute(
        "SELECT number FROM message WHERE session = ? AND deleted_at IS NOT NULL", (session,)
    ).fetchall()
    before = {number for (number,) in marked}
    for numbers, stamp in ((view.deleted - before, at), (before - view.deleted, None)):
        connection.executemany(
            "UPDATE message SET deleted_at = ? WHERE session = ? AND number = ?",
            [(stamp, session, number) for number in sorted(numbers)],
        )
    # The title comes from the current conversation.
    root = connection.execute(
        "WITH RECURSIVE way (number, parent, role, reason, content) AS ("
        "SELECT number, parent, role, finish_reason, content FROM message WHERE session = :session AND number = :leaf "
        "UNION ALL "
        "SELECT message.number, message.parent, message.role, message.finish_reason, message.content "
        "FROM message JOIN way ON message.session = :session AND message.number = way.parent) "
        "SELECT content FROM way WHERE role = 'user' AND reason != :given ORDER BY number LIMIT 1",
        {"session": session, "leaf": view.leaf, "given": GIVEN},
    ).fetchone()
    if root is not None:
        title = to_text(first_words(from_text(root[0])))
        connection.execute("UPDATE session SET first_words = ? WHERE key = ?", (title, session))


def fold_pieces(connection: sqlite3.Connection, session: int) -> None:
    """Merge the pieces of an interrupted answer into its message, where a search finds them."""
    unfolded = connection.execute(
        "SELECT DISTINCT message.key FROM piece JOIN message ON message.key = piece.message WHERE session = ?",
        (session,),
    ).fetchall()
    for (key,) in unfolded:
        content, reasoning = _pieces(connection, key)
        connection.execute(
            "UPDATE message SET content = ?, reasoning = ? WHERE key = ?", (to_text(content), to_text(reasoning), key)
        )
        connection.execute("DELETE FROM piece WHERE message = ?", (key,))


def _pieces(connection: sqlite3.Connection, message: int) -> tuple[str, str]:
    rows = connection.execute("SELECT content, reasoning FROM piece WHERE message = ? ORDER BY number", (message,))
    pieces = rows.fetchall()
    return "".join(from_text(row[0]) for row in pieces), "".join(from_text(row[1]) for row in pieces)


# Reading


def read_session(connection: sqlite3.Connection, key: int) -> Session:
    """The session with this key, which must exist."""
    row = connection.execute(
        "SELECT id, created_at, updated_at, model, model_path, made, name, pinned, leaf FROM session "
        "LEFT JOIN making ON making.key = session.making WHERE session.key = ?",
        (key,),
    ).fetchone()
    making = read_making(row[5]) or Making()
    return Session(
        id=from_text(row[0]),
        created_at=row[1],
        updated_at=row[2],
        model=from_text(row[3]),
        model_path=from_text(row[4]),
        system=making.system,
        sampling=making.sampling,
        load=making.load,
        tree=_read_tree(connection, key, row[8]),
        name=from_text(row[6]),
        pinned=bool(row[7]),
    )


def _read_tree(connection: sqlite3.Connection, session: int, leaf: int) -> Tree:
    found = list(read_messages(connection, session))
    deleted = frozenset(node.number for node, is_deleted in found if is_deleted)
    return Tree(tuple(node for node, _ in found), View(leaf, deleted))


def read_messages(
    connection: sqlite3.Connection, session: int, number: int | None = None
) -> Iterator[tuple[Node, bool]]:
    """The messages of a session in order, and whether each is deleted; with `number`, that message alone."""
    rows = connection.execute(
        "SELECT number, parent, role, content, reasoning, at, model, finish_reason, metrics, made, seed, trace, "
        "deleted_at, message.key, EXISTS (SELECT 1 FROM piece WHERE piece.message = message.key) FROM message "
        "LEFT JOIN making ON making.key = message.making "
        f"WHERE session = ? {'' if number is None else 'AND number = ?'} ORDER BY number",
        (session,) if number is None else (session, number),
    ).fetchall()
    for count, parent, role, content, reasoning, at, model, reason, metrics, made, seed, trace, gone, key, cut in rows:
        more, thought = _pieces(connection, key) if cut else ("", "")
        message = Message(role, from_text(content) + more, from_text(reasoning) + thought)
        figures, making = _read_metrics(metrics), read_making(made, seed)
        turn = Turn(message, at, from_text(model), figures, from_text(reason), making, Trace(trace or b""))
        yield Node(count, parent or 0, turn), gone is not None


def read_making(text: str | None, seed: object = None) -> Making | None:
    """The model and settings of an answer, from the columns of its row."""
    making = salvage_json(Making, _loaded(text))
    return None if making is None else replace(making, seed=seed if isinstance(seed, int) else None)


def _read_metrics(text: str | None) -> AnswerMetrics | None:
    return salvage_json(AnswerMetrics, _loaded(text))


def read_summary(row: Row) -> SessionSummary:
    """A row of a list, from the columns of `SUMMARY`."""
    name, words, given, model, messages, at, metrics, pinned, deleted = row
    title = from_text(given) or from_text(words) or "empty session"
    figures = _read_metrics(metrics)
    return SessionSummary(from_text(name), title, from_text(model), messages, at, figures, bool(pinned), bool(deleted))
