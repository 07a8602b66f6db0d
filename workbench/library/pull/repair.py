"""Repairing a damaged file: only the wrong ranges are fetched where they can be found, else the whole file.

Three things tell a wrong range: the digests of the file's beginnings that a pull or an earlier check kept, a length
that is too short, and a stretch of zeros, as holes are read. The digest of the whole file decides in the end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.core.errors import BeingPulledError, BrokenOffError, ChangedFileError, NotPublishedError
from workbench.core.models import Place
from workbench.core.pulls import PullProgress
from workbench.library.huggingface import REPOSITORY_PREFIX
from workbench.library.ollama import OLLAMA, OllamaName, parse_ollama_name
from workbench.library.pull import download
from workbench.library.pull.download import Download, new_digest
from workbench.library.pull.hub import Repository
from workbench.library.pull.part import PartFile, TryLock, part_path, read_at, write_at
from workbench.library.pull.pull import Locate, Report, check_space, write_errors
from workbench.library.pull.references import HubRef
from workbench.library.pull.variants import RemoteFile
from workbench.library.pull.web import Web

_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Repair:
    """How a file was repaired."""

    fetched_bytes: int
    whole: bool
    """Whether the whole file was fetched, and took the place of the damaged one."""
    other_names: int
    """Hard links to the damaged file under other names: a repair in ranges reaches them, a new file does not."""


def origin_of(path: Path, places: Sequence[Place]) -> HubRef | OllamaName | None:
    """Where a file came from, by its place in a store; None where nothing says so."""
    for folder in path.absolute().parents:
        if folder.name.startswith(REPOSITORY_PREFIX):
            name = folder.name.removeprefix(REPOSITORY_PREFIX).replace("--", "/", 1)
            kind, *rest = path.absolute().relative_to(folder).parts
            if kind == "snapshots" and len(rest) > 1:
                return HubRef(name, rest[0], path="/".join(rest[1:]))
            return HubRef(name)
    for place in places:
        if place.source == OLLAMA and (found := parse_ollama_name(place.name)) is not None:
            return found
    return next((HubRef(place.name) for place in places if place.name.count("/") == 1 and place.source != OLLAMA), None)


def file_in(repository: Repository, ref: HubRef, name: str, digest: str | None) -> RemoteFile:
    """The file of a repository that a file here should be: by its path there, else by its digest, else by its name.

    Raises:
        NotPublishedError: There is none.
        ChangedFileError: It has another digest now.
    """
    files = repository.files
    wanted = [file for file in files if file.path == ref.path] if ref.path else []
    wanted = wanted or [file for file in files if file.digest == digest]
    wanted = wanted or [file for file in files if file.name == name]
    return the_file(wanted, f"hf.co/{repository.name}", name, digest)


def the_file(files: Sequence[RemoteFile], where: str, name: str, digest: str | None) -> RemoteFile:
    """The first of `files`, which must have `digest`, where that is known; raises as `file_in`."""
    if not files:
        raise NotPublishedError(f"{where} has no file {name}.", "Name the repository that has it: --from REF")
    if digest not in {None, files[0].digest}:
        raise ChangedFileError(
            f"{where} has another version of {name} now.", "`workbench pull` fetches the new one; this one stays."
        )
    return files[0]


@dataclass(frozen=True)
class Repairer:
    """Repairs the file `path`, which should be `file`."""

    web: Web
    try_lock: TryLock
    path: Path
    file: RemoteFile
    locate: Locate
    report: Report

    async def run(self, pieces: bytes) -> tuple[Repair, bytes]:
        """Repair it, with the digests of its beginnings, or none; gives those of the repaired file, where it was whole.

        Raises:
            WorkbenchError: It cannot be fetched, or written. The damaged file is not worse than before.
        """
        real = self.path.resolve()
        with write_errors(real):
            others = real.stat().st_nlink - 1
            fetched = await self._ranges(real, pieces)
            if fetched is not None:
                return Repair(fetched, whole=False, other_names=others), pieces
            return Repair(self.file.size, whole=True, other_names=others), await self._whole(real)

    async def _ranges(self, real: Path, pieces: bytes) -> int | None:
        """Fetch the ranges that are wrong, in place; None where that was not enough."""
        descriptor = os.open(real, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            if not self.try_lock(descriptor):
                raise BeingPulledError(f"Another program repairs {real} at this moment.", "Wait until it is done.")
            digest, fetched, size = new_digest(self.file), 0, self.file.size
            for begin in range(0, size, download.PIECE):
                end = min(begin + download.PIECE, size)
                data = await asyncio.to_thread(read_at, descriptor, end - begin, begin)
                after = digest.copy()
                await asyncio.to_thread(after.update, data)
                known = pieces[begin // download.PIECE * _DIGEST_BYTES :][:_DIGEST_BYTES]
                if end == size and pieces:
                    known = bytes.fromhex(self.file.digest)
                right = after.digest() == known if known else len(data) == end - begin and data.count(0) < len(data)
                if not right:
                    data = await self._fetch(begin, end)
                    fetched += len(data)
                    after = digest.copy()
                    after.update(data)
                    if known and after.digest() != known:
                        return None
                    write_at(descriptor, data, begin)
                digest = after
                self.report(PullProgress(self.file.path, end, size, end, None, None))
            if digest.hexdigest() != self.file.digest:
                return None
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
            return fetched
        finally:
            os.close(descriptor)

    async def _fetch(self, begin: int, end: int) -> bytes:
        location = await self.locate(self.file)
        headers = {**location.headers, "Range": f"bytes={begin}-{end - 1}"}
        # Without headers of its own nothing is secret, so that any redirect may be followed.
        answer = await self.web.ask("GET", location.url, headers, lambda _: not location.headers, most=end - begin)
        if answer.status != 206 or len(answer.content) != end - begin:
            raise BrokenOffError(
                f"The registry does not send bytes {begin:,} to {end:,} of {self.file.path} (HTTP {answer.status}).",
                "Run the command again later.",
            )
        return answer.content

    async def _whole(self, real: Path) -> bytes:
        """Fetch the whole file beside the old one, which it then replaces."""
        check_space(real.parent, self.file.size)
        part = PartFile(part_path(real.parent, real.name), self.file.size, self.file.digest, self.try_lock)
        try:

            def report(done: int, checked: int) -> None:
                self.report(PullProgress(self.file.path, done, self.file.size, checked, None, None))

            fetching = Download(self.web, self.file, part, lambda: self.locate(self.file), report)
            await fetching.run()
            part.finish(real)
            return bytes(fetching.pieces)
        finally:
            part.close()
