"""The record of a running session."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from typing_extensions import override

from workbench.core.chat import Message
from workbench.core.errors import DamagedSessionsError, SessionError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Journal, Session
from workbench.core.tree import Making, Node, View
from workbench.store.sessions.database import Database
from workbench.store.sessions.presence import Presence
from workbench.store.sessions.rows import (
    fold_pieces,
    insert_session,
    keep_making,
    next_making,
    put_message,
    put_piece,
    set_view,
    to_text,
)

T = TypeVar("T")
Step = Callable[[sqlite3.Connection, int], object]
"""One write, given the key of the session."""


async def in_thread(thread: Executor, work: Callable[[], T]) -> T:
    """The result of `work` in `thread`; the work is done even if the caller is cancelled."""
    future = asyncio.wrap_future(thread.submit(work))
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(future)


class DatabaseJournal(Journal):
    """Writes one session as it happens.

    All records stay in memory too, to be written later if the disk refuses, and again if the database is damaged or
    removed.

    `thread` is the only one that writes, so that records reach the disk in the order of the calls. `key` is that of the
    session in the database; None for a new one, which is not stored before its first message.
    """

    def __init__(
        self,
        database: Database,
        thread: Executor,
        presence: Presence,
        clock: Callable[[], float],
        session: Session,
        key: int | None = None,
    ) -> None:
        self._database = database
        self._thread = thread
        self._presence = presence
        self._clock = clock
        self._base = session
        """The session before the first step."""
        self._now = session
        """The session with the current settings and model; its messages are not updated."""
        self._key = key
        self._id = session.id
        self._generation = database.generation
        self._steps: list[tuple[Step, int]] = []
        """All records, written or not, each with the number of the answer that it is a piece of, or 0."""
        self._written = 0
        self._started = key is not None
        self._growing: tuple[int, Message] | None = None
        """The number of the answer in progress, and its text as recorded so far."""
        self._closed = False

    @property
    @override
    def id(self) -> str:
        return self._id

    @override
    async def settings(self, system: str, sampling: Sampling, load: LoadSettings) -> None:
        before = self._now
        self._now = replace(before, system=system, sampling=sampling, load=load)
        if self._started and self._now != before:
            await self._record(partial(_set_making, making=next_making(self._now)))

    @override
    async def model(self, entry: ModelEntry) -> None:
        before = self._now
        self._now = replace(before, model=entry.ref, model_path=entry.path or "")
        if self._started and self._now != before:
            await self._record(partial(_set_model, ref=entry.ref, path=entry.path or ""))

    @override
    async def message(self, node: Node) -> None:
        self._growing = None
        await self._record(partial(put_message, node=node), replaces=node.number)

    @override
    async def partial(self, node: Node) -> None:
        message = node.turn.message
        number, before = self._growing or (0, None)
        if before is None or number != node.number:
            before = Message("assistant", "")
        if not (message.content.startswith(before.content) and message.reasoning.startswith(before.reasoning)):
            # It does not continue the recorded text, so the whole message is recorded again.
            await self.message(node)
            self._growing = node.number, message
            return
        content, reasoning = message.content[len(before.content) :], message.reasoning[len(before.reasoning) :]
        self._growing = node.number, message
        bare = replace(node, turn=replace(node.turn, message=Message("assistant", ""), at=self._clock()))
        await self._record(partial(put_piece, node=bare, content=content, reasoning=reasoning), piece_of=node.number)

    @override
    async def view(self, view: View) -> None:
        await self._record(partial(set_view, view=view, at=self._clock()))

    @override
    async def close(self) -> None:
        if self._started and not self._closed:
            # A session whose end cannot be written stays open, so that closing it again can still save it.
            await self._record(_release)
        self._closed = True

    async def _record(self, step: Step, *, piece_of: int = 0, replaces: int = 0) -> None:
        if self._closed:
            raise SessionError(f"The session {self.id} is closed.")
        if not self._started:
            self._base, self._started = self._now, True
        await in_thread(self._thread, partial(self._take, step, piece_of, replaces))

    # In the thread that writes

    def _take(self, step: Step, piece_of: int, replaces: int) -> None:
        if replaces:
            # The whole answer replaces its pieces.
            self._written -= sum(piece == replaces for _, piece in self._steps[: self._written])
            self._steps = [each for each in self._steps if each[1] != replaces]
        self._steps.append((step, piece_of))
        try:
            self._write()
        except DamagedSessionsError:
            # The whole session goes to the new database before the error is reported.
            self._write()
            raise

    def _write(self) -> None:
        def work(connection: sqlite3.Connection) -> tuple[int, str]:
            key, name, first = self._key, self._id, self._written
            if key is None or self._generation != self._database.generation:
                first = 0
                key, name = self._begin(connection)
            for step, _ in self._steps[first:]:
                step(connection, key)
            return key, name

        self._key, self._id = self._database.write(work)
        self._generation = self._database.generation
        self._written = len(self._steps)

    def _begin(self, connection: sqlite3.Connection) -> tuple[int, str]:
        holder = self._presence.token()
        # The copy rescued from a damaged database is older than the one in memory.
        connection.execute("DELETE FROM session WHERE id = ? AND holder = ?", (to_text(self._id), holder))
        return insert_session(connection, replace(self._base, id=self._id), holder)


def _set_making(connection: sqlite3.Connection, session: int, making: Making) -> None:
    key = keep_making(connection, making)
    connection.execute("UPDATE session SET making = ? WHERE key = ?", (key, session))


def _set_model(connection: sqlite3.Connection, session: int, ref: str, path: str) -> None:
    values = (to_text(ref), to_text(path), session)
    connection.execute("UPDATE session SET model = ?, model_path = ? WHERE key = ?", values)


def _release(connection: sqlite3.Connection, session: int) -> None:
    fold_pieces(connection, session)
    connection.execute("UPDATE session SET holder = NULL WHERE key = ?", (session,))
