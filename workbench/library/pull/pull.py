"""Fetching the files of a model to their place."""

from __future__ import annotations

import asyncio
import errno
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from workbench.core.errors import DiskFullError, ModelFileError, TargetError
from workbench.core.pulls import PullProgress
from workbench.core.units import size_text
from workbench.gguf.header import Header
from workbench.gguf.reader import read_header
from workbench.library.links import Way, link_file
from workbench.library.pull.download import Download
from workbench.library.pull.hub import Location
from workbench.library.pull.part import PartFile, TryLock
from workbench.library.pull.targets import FolderTarget, Target
from workbench.library.pull.variants import RemoteFile
from workbench.library.pull.verify import digest_of
from workbench.library.pull.web import Web

MARGIN_BYTES = 256 * 2**20
"""Free space that a pull leaves on the disk."""
LEAST_FREE_BYTES = 64 * 2**20
"""Free space below which a pull stops, where another program fills the disk meanwhile."""
HEADER_BYTES = (4 * 2**20, 16 * 2**20, 64 * 2**20)
"""How much of a file is asked for until it holds the whole header; most is the vocabulary."""
_REPORT_S = 0.2
_RATE_S = 10.0

Locate = Callable[[RemoteFile], Awaitable[Location]]
Report = Callable[[PullProgress], object]


@dataclass(frozen=True, slots=True)
class PullResult:
    """A model that was fetched."""

    path: Path
    """The file to open."""
    files: tuple[Path, ...]
    """All of its files, the picture encoder last."""
    sha256: Mapping[Path, str]
    """Of each file; small files of git have none."""
    size_bytes: int
    resumed_bytes: int
    """Bytes that an earlier run had fetched."""
    seconds: float
    already: bool
    """Whether everything was there."""
    pieces: Mapping[str, bytes]
    """The digests of the parts of each file that was fetched, by its SHA-256; see `Download.pieces`."""
    linked: tuple[tuple[Path, Way], ...] = ()
    """The files of other programs that were linked instead of fetched."""
    modelfile: Path | None = None
    """What opens the model with its template, system prompt and parameters, where it has any beside the file."""


@dataclass
class _Meter:
    """Reports progress over all files, at most five times a second, and stops a pull that fills the disk."""

    total: int
    folder: Path
    report: Report
    file: str = ""
    before: int = 0
    """Bytes of the files before this one."""
    kept: int = 0
    """Bytes that were not fetched in this run: they count as done, but have no rate."""
    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _reported: float = 0.0

    def note(self, done: int, checked: int, *, force: bool = False) -> None:
        """Report that `done` bytes of this file are there, and `checked` were hashed; raises a DiskFullError."""
        now = time.monotonic()
        if now - self._reported < _REPORT_S and not force:
            return
        self._reported = now
        done += self.before
        self._samples.append((now, done - self.kept))
        while now - self._samples[0][0] > _RATE_S:
            self._samples.popleft()
        begun, at_first = self._samples[0]
        rate = (done - self.kept - at_first) / (now - begun) if now - begun >= 2 * _REPORT_S else None
        left = (self.total - done) / rate if rate else None
        self.report(PullProgress(self.file, done, self.total, checked, rate, left))
        free = _free_bytes(self.folder)
        if done < self.total and free < LEAST_FREE_BYTES:
            raise DiskFullError(
                f"The disk of {self.folder} has only {size_text(free)} left: something else fills it.",
                "Free some space: what was fetched is kept, and the same command continues there.",
            )


@dataclass
class _Done:
    """What became of the files so far."""

    resumed: int = 0
    already: bool = True
    pieces: dict[str, bytes] = field(default_factory=dict)
    linked: list[tuple[Path, Way]] = field(default_factory=list)


