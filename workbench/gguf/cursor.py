"""Opening of a model file, and sequential reading of its header with bounded memory.

The file is read, not mapped: if a mapped file shrinks, the process is killed; a read merely ends early.
"""

from __future__ import annotations

import os
import stat
import struct
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from operator import length_hint
from pathlib import Path
from threading import Lock

from workbench.core.errors import ModelFileError

WINDOW_BYTES = 1 << 20
"""Bytes that are read at once."""
MAX_STRING = 16 << 20
"""The longest string that is accepted, in bytes."""
KNOWN_BY = 4096
"""The first bytes by which a string array is recognized, before all of it is compared."""
WORTH_KNOWING = 1000
"""Arrays with fewer strings are walked as fast as they are compared."""

_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_U32 = struct.Struct("<I").unpack_from
_U64 = struct.Struct("<Q").unpack_from


class EndOfFileError(Exception):
    """The file ends before the requested bytes."""


class StringTooLongError(Exception):
    """A string is longer than `MAX_STRING`."""


class KnownStrings:
    """A cache of the bytes of string arrays: the same array in another file is skipped by comparing them.

    The quantizations of a model all have the same vocabulary. Thread-safe; holds up to `budget` bytes, and drops the
    least recently used array first.
    """

    def __init__(self, budget: int = 32 << 20) -> None:
        self._budget = budget
        self._lock = Lock()
        self._arrays: OrderedDict[tuple[int, bytes], bytes] = OrderedDict()
        self._held = 0

    def find(self, count: int, start: bytes) -> bytes | None:
        """The array of `count` strings that begins with `start`; None where it is unknown."""
        with self._lock:
            found = self._arrays.get((count, start))
            if found is not None:
                self._arrays.move_to_end((count, start))
            return found

    def remember(self, count: int, start: bytes, raw: bytes) -> None:
        """Keep an array of `count` strings, in place of one with the same beginning."""
        if len(raw) > self._budget:
            return
        with self._lock:
            replaced = self._arrays.pop((count, start), b"")
            self._arrays[count, start] = raw
            self._held += len(raw) - len(replaced)
            while self._held > self._budget:
                _, dropped = self._arrays.popitem(last=False)
                self._held -= len(dropped)


class HeaderCursor:
    """A position in an open file of `size` bytes that moves forward; string arrays in `known` are skipped quickly."""

    def __init__(self, descriptor: int, size: int, known: KnownStrings | None = None) -> None:
        self._descriptor = descriptor
        self._known = known
        self._base = 0
        self._buffer = b""
        self._position = 0
        self.size = size

    @property
    def offset(self) -> int:
        """The offset of the next byte in the file."""
        return self._base + self._position

    @property
    def remaining(self) -> int:
        """Bytes up to the end of the file."""
        return self.size - self.offset

    def _fill(self, count: int) -> None:
        """Buffer at least `count` bytes from the position."""
        if count > self.remaining:
            raise EndOfFileError
        self._seek(self.offset)
        os.lseek(self._descriptor, self._base, os.SEEK_SET)
        wanted = max(count, WINDOW_BYTES)
        chunks: list[bytes] = []
        while wanted and (chunk := os.read(self._descriptor, wanted)):
            chunks.append(chunk)
            wanted -= len(chunk)
        self._buffer = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if len(self._buffer) < count:
            raise EndOfFileError

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._position + count
        if end > len(self._buffer):
            self._fill(count)
            end = count
        taken = self._buffer[self._position : end]
        self._position = end
        return taken

    def skip(self, count: int) -> None:
        """Skip `count` bytes."""
        if count > self.remaining:
            raise EndOfFileError
        self._position += count

    def u32(self) -> int:
        """The next four bytes as a number."""
        if self._position + 4 > len(self._buffer):
            self._fill(4)
        number: int = _U32(self._buffer, self._position)[0]
        self._position += 4
        return number

    def u64(self) -> int:
        """The next eight bytes as a number."""
        if self._position + 8 > len(self._buffer):
            self._fill(8)
        number: int = _U64(self._buffer, self._position)[0]
        self._position += 8
        return number

    def string(self) -> bytes:
        """The next string: its length in eight bytes, then its bytes."""
        length = self.u64()
        if length > MAX_STRING:
            raise StringTooLongError
        return self.take(length)

    def peek(self, count: int) -> bytes:
        """Up to `count` of the next bytes, without moving."""
        ahead = self.take(min(count, self.remaining))
        self._position -= len(ahead)
        return ahead

    def skip_strings(self, count: int) -> None:
        """Skip `count` strings."""
        known = self._known
        if known is None or count < WORTH_KNOWING:
            self._walk_strings(count)
            return
        begin, start = self.offset, self.peek(KNOWN_BY)
        same = known.find(count, start)
        if same is not None and len(same) <= self.remaining:
            if self.take(len(same)) == same:
                return
            self._seek(begin)
        self._walk_strings(count)
        length = self.offset - begin
        if length <= MAX_STRING:
            self._seek(begin)
            known.remember(count, start, self.take(length))

    def _seek(self, offset: int) -> None:
        self._base, self._position, self._buffer = offset, 0, b""

    def _walk_strings(self, count: int) -> None:
        """Skip `count` strings. The vocabulary is most of a header, so the speed of this loop matters."""
        unpack = _U64
        while count:
            self._fill(8)
            buffer, position, length = self._buffer, 0, 0
            rounds = iter(range(count))
            try:
                for _ in rounds:
                    (length,) = unpack(buffer, position)
                    position += length + 8
            except (struct.error, OverflowError):
                count = length_hint(rounds) + 1
            else:
                count = 0
            # A string that is too long exceeds the window, so only the last one can be it.
            if length > MAX_STRING:
                raise StringTooLongError
            if position > self.remaining:
                raise EndOfFileError
            self._position = position


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[int, int]]:
    """Open a regular file for reading, without blocking on a pipe or opening a device; its descriptor and size.

    Raises:
        ModelFileError: It is missing, not a regular file, or not permitted.
    """
    descriptor = -1
    try:
        _check_kind(path, _stat(path).st_mode)
        # The file may be replaced between the two checks: a pipe must not block the open either.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
        opened = os.fstat(descriptor)
        _check_kind(path, opened.st_mode)
        yield descriptor, opened.st_size
    except FileNotFoundError:
        hint = "" if path.parent.is_dir() else "Its folder does not exist either."
        if path.is_symlink():
            hint = "It is a symbolic link to a missing file."
        raise ModelFileError(f"{path}: there is no such file.", hint) from None
    except PermissionError:
        raise ModelFileError(
            f"{path}: reading it is not permitted.", "Change its permissions, or run as a user who may read it."
        ) from None
    except OSError as error:
        raise ModelFileError(f"{path}: it cannot be read: {error.strerror or error}.") from None
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except ValueError as error:
        raise ModelFileError(f"{str(path)!r} is not a valid path: {error}.") from None


def _check_kind(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ModelFileError(f"{path}: this is a directory, not a model file.", "Name a .gguf file in it.")
    kind = _KINDS.get(stat.S_IFMT(mode), "not a regular file")
    raise ModelFileError(f"{path}: this is {kind}, not a model file.", "Name a .gguf file.")
