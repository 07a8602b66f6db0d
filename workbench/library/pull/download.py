"""Fetching one file in parallel ranges, with its digest computed while it comes.

Workers take ranges in the order of the file, so that the digest follows closely behind them; a worker without a range
takes over half of the longest one that is left. The digest reads the file from its beginning, also what an earlier run
left.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx

from workbench.core.errors import BrokenOffError, ChangedFileError, DigestError, PullError, WorkbenchError
from workbench.core.servers import origin
from workbench.library.pull.hub import Location
from workbench.library.pull.part import BLOCK, PartFile, read_at
from workbench.library.pull.variants import RemoteFile
from workbench.library.pull.web import REDIRECTS, RETRIED, Web, host_of, overloaded, redirect_of

WORKERS = 4
_LARGEST_RANGE = 16 * BLOCK
_HASH_STEP = 2**20
PIECE = 16 * 2**20
"""Bytes after each of which the digest so far is kept, by which damage can be found later."""
_HASH_TURN = 32 * _HASH_STEP
"""Bytes that are hashed before progress is reported."""
_CONTENT_RANGE = re.compile(r"bytes (?:(?P<begin>\d+)-\d+|\*)/(?P<total>\d+|\*)")


def new_digest(file: RemoteFile) -> hashlib._Hash:
    """The hash that makes the digest of a file: SHA-256, or git's SHA-1 for one with 40 digits."""
    if len(file.digest) == 64:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)


@dataclass
class _Claim:
    """The range that a worker fetches."""

    position: int
    end: int

    @property
    def left(self) -> int:
        return self.end - self.position


