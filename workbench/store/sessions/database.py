"""The file of the sessions database: opened on demand, and moved aside when it is damaged.

There are two connections, one for writing and one for reading, each for its own thread. Before every use the file is
checked: if it was removed or replaced it is opened again and `generation` increases, so that the writers of the former
file can write their data again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Literal, TypeVar

from workbench.core.errors import DamagedSessionsError, SessionError
from workbench.store.files import DISK_FULL, make_folder, numbered, open_private
from workbench.store.sessions.schema import is_from_another_version, is_without_tables, prepare, transaction

T = TypeVar("T")
Role = Literal["writer", "reader"]
Work = Callable[[sqlite3.Connection], T]

BUSY_SECONDS = 5.0
"""How long to wait for a write of another program."""
_PAUSE = 0.01

_SIDE_FILES = ("", "-wal", "-shm")
_LEAST_FREE = 64 * 1024
"""With less free space SQLite cannot create its side files, and reports an I/O error, not a full disk."""
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_REMEDIES = {
    "SQLITE_FULL": ("the disk is full", "Free some space"),
    "SQLITE_READONLY": ("it may not be written", "Check its permissions"),
    "SQLITE_PERM": ("it may not be opened", "Check its permissions"),
    "SQLITE_AUTH": ("it may not be opened", "Check its permissions"),
    "SQLITE_CANTOPEN": ("it cannot be opened", "Check that its folder exists, and its permissions"),
    "SQLITE_BUSY": ("another program keeps it locked", "Close that program"),
    "SQLITE_IOERR": ("the disk fails", "Check the disk"),
    "SQLITE_PROTOCOL": ("it cannot be locked", "Close other programs that use it"),
}
_KEPT = "Unsaved messages are kept in memory and written as soon as possible. An export to another disk is safe."


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the database to a write-ahead log; SQLite itself does not wait for another program here."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


class FoundDamage(SessionError):
    """A database that proved damaged while it was read; `file` is its inode, None if it could not be opened."""

    def __init__(self, file: int | None, cause: Exception) -> None:
        super().__init__(f"The sessions are damaged: {cause}.")
        self.file = file
        self.cause = cause


class Database:
    """The database file, created with its folder by the first write.

    `opened` is called with each connection that is opened for writing. `rescue` copies the readable sessions of a
    damaged database to a new one (from, to), and returns their number.
    """

    def __init__(
        self,
        path: Path,
        opened: Callable[[sqlite3.Connection], None],
        rescue: Callable[[sqlite3.Connection, sqlite3.Connection], int],
    ) -> None:
        self.path = path
        self.generation = 0
        """The number of files opened for writing under this path."""
        self._opened = opened
        self._rescue = rescue
        self._lock = RLock()
        self._connections: dict[Role, sqlite3.Connection] = {}
        self._files: dict[Role, int] = {}
        self._file: int | None = None
        self._reads_snapshot = False
        """Whether the reader has opened the file as one that nobody changes; for one use only."""

    def exists(self) -> bool:
        """Whether the file exists."""
        return self._stat() is not None

    def _stat(self) -> int | None:
        try:
            return self.path.stat().st_ino
        except OSError:
            return None

    def write(self, work: Work[T]) -> T:
        """Do `work` in a transaction, which is on disk when this returns.

        Raises:
            DamagedSessionsError: The database was damaged; `work` can be repeated in a new one.
            SessionError: It cannot be written.
        """

        def written(connection: sqlite3.Connection) -> T:
            with transaction(connection):
                return work(connection)

        return self._run("writer", written)

    def read(self, work: Work[T], nothing: T) -> T:
        """Do `work` on a snapshot of the database; `nothing` if its tables do not exist yet.

        Raises:
            FoundDamage: The database is damaged; call `settle` in the writer's thread.
            SessionError: It cannot be read.
        """

        def snapshot(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN")
            try:
                return nothing if is_without_tables(connection) else work(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if self._reads_snapshot:
                    self._close("reader")

        return self._run("reader", snapshot)

    def _run(self, role: Role, work: Work[T]) -> T:
        try:
            return work(self._connection(role))
        except (sqlite3.Error, OSError) as error:
            name = self._reason(error)
            if name.startswith(_DAMAGED):
                found = FoundDamage(self._files.get(role), error)
                self._close(role)
                raise found if role == "reader" else self.settle(found) from error
            if not name.startswith(("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_READONLY")):
                self._close(role)
            raise _failure(self.path, error, name) from error

    def _reason(self, error: sqlite3.Error | OSError) -> str:
        """SQLite's name of the error; that of a full disk where this is the cause."""
        if isinstance(error, OSError):
            return "SQLITE_FULL" if error.errno in DISK_FULL else "SQLITE_CANTOPEN"
        name = str(getattr(error, "sqlite_errorname", ""))
        if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
            with contextlib.suppress(OSError):
                if shutil.disk_usage(self.path.parent).free < _LEAST_FREE:
                    return "SQLITE_FULL"
        return name

    def _connection(self, role: Role) -> sqlite3.Connection:
        file = self._stat()
        connection = self._connections.get(role)
        if connection is not None and file is not None and file == self._files[role]:
            return connection
        with self._lock:
            if connection is not None and role == "writer":
                # The inode of a removed file may be reused by the next one.
                self._file = None
            self._close(role)
            return self._open(role)

    def _open(self, role: Role) -> sqlite3.Connection:
        if role == "writer":
            make_folder(self.path.parent)
            if not self.path.exists():
                # Only the owner may read conversations.
                os.close(open_private(str(self.path), os.O_RDWR | os.O_CREAT))
        connection = self._connect(role)
        try:
            if is_from_another_version(connection):
                raise SessionError(
                    f"The sessions in {self.path} were stored by another version of workbench.",
                    "Use that version. This one leaves them as they are, and keeps this session in memory.",
                )
            if role == "writer":
                _use_wal(connection)
                prepare(connection)
                self._opened(connection)
            file = self._stat()
            assert file is not None
        except BaseException:
            connection.close()
            raise
        if role == "writer" and file != self._file:
            self._file = file
            self.generation += 1
        self._connections[role], self._files[role] = connection, file
        return connection

    def _connect(self, role: Role) -> sqlite3.Connection:
        mode = "rw" if os.access(self.path, os.W_OK) else "ro"
        location = f"{self.path.absolute().as_uri()}?mode={mode}"
        if mode == "ro" and not os.access(self.path.parent, os.W_OK) and not self._side("-wal").exists():
            # In WAL mode a database needs its side files, which cannot be created here, unless it is immutable.
            location += "&immutable=1"
        if role == "reader":
            self._reads_snapshot = False
        try:
            return self._connect_to(location)
        except sqlite3.OperationalError as error:
            # Nor can they on a full disk. Without a WAL nothing is missing in the file itself.
            if role == "writer" or self._reason(error) != "SQLITE_FULL" or self._has_wal():
                raise
            self._reads_snapshot = True
            return self._connect_to(f"{location}&immutable=1")

    def _has_wal(self) -> bool:
        try:
            return self._side("-wal").stat().st_size > 0
        except OSError:
            return False

    @staticmethod
    def _connect_to(location: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            location, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            # Each transaction is flushed to disk, to survive a loss of power.
            connection.execute("PRAGMA synchronous = FULL")
            # The first access fails if the file is not a database.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _side(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _close(self, role: Role) -> None:
        connection = self._connections.pop(role, None)
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def close(self) -> None:
        """Close the file; it is opened again on demand."""
        with self._lock:
            for role in tuple(self._connections):
                self._close(role)

    def settle(self, found: FoundDamage) -> SessionError:
        """Move a damaged file aside, and create a new one with the sessions that can be read.

        Call this in the writer's thread; the reader detects the new file by itself. Returns the error for the user.
        """
        if found.file is not None and found.file != self._stat():
            return _failure(self.path, found.cause, "SQLITE_BUSY")  # Another program did it already.
        self._close("writer")
        self._file = None
        names = numbered(f"{self.path.stem}-damaged-{time.strftime('%y%m%d-%H%M%S')}", self.path.suffix)
        aside = next(path for path in map(self.path.with_name, names) if not path.exists())
        try:
            for suffix in _SIDE_FILES:
                with contextlib.suppress(FileNotFoundError):
                    self._side(suffix).rename(aside.with_name(aside.name + suffix))
        except OSError as error:
            damaged = f"The sessions in {self.path} are damaged ({found.cause})"
            return SessionError(f"{damaged}, and the file cannot be moved aside: {error}.", _KEPT)
        saved = self._save_from(aside)
        count = "none of them could be read" if not saved else f"{saved} of them were saved"
        return DamagedSessionsError(
            f"The sessions in {self.path} were damaged ({found.cause}): {count}.",
            f"The damaged file is kept as {aside}; a new one was created.",
        )

    def _save_from(self, aside: Path) -> int:
        try:
            source = sqlite3.connect(f"{aside.absolute().as_uri()}?mode=rw", isolation_level=None, uri=True)
        except sqlite3.Error:
            return 0
        try:
            return self.write(lambda connection: self._rescue(source, connection))
        except (sqlite3.Error, SessionError):
            return 0
        finally:
            source.close()


def _failure(path: Path, error: Exception, name: str) -> SessionError:
    for known, (what, remedy) in _REMEDIES.items():
        if name.startswith(known):
            reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
            return SessionError(
                f"The sessions in {path} cannot be stored or read: {what}{reason}.", f"{remedy}. {_KEPT}"
            )
    return SessionError(f"The sessions in {path} cannot be stored or read: {error}.", _KEPT)
