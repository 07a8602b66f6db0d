"""The stored sessions: one database."""

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

from workbench.core.errors import SessionError, nearest
from workbench.core.models import ModelEntry
from workbench.core.session import ExportFormat, Session, SessionHit, SessionSummary
from workbench.store.database import Database, FoundDamage
from workbench.store.digests import model_digest
from workbench.store.journal import DatabaseJournal, in_thread
from workbench.store.old_sessions import old_files, read_old_session
from workbench.store.presence import Presence
from workbench.store.session_rows import (
    SUMMARY,
    fold_pieces,
    from_text,
    insert_session,
    read_session,
    read_summary,
    rescue,
    to_text,
)
from workbench.store.session_search import search

log = logging.getLogger(__name__)

T = TypeVar("T")

LAST = "last"
"""What names the session that was changed last."""

PURGE_SECONDS = 30 * 86_400.0
"""So long what was deleted can be had back."""

DEAD = "-"
"""The holder of a session that an older version of the program left without an end."""


def new_id(now: float) -> str:
    """An id that sorts by time and can be typed: date and time in UTC."""
    return time.strftime("%y%m%d-%H%M%S", time.gmtime(now))


class DatabaseSessionStore:
    """Sessions in a database; see `core.session.SessionStore`.

    Args:
        path: The database; made when the first message is stored.
        old_folder: Where the first version kept its session files, which are taken over once and left where they are.
        clock: Seconds since the epoch.
    """

    def __init__(self, path: Path, old_folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._old_folder = old_folder
        self._clock = clock
        self._presence = Presence(path.with_name("running"))
        self._database = Database(path, self._opened, rescue)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sessions")
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sessions-reader")
        self._given: set[str] = set()
        """Ids of this program's new sessions, which may not be stored yet."""

    def _opened(self, connection: sqlite3.Connection) -> None:
        """Take over the files of the first version, and drop what was deleted long ago."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._import_old(connection)
            before = self._clock() - PURGE_SECONDS
            connection.execute("DELETE FROM session WHERE deleted_at < ?", (before,))
            connection.execute(
                "DELETE FROM message WHERE deleted_at < ? "
                "AND (SELECT holder FROM session WHERE key = message.session) IS NULL",
                (before,),
            )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def _import_old(self, connection: sqlite3.Connection) -> None:
        if self._old_folder is None:
            return
        known = {name for (name,) in connection.execute("SELECT name FROM imported")}
        for path in old_files(self._old_folder):
            if path.name in known:
                continue
            try:
                old = read_old_session(path)
            except OSError as error:
                log.warning("%s: the session cannot be read: %s", path, error)
                continue
            if old is None:
                continue
            if old.session.turns:
                insert_session(connection, old.session, None if old.closed else DEAD)
            connection.execute("INSERT INTO imported VALUES (?, ?)", (path.name, self._clock()))

    # Reading and writing

    def _is_there(self) -> bool:
        return self._database.exists() or (self._old_folder is not None and bool(old_files(self._old_folder)))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await in_thread(self._writer, partial(self._database.write, work))

    async def _read(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """What `work` gives; `nothing` where nothing is stored yet."""
        if not self._is_there():
            return nothing
        if not self._database.generation:
            # A database that cannot be written can still be read.
            await in_thread(self._writer, self._prepare)
        if not self._database.exists():
            return nothing
        try:
            return await in_thread(self._reader, partial(self._database.read, work))
        except FoundDamage as found:
            raise await in_thread(self._writer, partial(self._database.settle, found)) from found

    def _prepare(self) -> None:
        """Bring the database up to date before it is read.

        Raises:
            DamagedSessionsError: It was damaged; there is a new one now.
        """
        try:
            self._database.write(lambda connection: None)
        except SessionError as error:
            if error.kind != SessionError.kind or not self._database.exists():
                raise
            log.warning("%s", error)

    # The port

    async def create(self) -> DatabaseJournal:
        """Begin a new session. Nothing is stored before its first message."""
        now = self._clock()
        stem = new_id(now)
        name, number = stem, 1
        while name in self._given:
            number += 1
            name = f"{stem}-{number}"
        self._given.add(name)
        return self._journal(Session(name, now, now))

    def _journal(self, session: Session, key: int | None = None) -> DatabaseJournal:
        return DatabaseJournal(self._database, self._writer, self._presence, self._clock, session, key)

    async def resume(self, session_id: str) -> tuple[Session, DatabaseJournal]:
        """Go on with a stored session; `session_id` may be short, or `last`.

        Raises:
            SessionError: It is not there, cannot be read, or a program has it open.
        """
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
        """The key of a session that no living program has open."""
        row = connection.execute("SELECT key, holder FROM session WHERE id = ?", (to_text(name),)).fetchone()
        if row is None:
            raise SessionError(f"There is no session {name!r} any more.")
        if row[1] is not None and self._presence.is_alive(row[1]):
            where = "in this program" if row[1] == self._presence.token() else "in another program"
            raise SessionError(f"The session {name} is open {where}.", "Close it there, or start a new one here.")
        return int(row[0])

    async def interrupted(self) -> Sequence[Session]:
        """Sessions whose program died, newest first."""

        def interrupted(connection: sqlite3.Connection) -> list[Session]:
            rows = connection.execute(
                "SELECT key, holder FROM session WHERE holder IS NOT NULL AND deleted_at IS NULL AND messages > 0 "
                "ORDER BY updated_at DESC, id DESC"
            ).fetchall()
            return [read_session(connection, key) for key, holder in rows if not self._presence.is_alive(holder)]

        return await self._read(interrupted, [])

    async def dismiss(self, session_id: str) -> None:
        """Do not offer an interrupted session again. It stays stored.

        Raises:
            SessionError: It is not there, cannot be written, or a program has it open.
        """
        name = await self.find(session_id)

        def dismiss(connection: sqlite3.Connection) -> None:
            key = self._free(connection, name)
            fold_pieces(connection, key)
            connection.execute("UPDATE session SET holder = NULL WHERE key = ?", (key,))

        await self._write(dismiss)

    async def summaries(self, *, figures: bool = True) -> Sequence[SessionSummary]:
        """All stored sessions: the pinned ones, then the others, the one changed last first.

        Args:
            figures: Whether the figures of the last answer are wanted; reading them takes longer than all else.
        """
        columns = SUMMARY if figures else SUMMARY.replace("metrics", "NULL")

        def summaries(connection: sqlite3.Connection) -> list[SessionSummary]:
            rows = connection.execute(
                f"SELECT {columns} FROM session WHERE deleted_at IS NULL AND messages > 0 "
                "ORDER BY pinned DESC, updated_at DESC, id DESC"
            )
            return [read_summary(row) for row in rows]

        return await self._read(summaries, [])

    async def search(self, words: str) -> Sequence[SessionHit]:
        """The sessions with all of `words` in one message or in their name, the newest message first."""
        return await self._read(lambda connection: search(connection, words), [])

    async def rename(self, session_id: str, name: str) -> None:
        """Call a session by another name; an empty one is the first words of it again.

        Raises:
            SessionError: It is not there, or cannot be written.
        """
        await self._change(session_id, "name", to_text(" ".join(name.split())))

    async def pin(self, session_id: str, pinned: bool) -> None:
        """Let a session stand above the others in a list, or no more.

        Raises:
            SessionError: It is not there, or cannot be written.
        """
        await self._change(session_id, "pinned", pinned)

    async def _change(self, session_id: str, column: str, value: str | bytes | float | None) -> None:
        def change(connection: sqlite3.Connection) -> int:
            values = (value, to_text(session_id))
            return connection.execute(f"UPDATE session SET {column} = ? WHERE id = ?", values).rowcount

        if not self._is_there() or not await self._write(change):
            raise SessionError(f"There is no session {session_id!r}.")

    async def delete(self, session_id: str) -> None:
        """Take a session out of every list. For a while it can be had back.

        Raises:
            SessionError: It is not there, cannot be written, or a program has it open.
        """

        def delete(connection: sqlite3.Connection) -> None:
            key = self._free(connection, session_id)
            values = (self._clock(), key)
            connection.execute("UPDATE session SET deleted_at = ?, holder = NULL WHERE key = ?", values)

        await self._write(delete)

    async def restore(self, session_id: str) -> None:
        """Take back that a session was deleted.

        Raises:
            SessionError: It is not there any more, or cannot be written.
        """
        await self._change(session_id, "deleted_at", None)

    async def find(self, session_id: str) -> str:
        """The whole id of the session that is meant: an id, the beginning of just one, or `last`.

        Raises:
            SessionError: There is none, or more than one.
        """

        def find(connection: sqlite3.Connection) -> str:
            rows = connection.execute(
                "SELECT id FROM session WHERE deleted_at IS NULL AND messages > 0 ORDER BY updated_at DESC, id DESC"
            )
            return _named(session_id, [from_text(row[0]) for row in rows])

        found = await self._read(find, "")
        return found or _named(session_id, [])

    async def open_session(self, session_id: str) -> Session:
        """Read a stored session, also while a program has it open; `session_id` may be short, or `last`.

        Raises:
            SessionError: There is none, or it cannot be read.
        """
        name = await self.find(session_id)

        def read(connection: sqlite3.Connection) -> Session | None:
            row = connection.execute("SELECT key FROM session WHERE id = ?", (to_text(name),)).fetchone()
            return read_session(connection, row[0]) if row else None

        session = await self._read(read, None)
        if session is None:
            raise SessionError(f"There is no session {name!r} any more.")
        return session

    async def keep(self, session: Session) -> str:
        """Store a session that came from elsewhere. Gives its id, which is a new one where its own is taken."""
        _, name = await self._write(lambda connection: insert_session(connection, session, None))
        return name

    async def digest(self, model: ModelEntry) -> str:
        """What tells the file of a model from others; empty where that is not known."""
        return await asyncio.to_thread(model_digest, model)

    async def export(self, session: Session, form: ExportFormat, path: Path, base: str = "") -> Path:
        """Write a session to `path`, or to a numbered name beside it where that is taken; gives the path written.

        Raises:
            WorkbenchError: The path cannot be written, or a value cannot be held by the format; nothing is written.
        """
        # Imported late: the screen can be there before anything is exported.
        from workbench.store.export import export_session

        return await asyncio.to_thread(export_session, session, form, path, base=base)

    def recent_model_paths(self, count: int) -> list[str]:
        """The files of the models that were used last, the newest first. Nothing is found where nothing can be read."""

        def paths(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(
                "SELECT model_path FROM session WHERE deleted_at IS NULL ORDER BY updated_at DESC LIMIT ?", (count,)
            )
            return list(dict.fromkeys(from_text(row[0]) for row in rows if row[0]))

        if not self._database.exists():
            return []
        try:
            return self._reader.submit(self._database.read, paths).result()
        except SessionError:
            return []

    def close(self) -> None:
        """Close the database, and take away the mark that this program runs."""
        self._writer.submit(self._database.close).result()
        self._presence.leave()


def _named(name: str, ids: Sequence[str]) -> str:
    """The id that `name` means among `ids`, the one changed last first."""
    if name in ids:
        return name
    if name == LAST:
        if ids:
            return ids[0]
        raise SessionError("There is no stored session yet.")
    matches = [session_id for session_id in ids if name and session_id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        shown = ", ".join(matches[:5]) + (", …" if len(matches) > 5 else "")
        raise SessionError(f"{name!r} is the beginning of {len(matches)} sessions.", f"Type more of one: {shown}")
    near = nearest(name, ids) or ids[:3]
    hint = f"The nearest are {', '.join(near)}; `workbench sessions` lists all." if near else "None is stored yet."
    raise SessionError(f"There is no session {name!r}.", hint)
