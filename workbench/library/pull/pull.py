"""Pulling a model: what a registry offers, and fetching one offer to its place."""

from __future__ import annotations

import asyncio
import errno
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from workbench.core.errors import DiskFullError, ModelFileError, TargetError
from workbench.core.units import size_text
from workbench.gguf.header import Header
from workbench.gguf.reader import read_header
from workbench.library.pull.download import WORKERS, Download
from workbench.library.pull.hub import HubClient, Location, Repository
from workbench.library.pull.part import PartFile, TryLock
from workbench.library.pull.registry import OllamaModelFiles, OllamaRegistry
from workbench.library.pull.targets import FolderTarget, HubCacheTarget, Target
from workbench.library.pull.variants import RemoteFile
from workbench.library.pull.verify import digest_of
from workbench.library.pull.web import Web

MARGIN_BYTES = 256 * 2**20
"""Free space that a pull leaves on the disk."""
HEADER_BYTES = (4 * 2**20, 16 * 2**20, 64 * 2**20)
"""How much of a file is asked for until it holds the whole header; most is the vocabulary."""
_REPORT_S = 0.2
_RATE_S = 10.0

Locate = Callable[[RemoteFile], Awaitable[Location]]


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is."""

    file: str
    done_bytes: int
    total_bytes: int
    checked_bytes: int
    """How far the digest of this file is."""
    rate: float | None
    """Bytes per second in the last seconds; None where it is not known yet."""
    seconds_left: float | None


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
    modelfile: Path | None = None
    """What opens the model with its template, system prompt and parameters, where it has any beside the file."""


@dataclass
class _Meter:
    """Reports progress over all files, at most five times a second."""

    total: int
    report: Callable[[PullProgress], object]
    file: str = ""
    before: int = 0
    """Bytes of the files before this one."""
    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _reported: float = 0.0

    def note(self, done: int, checked: int, *, force: bool = False) -> None:
        """Report that `done` bytes of this file are there, and `checked` were hashed."""
        now = time.monotonic()
        if now - self._reported < _REPORT_S and not force:
            return
        self._reported = now
        done += self.before
        self._samples.append((now, done))
        while now - self._samples[0][0] > _RATE_S:
            self._samples.popleft()
        begun, at_first = self._samples[0]
        rate = (done - at_first) / (now - begun) if now - begun >= 2 * _REPORT_S else None
        left = (self.total - done) / rate if rate else None
        self.report(PullProgress(self.file, done, self.total, checked, rate, left))


class Puller:
    """Fetches models.

    Args:
        web: Asks registries.
        try_lock: Locks an open file.
        workers: How many ranges are fetched side by side.
    """

    def __init__(self, web: Web, try_lock: TryLock, workers: int = WORKERS) -> None:
        self._web = web
        self._try_lock = try_lock
        self._workers = workers

    async def pull_from_hub(
        self,
        hub: HubClient,
        repository: Repository,
        files: Sequence[RemoteFile],
        cache: Path,
        into: Path | None,
        report: Callable[[PullProgress], object],
    ) -> PullResult:
        """Fetch files of Hugging Face to its cache, or `into` a folder; the first is the one to open.

        Raises:
            WorkbenchError: It cannot be fetched; what is there stays.
        """

        async def locate(file: RemoteFile) -> Location:
            return await hub.locate(repository, file)

        with _write_errors(into or cache):
            target: Target
            if into is None:
                target = HubCacheTarget(cache, repository, self._try_lock)
            else:
                into.mkdir(parents=True, exist_ok=True)
                target = FolderTarget(into)
            return await self.pull(files, target, locate, report)

    async def pull_from_ollama(
        self, registry: OllamaRegistry, model: OllamaModelFiles, into: Path, report: Callable[[PullProgress], object]
    ) -> PullResult:
        """Fetch a model of Ollama's registry `into` a folder, with a Modelfile where it has more than weights.

        Raises:
            WorkbenchError: It cannot be fetched; what is there stays.
        """

        async def locate(file: RemoteFile) -> Location:
            return await registry.locate(model.name, file)

        with _write_errors(into):
            into.mkdir(parents=True, exist_ok=True)
            result = await self.pull(model.files, FolderTarget(into), locate, report)
            text = model.modelfile()
            if not text:
                return result
            modelfile = into / "Modelfile"
            modelfile.write_text(text, encoding="utf-8")
            return replace(result, modelfile=modelfile)

    async def pull(
        self, files: Sequence[RemoteFile], target: Target, locate: Locate, report: Callable[[PullProgress], object]
    ) -> PullResult:
        """Fetch `files`, of which the first is the one to open.

        Raises:
            WorkbenchError: They cannot be fetched; what is there stays.
            OSError: They cannot be written.
        """
        begun = time.monotonic()
        meter = _Meter(sum(file.size for file in files), report)
        _check_space(files, target)
        resumed, already = 0, True
        for file in files:
            meter.file = file.path
            kept = await self._pull_file(file, target, locate, meter)
            resumed += kept or 0
            already = already and kept is None
            meter.before += file.size
        meter.note(0, 0, force=True)
        target.finish()
        paths = tuple(target.path(file) for file in files)
        digests = {path: file.digest for path, file in zip(paths, files, strict=True) if len(file.digest) == 64}
        seconds = time.monotonic() - begun
        return PullResult(paths[0], paths, digests, meter.total, resumed, seconds, already)

    async def _pull_file(self, file: RemoteFile, target: Target, locate: Locate, meter: _Meter) -> int | None:
        """Fetch one file; gives the bytes that an earlier run had fetched, None where it was whole."""
        if await self._is_there(file, target):
            target.publish(file, None)
            return None
        with target.guard(file):
            part = PartFile(target.part(file), file.size, file.digest, self._try_lock)
            try:
                if await self._is_there(file, target):
                    # Another program was faster.
                    part.discard()
                    target.publish(file, None)
                    return None
                meter.note(part.done, 0, force=True)
                download = Download(self._web, file, part, lambda: locate(file), meter.note, self._workers)
                await download.run()
                target.publish(file, part)
            finally:
                part.close()
            return part.resumed

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

    async def header(self, locate: Locate, file: RemoteFile) -> Header:
        """The header of a file that is not here, from its first megabytes.

        Raises:
            ModelFileError: It has none.
            WorkbenchError: The registry cannot be asked.
        """
        location = await locate(file)
        for count in HEADER_BYTES:
            headers = {**location.headers, "Range": f"bytes=0-{min(count, file.size) - 1}"}
            answer = await self._web.ask("GET", location.url, headers, lambda _: False, most=count)
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


def _check_space(files: Sequence[RemoteFile], target: Target) -> None:
    """Raise a DiskFullError where the missing bytes do not fit on the disk."""
    missing = 0
    for file in files:
        if not target.has(file):
            try:
                # Only what was written takes space: the rest of the file is a hole.
                kept = target.part(file).stat().st_blocks * 512
            except (OSError, AttributeError):
                kept = 0
            missing += max(0, file.size - kept)
    free = shutil.disk_usage(target.folder).free
    if missing and missing + MARGIN_BYTES > free:
        raise DiskFullError(
            f"The disk of {target.folder} has {size_text(free)} free; {size_text(missing)} are missing.",
            "Free some space there, or name a folder on another disk with --into.",
        )


@contextmanager
def _write_errors(place: Path) -> Iterator[None]:
    """Convert errors of the disk inside the `with` block."""
    try:
        yield
    except OSError as error:
        message = f"{error.filename or place} cannot be written: {error.strerror or error}."
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(message, "Free some space: what was fetched is kept.") from error
        hint = "That file system holds no file of this size." if error.errno == errno.EFBIG else ""
        raise TargetError(message, hint or "Check its permissions, or name another folder with --into.") from error
