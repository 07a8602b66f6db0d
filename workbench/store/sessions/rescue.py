"""Copy what can be read of a damaged database to a new one.

A damaged file can hold anything in any column, and rows that contradict each other. Each session is copied by itself:
one that cannot be stored takes no other with it, and a message that cannot be read takes no other message with it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

from workbench.core.chat import Speaker
from workbench.core.session import LATEST_TIME, Session
from workbench.core.tree import Making, Node, Tree, View
from workbench.store.sessions.rows import from_text, insert_session, read_making, read_messages, to_text

log = logging.getLogger(__name__)

_COLUMNS = (
    "id", "created_at", "updated_at", "model", "model_path", "making", "name", "pinned", "leaf", "holder", "deleted_at",
)  # fmt: skip


def rescue(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Copy every readable session of a damaged database to another one; returns their number."""
    # Bytes that are no UTF-8 are shown as such, and do not hide the text around them.
    source.text_factory = lambda data: data.decode("utf-8", "replace")
    saved = 0
    for key in _numbers(source, "SELECT key FROM session NOT INDEXED"):
        target.execute("SAVEPOINT rescued")
        try:
            _copy(source, target, key)
            saved += 1
        except Exception as error:  # noqa: BLE001 - anything may be wrong with it: the next one must not suffer
            target.execute("ROLLBACK TO rescued")
            log.warning("The session in row %s of the damaged database could not be saved: %s", key, error)
        target.execute("RELEASE rescued")
    return saved


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, key: int) -> None:
    row = {name: _value(source, name, key) for name in _COLUMNS}
    tree = _tree(source, key, row["leaf"])
    times = [node.turn.at for node in tree.nodes]
    created = _seconds(row["created_at"], min(times, default=0.0))
    made = _value(source, "made", row["making"], "making")
    making = read_making(made if isinstance(made, str) else None) or Making()
    session = Session(
        id=_text(row["id"]) or f"rescued-{key}",
        created_at=created,
        updated_at=_seconds(row["updated_at"], max(times, default=created)),
        model=_text(row["model"]),
        model_path=_text(row["model_path"]),
        system=making.system,
        sampling=making.sampling,
        load=making.load,
        tree=tree,
        name=_text(row["name"]),
        pinned=bool(row["pinned"]),
    )
    target.execute("DELETE FROM session WHERE id = ?", (to_text(session.id),))
    new, _ = insert_session(target, session, _text(row["holder"]) or None)
    deleted_at = row["deleted_at"]
    if deleted_at is not None:
        values = (_seconds(deleted_at, session.updated_at), new)
        target.execute("UPDATE session SET deleted_at = ? WHERE key = ?", values)


def _tree(source: sqlite3.Connection, key: int, leaf: object) -> Tree:
    """The readable messages; one whose parent is lost follows the message before it."""
    nodes: dict[int, Node] = {}
    deleted = set()
    for number in sorted({*_numbers(source, "SELECT number FROM message WHERE session = ?", key)}):
        found = _message(source, key, number)
        if found is None:
            continue
        node, is_deleted = found
        if node.parent and node.parent not in nodes:
            node = replace(node, parent=max(nodes, default=0))
        nodes[number] = node
        if is_deleted or node.parent in deleted:
            deleted.add(number)
    alive = [number for number in nodes if number not in deleted]
    end = leaf if leaf == 0 or leaf in alive else max(alive, default=0)
    assert isinstance(end, int)
    return Tree(tuple(nodes.values()), View(end, frozenset(deleted)))


def _message(source: sqlite3.Connection, session: int, number: int) -> tuple[Node, bool] | None:
    try:
        node, is_deleted = next(read_messages(source, session, number))
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("Message %s of the session in row %s could not be saved: %s", number, session, error)
        return None
    turn = node.turn
    if turn.message.role not in get_args(Speaker):
        return None
    trace = turn.trace if isinstance(turn.trace.data, bytes) else type(turn.trace)()
    return replace(node, turn=replace(turn, at=_seconds(turn.at, 0.0), trace=trace)), is_deleted


def _numbers(source: sqlite3.Connection, query: str, *values: int) -> Iterator[int]:
    """The positive whole numbers in the first column, as far as the rows can be read."""
    with contextlib.suppress(sqlite3.Error):
        for (number,) in source.execute(query, values):
            if isinstance(number, int) and number > 0:
                yield number


def _value(source: sqlite3.Connection, column: str, key: object, table: str = "session") -> object:
    """A column of a row; None where it cannot be read."""
    try:
        row = source.execute(f"SELECT {column} FROM {table} WHERE key = ?", (key,)).fetchone()
    except (sqlite3.Error, ValueError):
        return None
    return None if row is None else row[0]


def _text(value: object) -> str:
    try:
        return from_text(value) if isinstance(value, str | bytes) else ""
    except ValueError:
        return ""


def _seconds(value: object, otherwise: float) -> float:
    """A time that can be shown."""
    known = isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= LATEST_TIME
    return float(value) if known and isinstance(value, int | float) else otherwise