class Puller:
    """Fetches models.

    Args:
        web: Asks registries.
        try_lock: Locks an open file.
        copies_of: Gives files of this machine that have a SHA-256, as far as it is known; one of them is linked.
    """

    def __init__(
        self,
        web: Web,
        try_lock: TryLock,
        copies_of: Callable[[str], Iterator[Path]] = lambda _: iter(()),
    ) -> None:
        self._web = web
        self._try_lock = try_lock
        self._copies_of = copies_of

    async def pull(self, files: Sequence[RemoteFile], target: Target, locate: Locate, report: Report) -> PullResult:
        """Fetch `files`, of which the first is the one to open.

        Raises:
            WorkbenchError: They cannot be fetched, or written; what is there stays.
        """
        begun = time.monotonic()
        meter = _Meter(sum(file.size for file in files), target.folder, report)
        done = _Done()
        with write_errors(target.folder):
            target.prepare()
            self._check_space(files, target)
            for file in files:
                meter.file = file.path
                await self._pull_file(file, target, locate, meter, done)
                meter.before += file.size
            meter.note(0, 0, force=True)
            target.finish()
        paths = tuple(target.path(file) for file in files)
        digests = {path: file.digest for path, file in zip(paths, files, strict=True) if len(file.digest) == 64}
        seconds = time.monotonic() - begun
        return PullResult(
            paths[0], paths, digests, meter.total, done.resumed, seconds, done.already, done.pieces, tuple(done.linked)
        )

    async def _pull_file(self, file: RemoteFile, target: Target, locate: Locate, meter: _Meter, done: _Done) -> None:
        if await self._is_there(file, target):
            target.publish(file, None)
            meter.kept += file.size
            return
        done.already = False
        with target.guard(file):
            part = PartFile(target.part(file), file.size, file.digest, self._try_lock)
            try:
                if await self._is_there(file, target):
                    # Another program was faster.
                    part.discard()
                    target.publish(file, None)
                    meter.kept += file.size
                elif not part.done and (link := await self._link(file, part, target)) is not None:
                    meter.kept += file.size
                    done.linked.append(link)
                else:
                    done.resumed += part.resumed
                    meter.kept += part.resumed
                    meter.note(part.done, 0, force=True)
                    download = Download(self._web, file, part, lambda: locate(file), meter.note)
                    await download.run()
                    target.publish(file, part)
                    done.pieces[file.digest] = bytes(download.pieces)
            finally:
                part.close()

    async def _link(self, file: RemoteFile, part: PartFile, target: Target) -> tuple[Path, Way] | None:
        """Let a whole copy of another program appear as the file; None where there is none."""
        for copy in self._copies_of(file.digest):
            with suppress(OSError, TargetError):
                if copy.stat().st_size != file.size or await asyncio.to_thread(digest_of, copy, file) != file.digest:
                    continue
                # Not at the place of the unfinished file, into which a later run would write.
                beside = part.path.with_name(f"{part.path.name}-link")
                beside.unlink(missing_ok=True)
                way = link_file(copy, beside)
                part.discard()
                target.publish(file, beside)
                return copy, way
        return None

    async def _is_there(self, file: RemoteFile, target: Target) -> bool:
        if not target.has(file):
            return False
        path = target.path(file)
        if isinstance(target, FolderTarget) and (
            path.stat().st_size != file.size or await asyncio.to_thread(digest_of, path, file) != file.digest
        ):
            raise TargetError(
                f"{path} exists, and is another file than {file.path}.",
                "Move it away, or name another folder with --into.",
            )
        return True

    def _check_space(self, files: Sequence[RemoteFile], target: Target) -> None:
        """Raise a DiskFullError where the missing bytes do not fit on the disk."""
        missing = 0
        for file in files:
            if not target.has(file) and next(self._copies_of(file.digest), None) is None:
                try:
                    # Only what was written takes space: the rest of the file is a hole.
                    kept = target.part(file).stat().st_blocks * 512
                except (OSError, AttributeError):
                    kept = 0
                missing += max(0, file.size - kept)
        check_space(target.folder, missing)

    async def header(self, locate: Locate, file: RemoteFile) -> Header:
        """The header of a file that is not here, from its first megabytes.

        Raises:
            ModelFileError: It has none.
            WorkbenchError: The registry cannot be asked.
        """
        location = await locate(file)
        for count in HEADER_BYTES:
            headers = {**location.headers, "Range": f"bytes=0-{min(count, file.size) - 1}"}
            answer = await self._web.ask("GET", location.url, headers, lambda _: not location.headers, most=count)
            if answer.status not in {200, 206}:
                break
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / file.name
                path.write_bytes(answer.content)
                # The rest is a hole: only its length is looked at.
                with path.open("r+b") as whole:
                    whole.truncate(file.size)
                try:
                    return read_header(path)
                except ModelFileError:
                    if count >= file.size:
                        break
        raise ModelFileError(f"{file.path}: its header cannot be read from here.")


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def check_space(folder: Path, missing: int) -> None:
    """Raise a DiskFullError where the disk of `folder` has no room for `missing` bytes, and some more."""
    free = _free_bytes(folder)
    if missing and missing + MARGIN_BYTES > free:
        raise DiskFullError(
            f"The disk of {folder} has {size_text(free)} free; {size_text(missing)} are missing.",
            "Free some space there, or name a folder on another disk with --into.",
        )


@contextmanager
def write_errors(place: Path) -> Iterator[None]:
    """Convert errors of the disk inside the `with` block."""
    try:
        yield
    except OSError as error:
        message = f"{error.filename or place} cannot be written: {error.strerror or error}."
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(message, "Free some space: what was fetched is kept.") from error
        hint = "That file system holds no file of this size." if error.errno == errno.EFBIG else ""
        raise TargetError(message, hint or "Check its permissions, or name another folder with --into.") from error
