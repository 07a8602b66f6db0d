"""An unfinished file on disk, and which of its bytes are there.

Beside the data is a record: a header with size and digest, then for each block of 4 MiB two counts of 32 bits, the
bytes that were written and those that were also flushed to disk. They are updated in place, after the data: whenever
the process is killed, what the record says is there. After a crash of the machine only flushed bytes count.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from workbench.core.errors import BeingPulledError

BLOCK = 4 * 2**20
"""Bytes of one block; each is filled from its beginning."""
PART_SUFFIX = ".workbench-part"
_RECORD_SUFFIX = ".workbench-record"
_HEADER = 512
_FLUSH_BYTES = 64 * 2**20
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)

if sys.platform == "win32":
    _SEEKING = threading.Lock()

    def read_at(descriptor: int, length: int, offset: int) -> bytes:
        """As `os.pread`, which Windows does not have."""
        with _SEEKING:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, length)

    def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """As `os.pwrite`, which Windows does not have."""
        with _SEEKING:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.write(descriptor, data)

else:
    read_at, write_at = os.pread, os.pwrite

TryLock = Callable[[int], bool]
"""Locks an open file until it is closed, without waiting; False where another process holds the lock."""


def boot_id() -> str:
    """What changes when the machine starts; empty where it is unknown."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _parsed(header: bytes) -> dict[str, object]:
    """The header of a record; empty where it is none."""
    try:
        found = json.loads(header)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def part_path(folder: Path, name: str) -> Path:
    """The unfinished file of `name`."""
    return folder / f"{name}{PART_SUFFIX}"


def record_path(part: Path) -> Path:
    """The record of an unfinished file."""
    return part.with_name(part.name.removesuffix(PART_SUFFIX) + _RECORD_SUFFIX)


class PartFile:
    """The unfinished file `path`, locked against other programs until it is closed.

    Raises:
        BeingPulledError: Another program has locked it.
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, size: int, digest: str, try_lock: TryLock) -> None:
        self.path = path
        self.size = size
        self._record = record_path(path)
        self._record_fd = os.open(self._record, _FLAGS, 0o666)
        self.fd = -1
        try:
            if not try_lock(self._record_fd):
                raise BeingPulledError(
                    f"Another program fetches {path.name.removesuffix(PART_SUFFIX)} at this moment.",
                    "Wait until it is done, or stop it: what it has fetched is kept.",
                )
            self.fd = os.open(path, _FLAGS, 0o666)
            self._blocks = -(-size // BLOCK)
            self._unflushed = 0
            self._first_open = 0
            self._load(digest)
        except BaseException:
            self.close(flush=False)
            raise
        self.resumed = self.done

    def _load(self, digest: str) -> None:
        """Continue what the record describes where that is the same file; else begin anew."""
        header = {"version": 1, "size": self.size, "digest": digest, "boot": boot_id()}
        width = 4 * self._blocks
        raw = read_at(self._record_fd, _HEADER + 2 * width, 0)
        before = _parsed(raw[:_HEADER])
        written, flushed = raw[_HEADER : _HEADER + width], raw[_HEADER + width :]
        is_same = all(before.get(key) == header[key] for key in ("version", "size", "digest"))
        if not is_same or len(flushed) != width or os.fstat(self.fd).st_size != self.size:
            written = flushed = bytes(width)
            os.ftruncate(self._record_fd, 0)
            os.ftruncate(self.fd, 0)
            os.ftruncate(self.fd, self.size)
        elif not header["boot"] or before.get("boot") != header["boot"]:
            written = flushed
        counts = enumerate(array("I", written))
        self._written = array("I", (min(count, self._length(index)) for index, count in counts))
        start = json.dumps(header).encode().ljust(_HEADER)
        write_at(self._record_fd, start + self._written.tobytes() + flushed, 0)

    def _length(self, index: int) -> int:
        return min(BLOCK, self.size - index * BLOCK)

    @property
    def done(self) -> int:
        """Bytes that are there."""
        return sum(self._written)

    @property
    def prefix(self) -> int:
        """Bytes that are there from the beginning without a gap."""
        while self._first_open < self._blocks and self._written[self._first_open] == self._length(self._first_open):
            self._first_open += 1
        if self._first_open == self._blocks:
            return self.size
        return self._first_open * BLOCK + self._written[self._first_open]

    def missing(self) -> list[tuple[int, int]]:
        """The ranges that are missing, in order: begin and end."""
        found: list[tuple[int, int]] = []
        for index, count in enumerate(self._written):
            begin, end = index * BLOCK + count, index * BLOCK + self._length(index)
            if begin == end:
                continue
            if found and found[-1][1] == begin:
                found[-1] = (found[-1][0], end)
            else:
                found.append((begin, end))
        return found

    def write(self, offset: int, data: bytes) -> int:
        """Write what of `data` continues a block; gives the number of bytes that were new.

        Raises:
            OSError: It cannot be written; the record says what was.
        """
        view, new = memoryview(data), 0
        while view:
            index = offset // BLOCK
            within = offset - index * BLOCK
            piece = view[: BLOCK - within]
            skipped = self._written[index] - within
            if 0 <= skipped < len(piece):
                new += self._append(index, piece[skipped:])
            offset += len(piece)
            view = view[len(piece) :]
        self._unflushed += new
        return new

    def _append(self, index: int, piece: memoryview) -> int:
        done = 0
        while done < len(piece):
            done += write_at(self.fd, piece[done:], index * BLOCK + self._written[index] + done)
        self._written[index] += done
        write_at(self._record_fd, self._written[index : index + 1].tobytes(), _HEADER + 4 * index)
        return done

    @property
    def wants_flush(self) -> bool:
        """Whether much was written since the last flush."""
        return self._unflushed >= _FLUSH_BYTES

    def flush(self) -> None:
        """Flush to disk what is there, which then outlasts a crash of the machine. It may take seconds."""
        counts, self._unflushed = self._written.tobytes(), 0
        os.fsync(self.fd)
        write_at(self._record_fd, counts, _HEADER + 4 * self._blocks)

    def finish(self, target: Path) -> None:
        """Give the whole file its name, which says that it is whole."""
        os.fsync(self.fd)
        self._before_names_change()
        self.path.replace(target)
        self._record.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what is there."""
        self._before_names_change()
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def _before_names_change(self) -> None:
        # Elsewhere the lock is kept until the names have changed.
        if sys.platform == "win32":
            self.close(flush=False)

    def close(self, *, flush: bool = True) -> None:
        """Close and unlock; what is there stays."""
        try:
            if flush and self.fd >= 0 and self._unflushed:
                with suppress(OSError):
                    self.flush()
        finally:
            for descriptor in (self.fd, self._record_fd):
                if descriptor >= 0:
                    os.close(descriptor)
            self.fd = self._record_fd = -1
