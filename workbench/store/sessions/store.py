"""The store of sessions in one SQLite database."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from workbench.core.errors import SessionError, nearest
from workbench.core.models import ModelEntry
from workbench.core.session import ExportFormat, Session, SessionHit, SessionStore, SessionSummary
from workbench.store.files import numbered
from workbench.store.sessions.database import Database, FoundDamage
from workbench.store.sessions.digests import model_digest
from workbench.store.sessions.journal import DatabaseJournal, in_thread
from workbench.store.sessions.presence import Presence
from workbench.store.sessions.rescue import rescue
from workbench.store.sessions.rows import (
    SUMMARY,
    fold_pieces,
    from_text,
    insert_session,
    read_session,
    read_summary,
    to_text,
)
from workbench.store.sessions.schema import transaction
from workbench.store.sessions.search import search

log = logging.getLogger(__name__)

T = TypeVar("T")

LAST = "last"
"""The name of the session with the latest change."""

PURGE_SECONDS = 30 * 86_400.0
"""How long a deleted session or message can be restored."""


def new_id(now: float) -> str:
    """An id that sorts by time and can be typed: date and time in UTC."""
    return time.strftime("%y%m%d-%H%M%S", time.gmtime(now))


class DatabaseSessionStore(SessionStore):
    """Sessions in a database, which is created with the first message; `clock` is seconds since the epoch."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._presence = Presence(path.with_name("running"))
        self._database = Database(path, self._opened, rescue)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sessions")
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sessions-reader")
        self._given: set[str] = set()
        """The ids of new sessions of this program, which may not be stored yet."""

    def _opened(self, connection: sqlite3.Connection) -> None:
        """Remove what was deleted long ago."""
        before = self._clock() - PURGE_SECONDS
        with transaction(connection):
            connection.execute("DELETE FROM session WHERE deleted_at < ?", (before,))
            connection.execute(
                "DELETE FROM message WHERE deleted_at < ? "
                "AND (SELECT holder FROM session WHERE key = message.session) IS NULL",
                (before,),
            )

    # Reading and writing

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await in_thread(self._writer, partial(self._database.write, work))

    async def _read(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """The result of `work`; `nothing` if nothing is stored yet."""
        if not self._database.exists():
            return nothing
        if not self._database.generation:
            # A database that cannot be written can still be read.
            await in_thread(self._writer, self._prepare)
        if not self._database.exists():
            return nothing
        try:
            return await in_thread(self._reader, partial(self._database.read, work, nothing))
        except FoundDamage as found:
            raise await in_thread(self._writer, partial(self._database.settle, found)) from found

    def _prepare(self) -> None:
        """Open the database for writing before it is read.

        Raises:
            DamagedSessionsError: It was damaged; there is a new one.
        """
        try:
            self._database.write(lambda connection: None)
        except SessionError as error:
            if error.kind != SessionError.kind or not self._database.exists():
                raise
            log.warning("%s", error)

    # The port

    @override
    async def create(self) -> DatabaseJournal:
        now = self._clock()
        name = next(name for name in numbered(new_id(now)) if name not in self._given)
        self._given.add(name)
        return self._journal(Session(name, now, now))

    def _journal(self, session: Session, key: int | None = None) -> DatabaseJournal:
        return DatabaseJournal(self._database, self._writer, self._presence, self._clock, session, key)

    @override
    async def resume(self, session_id: str) -> tuple[Session, DatabaseJournal]:
        name = await self.find(session_id)

        def resume(connection: sqlite3.Connection) -> tuple[int, Session]:
            key = self._free(connection, name)
            holder = self._presence.token()
            connection.execute("UPDATE session SET holder = ?, deleted_at = NULL WHERE key = ?", (holder, key))
            fold_pieces(connection, key)
            return key, read_session(connection, key)

        key, session = await self._write(resume)
        return session, self._journal(session, key)

    def _free(self, connection: sqlite3.Connection, name: str) -> int:
        """The key of a session that no running program has open."""
        row = connection.execute("SELECT key, holder FROM session WHERE id = ?", (to_text(name),)).fetchone()
        if row is None:
            raise SessionError(f"The session {name!r} no longer exists.")
        if row[1] is not None and self._presence.is_alive(row[1]):
            where = "in this program" if row[1] == self._presence.token() else "in another program"
            raise SessionError(f"The session {name} is open {where}.", "Close it there, or start a new one here.")
        return int(row[0])

    @override
    async def interrupted(self) -> Sequence[Session]:
        def interrupted(connection: sqlite3.Connection) -> list[Session]:
            rows = connection.execute(
                "SELECT key, holder FROM session WHERE holder IS NOT NULL AND deleted_at IS NULL AND messages > 0 "
                "ORDER BY updated_at DESC, id DESC"
            ).fetchall()
            return [read_session(connection, key) for key, holder in rows if not self._presence.is_alive(holder)]

        return await self._read(interrupted, [])

    @override
    async def dismiss(self, session_id: str) -> None:
        name = await self.find(session_id)

        def dismiss(connection: sqlite3.Connection) -> None:
            key = self._free(connection, name)
            fold_pieces(connection, key)
            connection.execute("UPDATE session SET holder = NULL WHERE key = ?", (key,))

        await self._write(dismiss)

    @override
    async def summaries(self, *, figures: bool = True) -> Sequence[SessionSummary]:
        columns = SUMMARY if figures else SUMMARY.replace("metrics", "NULL")

        def summaries(connection: sqlite3.Connection) -> list[SessionSummary]:
            rows = connection.execute(
                f"SELECT {columns} FROM session WHERE deleted_at IS NULL AND messages > 0 "
                "ORDER BY pinned DESC, updated_at DESC, id DESC"
            )
            return [read_summary(row) for row in rows]

        return await self._read(summaries, [])

    @override
    async def search(self, words: str) -> Sequence[SessionHit]:
        return await self._read(lambda connection: search(connection, words), [])

    @override
    async def rename(self, session_id: str, name: str) -> None:
        await self._change(session_id, "name", to_text(" ".join(name.split())))

    @override
    async def pin(self, session_id: str, pinned: bool) -> None:
        await self._change(session_id, "pinned", pinned)

    async def _change(self, session_id: str, column: str, value: str | bytes | float | None) -> None:
        def change(connection: sqlite3.Connection) -> int:
            values = (value, to_text(session_id))
            return connection.execute(f"UPDATE session SET {column} = ? WHERE id = ?", values).rowcount

        if not self._database.exists() or not await self._write(change):
            raise SessionError(f"There is no session {session_id!r}.")

    @override
    async def delete(self, session_id: str) -> None:
        def delete(connection: sqlite3.Connection) -> None:
            key = self._free(connection, session_id)
            values = (self._clock(), key)
            connection.execute("UPDATE session SET deleted_at = ?, holder = NULL WHERE key = ?", values)

        await self._write(delete)

    @override
    async def restore(self, session_id: str) -> None:
        await self._change(session_id, "deleted_at", None)

    async def find(self, session_id: str) -> str:
        """The id of the session `session_id`: a whole id, a unique prefix, or `last`.

        Raises:
            SessionError: There is none, or more than one.
        """

        def ids(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(
                "SELECT id FROM session WHERE deleted_at IS NULL AND messages > 0 ORDER BY updated_at DESC, id DESC"
            )
            return [from_text(row[0]) for row in rows]

        return _named(session_id, await self._read(ids, []))

    @override
    async def open_session(self, session_id: str) -> Session:
        name = await self.find(session_id)

        def read(connection: sqlite3.Connection) -> Session | None:
            row = connection.execute("SELECT key FROM session WHERE id = ?", (to_text(name),)).fetchone()
            return read_session(connection, row[0]) if row else None

        session = await self._read(read, None)
        if session is None:
            raise SessionError(f"The session {name!r} no longer exists.")
        return session

    async def keep(self, session: Session) -> str:
        """Store a session of another origin; returns its id, which has a number appended if it exists."""
        _, name = await self._write(lambda connection: insert_session(connection, session, None))
        return name

    @override
    async def digest(self, model: ModelEntry) -> str:
        return await asyncio.to_thread(model_digest, model)

    @override
    async def export(self, session: Session, form: ExportFormat, path: Path, base: str = "") -> Path:
        # Imported late, to show the screen earlier.
        from workbench.store.export.session import export_session

        return await asyncio.to_thread(export_session, session, form, path, base=base)

    def recent_model_paths(self, count: int) -> list[str]:
        """The files of the models that were used last, newest first; empty if the sessions cannot be read."""

        def paths(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(
                "SELECT model_path FROM session WHERE deleted_at IS NULL ORDER BY updated_at DESC LIMIT ?", (count,)
            )
            return list(dict.fromkeys(from_text(row[0]) for row in rows if row[0]))

        if not self._database.exists():
            return []
        try:
            return self._reader.submit(self._database.read, paths, []).result()
        except SessionError:
            return []

    def close(self) -> None:
        """Close the database, and remove the lock file of this program."""
        self._writer.submit(self._database.close).result()
        self._presence.leave()


def _named(name: str, ids: Sequence[str]) -> str:
    """The id in `ids`, sorted by last change, that `name` refers to."""
    if name in ids:
        return name
    if name == LAST:
        if ids:
            return ids[0]
        raise SessionError("No session is stored yet.")
    matches = [session_id for session_id in ids if name and session_id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        shown = ", ".join(matches[:5]) + (", …" if len(matches) > 5 else "")
        raise SessionError(f"{name!r} is the beginning of {len(matches)} sessions.", f"Type more of one: {shown}")
    near = nearest(name, ids) or ids[:3]
    hint = f"The nearest are {', '.join(near)}; `workbench sessions` lists all." if near else "None is stored yet."
    raise SessionError(f"There is no session {name!r}.", hint)