class Download:
    """Fetches the rest of one file into `part`; `on_bytes(done, checked)` is called as bytes come and are hashed."""

    def __init__(
        self,
        web: Web,
        file: RemoteFile,
        part: PartFile,
        locate: Callable[[], Awaitable[Location]],
        on_bytes: Callable[[int, int], object],
    ) -> None:
        self._web = web
        self._file = file
        self._part = part
        self._locate = locate
        self._on_bytes = on_bytes
        self._waiting = [_Claim(begin, end) for begin, end in part.missing()]
        self._running: list[_Claim] = []
        self._location: Location | None = None
        self._locating = asyncio.Lock()
        self._failures = 0
        self._whole: _Claim | None = None
        """The range of the worker that takes everything, where the server sends whole files only."""
        self._done = part.resumed
        self._checked = 0
        self.pieces = bytearray()
        """The SHA-256 of the file up to each multiple of `PIECE`."""
        self._grew = asyncio.Event()
        self._stopped = False

    async def run(self) -> None:
        """Fetch and check the whole file; what is there stays if that fails.

        Raises:
            DigestError: The content is not that of the file. It was removed.
            WorkbenchError: The rest cannot be fetched.
            OSError: It cannot be written.
        """
        try:
            async with asyncio.TaskGroup() as group:
                digest = group.create_task(self._hash())
                for _ in range(WORKERS):
                    group.create_task(self._work())
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        if digest.result() != self._file.digest:
            self._part.discard()
            raise DigestError(
                f"{self._file.path}: what arrived is not the file that the registry describes (digest "
                f"{digest.result()[:12]}… instead of {self._file.digest[:12]}…). It was removed.",
                "Run the command again. If it happens twice, a proxy or a mirror changes the file, or memory or the "
                "disk is faulty.",
            )

    async def _hash(self) -> str:
        digest = new_digest(self._file)
        while self._checked < self._file.size:
            until = min(self._part.prefix, self._checked + _HASH_TURN)
            if until == self._checked:
                self._grew.clear()
                await self._grew.wait()
                continue
            turn = asyncio.ensure_future(asyncio.to_thread(self._hash_until, digest, until))
            try:
                await asyncio.shield(turn)
            except asyncio.CancelledError:
                # The thread reads a file that is about to be closed.
                self._stopped = True
                await turn
                raise
            self._on_bytes(self._done, self._checked)
        return digest.hexdigest()

    def _hash_until(self, digest: hashlib._Hash, until: int) -> None:
        while self._checked < until and not self._stopped:
            length = min(_HASH_STEP, until - self._checked, PIECE - self._checked % PIECE)
            data = read_at(self._part.fd, length, self._checked)
            if not data:
                raise PullError(f"{self._part.path} was changed by another program.", "Run the command again.")
            digest.update(data)
            self._checked += len(data)
            if self._checked % PIECE == 0:
                self.pieces += digest.copy().digest()
        if self._part.wants_flush and not self._stopped:
            self._part.flush()

    async def _work(self) -> None:
        while (claim := self._next()) is not None:
            self._running.append(claim)
            try:
                while claim.left > 0:
                    await self._attempt(claim)
            finally:
                self._running.remove(claim)

    def _next(self) -> _Claim | None:
        """A range to fetch: the first that waits, else half of the longest that runs."""
        if self._waiting:
            first = self._waiting[0]
            # Towards the end they become small: the digest waits for all that were begun before the last one.
            share = sum(claim.left for claim in self._waiting) // (2 * WORKERS)
            length = min(_LARGEST_RANGE, max(BLOCK, share // BLOCK * BLOCK))
            if first.left <= length:
                return self._waiting.pop(0)
            cut = (first.position // BLOCK) * BLOCK + length
            taken, first.position = _Claim(first.position, cut), cut
            return taken
        longest = max(self._running, key=lambda claim: claim.left, default=None)
        if longest is None or self._whole is not None or longest.left < 2 * BLOCK:
            return None
        middle = -(-(longest.position + longest.left // 2) // BLOCK) * BLOCK
        taken, longest.end = _Claim(middle, longest.end), middle
        return taken if taken.left > 0 else None

    async def _attempt(self, claim: _Claim) -> None:
        """One request for a range; it advances the range as far as bytes come."""
        location = await self._locate_once()
        headers: Mapping[str, str] | None = None
        try:
            wanted = {**location.headers, "Range": f"bytes={claim.position}-{claim.end - 1}"}
            async with self._web.stream("GET", location.url, wanted) as response:
                headers = response.headers
                reason = self._refusal(claim, location, response)
                if reason is None:
                    await self._take(claim, response)
                    reason = self._breaks_off(location)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout):
            reason = self._breaks_off(location)
        except httpx.TransportError as error:
            reason = self._web.transport.error(location.url, error)
        if claim.left <= 0 or location is not self._location:
            return
        # Workers that run side by side fail together.
        active = len(self._running)
        self._failures += 1
        if self._failures >= self._web.patience.tries * active:
            raise reason
        await self._web.patience.wait(-(-self._failures // active), headers, host_of(location.url))

    async def _locate_once(self) -> Location:
        async with self._locating:
            if self._location is None:
                self._location = await self._locate()
            return self._location

    def _breaks_off(self, location: Location) -> BrokenOffError:
        return BrokenOffError(
            f"{host_of(location.url)} breaks off before the end of {self._file.path}.",
            "Run the command again: it continues where this one ended.",
        )

    def _refusal(self, claim: _Claim, location: Location, response: httpx.Response) -> WorkbenchError | None:
        """Why a response brings nothing, if another try may help; None where it brings the range.

        Raises:
            WorkbenchError: No further try helps.
        """
        status, host = response.status_code, host_of(location.url)
        if status in REDIRECTS or status in {401, 403, 404}:
            # A signed address has expired, or moved.
            target = redirect_of(location.url, status, response.headers)
            stays = target is not None and origin(target) == origin(location.url)
            if self._location is location:
                self._location = Location(target, location.headers if stays else {}) if target else None
                self._failures += 1
            if self._failures >= self._web.patience.tries:
                raise BrokenOffError(
                    f"{host} refuses {self._file.path} (HTTP {status}).", "Run the command again later."
                )
            return BrokenOffError(f"{host} refuses {self._file.path}.")
        if status in RETRIED:
            return overloaded(location.url, status)
        if response.headers.get("Content-Encoding", "identity") not in {"", "identity"}:
            raise PullError(f"{host} compresses the file on its way, so that no part of it can be asked for.")
        self._check_range(claim, response)
        if status not in {200, 206}:
            raise PullError(f"{host} does not send {self._file.path} (HTTP {status}).")
        return None

    def _check_range(self, claim: _Claim, response: httpx.Response) -> None:
        status = response.status_code
        found = _CONTENT_RANGE.match(response.headers.get("Content-Range", "")) if status != 200 else None
        total = found["total"] if found else response.headers.get("Content-Length", "*") if status == 200 else "*"
        if total not in {"*", str(self._file.size)}:
            raise ChangedFileError(
                f"{self._file.path} changed while it was fetched: it has {total} bytes instead of {self._file.size}.",
                "Run the command again: it fetches the new file.",
            )
        if status == 206 and (found is None or found["begin"] != str(claim.position)):
            raise PullError(f"{host_of(str(response.url))} sends another range than the one that was asked for.")

    async def _take(self, claim: _Claim, response: httpx.Response) -> None:
        position = claim.position
        if response.status_code == 200:
            if self._whole is None:
                self._whole = claim
                self._waiting.clear()
                claim.position, claim.end = self._part.prefix, self._file.size
            elif self._whole is not claim:
                claim.end = claim.position
                return
            position = 0
        async for data in response.aiter_raw():
            new = self._part.write(position, data[: max(0, claim.end - position)])
            position += len(data)
            claim.position = max(claim.position, min(position, claim.end))
            if new:
                self._failures = 0
                self._done += new
                self._grew.set()
                self._on_bytes(self._done, self._checked)
            if position >= claim.end:
                return


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the others."""
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
