"""The stored sessions: a folder with one file each."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from workbench.core.errors import SessionError, nearest
from workbench.core.metrics import AnswerMetrics
from workbench.core.ports import ExportFormat
from workbench.core.session import Session
from workbench.store.journal import FileJournal, in_thread
from workbench.store.records import Story, decode, encode, read_story
from workbench.store.session_file import SUFFIX, SessionFile, is_locked, new_id, read_failed

LAST = "last"
"""What names the session that was changed last."""

_TAIL_BYTES = 256
"""More than the record that ends a session takes."""


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """What a list of sessions shows of one."""

    id: str
    title: str
    model: str
    """The reference of the last model."""
    messages: int
    updated_at: float
    """Seconds since the epoch."""
    metrics: AnswerMetrics | None
    """The figures of the last answer that has some."""


def summarize(session: Session) -> SessionSummary:
    """What a list shows of `session`."""
    metrics = next((turn.metrics for turn in reversed(session.turns) if turn.metrics is not None), None)
    return SessionSummary(session.id, session.title, session.model, len(session.turns), session.updated_at, metrics)


class SessionFolder:
    """Reads the sessions in a folder. Everything here blocks.

    Args:
        folder: Where they are; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, session_id: str) -> Path:
        """The file of a session."""
        return self.folder / f"{session_id}{SUFFIX}"

    def ids(self) -> list[str]:
        """The ids of all files, newest first.

        Raises:
            SessionError: The folder cannot be read.
        """
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries if entry.name.endswith(SUFFIX) and entry.is_file()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SessionError(f"The sessions in {self.folder} cannot be read: {error.strerror or error}.") from error
        return sorted((name.removesuffix(SUFFIX) for name in names), reverse=True)

    def story(self, session_id: str) -> Story:
        """What is in the file of a session, which may be nothing.

        Raises:
            SessionError: It cannot be read.
        """
        path = self.path(session_id)
        try:
            return read_story(session_id, path.read_bytes())
        except OSError as error:
            raise read_failed(path, error) from error

    def _sessions(self, ids: Sequence[str]) -> list[Session]:
        """Those of the sessions that can be read and hold a message, the one changed last first."""
        sessions = []
        for session_id in ids:
            try:
                session = self.story(session_id).session()
            except SessionError:  # One bad file does not hide the others.
                continue
            if session.turns:
                sessions.append(session)
        return sorted(sessions, key=lambda session: (session.updated_at, session.id), reverse=True)

    def sessions(self) -> list[Session]:
        """All that hold a message, the one changed last first."""
        return self._sessions(self.ids())

    def interrupted(self) -> list[Session]:
        """Those whose program died and that nobody has dismissed, newest first."""
        return self._sessions([session_id for session_id in self.ids() if self._is_interrupted(session_id)])

    def _is_interrupted(self, session_id: str) -> bool:
        path = self.path(session_id)
        try:
            with path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                tail = file.read()
            record = decode(tail.rstrip(b"\n").rpartition(b"\n")[2])
            return not (record and record["t"] in ("end", "dismissed")) and not is_locked(path)
        except OSError:
            return False

    def find(self, name: str) -> str:
        """The id of the session that `name` means: an id, the beginning of just one, or `last`.

        Raises:
            SessionError: There is none, or more than one.
        """
        ids = self.ids()
        if name in ids:
            return name
        if name == LAST:
            sessions = self.sessions()
            if sessions:
                return sessions[0].id
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

    def read(self, name: str) -> Session:
        """The session that `name` means.

        Raises:
            SessionError: There is none, or its file holds none.
        """
        session_id = self.find(name)
        story = self.story(session_id)
        if not story.records:
            raise no_session(self.path(session_id))
        return story.session()


def no_session(path: Path) -> SessionError:
    """The error of a file in which nothing was understood."""
    return SessionError(f"{path} holds no session that can be read.", "The file is left as it is.")


class FileSessionStore:
    """Sessions as files; see `core.ports.SessionStore`.

    Args:
        folder: Where they are; made when the first message is stored.
        clock: Seconds since the epoch.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = SessionFolder(folder)
        self._clock = clock
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sessions")
        self._given: set[str] = set()
        """Ids of this program's new sessions, which may have no file yet."""

    async def create(self) -> FileJournal:
        """Begin a new session. Nothing is stored before its first message."""
        stem = new_id(self._clock())
        name, number = stem, 1
        while name in self._given:
            number += 1
            name = f"{stem}-{number}"
        self._given.add(name)
        return FileJournal(SessionFile(self._folder.path(name)), self._writer, self._clock)

    async def resume(self, session_id: str) -> tuple[Session, FileJournal]:
        """Go on with a stored session; `session_id` may be short, or `last`.

        Raises:
            SessionError: It is not there, cannot be read, or another program has it open.
        """

        def resume() -> tuple[Session, FileJournal]:
            path = self._folder.path(self._folder.find(session_id))
            file = SessionFile(path)
            story = read_story(file.id, file.open_existing())
            if not story.records:
                file.close()
                raise no_session(path)
            session = story.session()
            return session, FileJournal(file, self._writer, self._clock, session, open_end=not story.closed)

        return await in_thread(self._writer, resume)

    async def interrupted(self) -> Sequence[Session]:
        """Sessions whose program died, newest first."""
        return await asyncio.to_thread(self._folder.interrupted)

    async def dismiss(self, session_id: str) -> None:
        """Do not offer an interrupted session again. It stays stored.

        Raises:
            SessionError: It is not there, cannot be written, or another program has it open.
        """

        def dismiss() -> None:
            file = SessionFile(self._folder.path(self._folder.find(session_id)))
            file.open_existing()
            try:
                file.append([encode("dismissed", self._clock())])
            finally:
                file.close()

        await in_thread(self._writer, dismiss)

    async def summaries(self) -> Sequence[SessionSummary]:
        """All stored sessions, the one changed last first."""
        sessions = await asyncio.to_thread(self._folder.sessions)
        return [summarize(session) for session in sessions]

    async def find(self, session_id: str) -> str:
        """The whole id of the session that is meant: an id, the beginning of just one, or `last`.

        Raises:
            SessionError: There is none, or more than one.
        """
        return await asyncio.to_thread(self._folder.find, session_id)

    async def open_session(self, session_id: str) -> Session:
        """Read a stored session, also while a program has it open.

        Raises:
            SessionError: There is none, or it cannot be read.
        """
        return await asyncio.to_thread(self._folder.read, session_id)

    async def export(self, session: Session, form: ExportFormat, path: Path, base: str = "") -> Path:
        """Write a session to `path`, or to a numbered name beside it where that is taken; gives the path written.

        Raises:
            WorkbenchError: The path cannot be written, or a value cannot be held by the format; nothing is written.
        """
        # Imported late: the screen can be there before anything is exported.
        from workbench.store.export import export_session

        return await asyncio.to_thread(export_session, session, form, path, base=base)
