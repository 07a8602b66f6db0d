"""Hugging Face's Hub and the CDN behind it, as two servers on two ports; as of huggingface_hub 2.4.0.

The Hub lists and redirects; the CDN sends bytes, without any token. `Faults` makes both misbehave.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.servers.serving import ScriptedServer

COMMIT = "c0ffee" + "0" * 34
CHUNK = 32 * 2**10


@dataclass
class Faults:
    """What goes wrong. Counts are used up; flags stay."""

    cut_after: int | None = None
    """Responses of the CDN end after this many bytes."""
    cuts: int = 10**9
    """How many of them do."""
    stalls: int = 0
    """Responses of the CDN that send half and then nothing."""
    corrupt: bool = False
    """The last byte is wrong."""
    expired: int = 0
    """Requests that the CDN refuses because the address has expired."""
    busy: int = 0
    """Requests that are answered with 429."""
    busy_headers: Mapping[str, str] = field(default_factory=lambda: {"RateLimit": '"resolvers";r=0;t=0'})
    broken: int = 0
    """Requests that the CDN answers with 503."""
    slow_s: float = 0.0
    """The pause of the CDN after each piece, in seconds."""
    fails_after: int | None = None
    """The CDN answers with 503 once it has sent this many bytes."""
    ignore_ranges: bool = False
    """The CDN sends the whole file with 200."""
    wrong_range: bool = False
    grown: bool = False
    """The CDN has a longer file than the Hub lists."""
    moved_on: bool = False
    """The Hub has another file at the commit than it listed."""
    gated: bool = False
    """Every file needs a token of a user with access."""
    login_page: bool = False
    """Something in the way answers every request to the Hub."""


@dataclass
class HubContent:
    """A repository."""

    name: str
    files: Mapping[str, bytes]
    commit: str = COMMIT
    faults: Faults = field(default_factory=Faults)
    page_size: int = 1000
    token: str = ""
    """The token of a user with access."""

    def digest(self, path: str) -> str:
        """SHA-256 of a file."""
        return hashlib.sha256(self.files[path]).hexdigest()


def _error(status: int, code: str, message: str) -> Response:
    headers = {"X-Error-Code": code, "X-Error-Message": message} if code else {"X-Error-Message": message}
    return Response(json.dumps({"error": message}), status, headers, "application/json")


class FakeHub(ScriptedServer):
    """The Hub. `cdn` is the address of the other server."""

    public = ""
    """The address of the Hub in its own responses, where that is another one, as behind a mirror."""

    def __init__(self, content: HubContent, cdn: str) -> None:
        super().__init__()
        self.content = content
        self.cdn = cdn

    def routes(self) -> list[Route]:
        return [
            Route("/api/models", self._search),
            Route("/api/models/{name:path}/revision/{revision}", self._revision),
            Route("/api/models/{name:path}/tree/{commit}", self._tree),
            Route("/{user}/{repo}/resolve/{commit}/{path:path}", self._resolve, methods=["HEAD", "GET"]),
        ]

    def refusal(self) -> Response:
        return _error(401, "", "Invalid credentials in Authorization header")

    async def not_found(self, request: Request) -> Response:
        return _error(404, "", "Sorry, we can't find the page you are looking for.")

    def _wrong(self, request: Request, name: str) -> Response | None:
        """The answer of a Hub that does not show a repository."""
        faults, sent = self.content.faults, request.headers.get("Authorization")
        if faults.login_page:
            return Response("<html>Welcome to our Wi-Fi</html>", headers={"Content-Type": "text/html"})
        if faults.busy:
            faults.busy -= 1
            return Response("", 429, dict(faults.busy_headers))
        if sent is not None and self.content.token and sent != f"Bearer {self.content.token}" and not faults.gated:
            return _error(401, "", "Invalid credentials in Authorization header")
        return None if name == self.content.name else _error(401, "RepoNotFound", "Repository not found")

    def _refused(self, request: Request) -> Response | None:
        if not self.content.faults.gated or request.headers.get("Authorization") == f"Bearer {self.content.token}":
            return None
        if "Authorization" not in request.headers:
            return _error(401, "GatedRepo", "Access to model is restricted. You must have access to it.")
        return _error(403, "GatedRepo", "Access to model is restricted and you are not in the authorized list.")

    async def _search(self, request: Request) -> Response:
        words = request.query_params["search"]
        assert request.query_params["filter"] == "gguf"
        found = [self.content.name] if words.casefold() in self.content.name.casefold() else []
        listed = [
            {"id": name, "modelId": name, "tags": ["gguf"], "likes": 7, "downloads": 1234, "private": False,
             "lastModified": "2026-10-01T12:00:00.000Z"} for name in found
        ]  # fmt: skip
        return self._wrong(request, self.content.name) or _json(listed)

    async def _revision(self, request: Request) -> Response:
        if (wrong := self._wrong(request, request.path_params["name"])) is not None:
            return wrong
        if request.path_params["revision"] not in {"main", self.content.commit}:
            return _error(404, "RevisionNotFound", "Invalid rev id")
        siblings = [{"rfilename": path} for path in self.content.files]
        return _json({"id": self.content.name, "sha": self.content.commit, "siblings": siblings, "private": False})

    async def _tree(self, request: Request) -> Response:
        if (wrong := self._wrong(request, request.path_params["name"])) is not None:
            return wrong
        assert request.path_params["commit"] == self.content.commit
        begin = int(request.query_params.get("cursor", "0"))
        end = begin + self.content.page_size
        entries = [_entry(path, data) for path, data in self.content.files.items()]
        headers = {}
        if end < len(entries):
            here = str(request.url.include_query_params(cursor=end))
            page = here if not self.public else self.public + here.split(request.url.netloc)[1]
            headers["Link"] = f'<{page}>; rel="next"'
        return _json(entries[begin:end], headers)

    async def _resolve(self, request: Request) -> Response:
        place = request.path_params
        wrong = self._wrong(request, f"{place['user']}/{place['repo']}") or self._refused(request)
        if wrong is not None:
            return wrong
        if (path := place["path"]) not in self.content.files:
            return _error(404, "EntryNotFound", "Entry not found")
        data, digest = self.content.files[path], self.content.digest(path)
        if self.content.faults.moved_on:
            digest = hashlib.sha256(b"moved on").hexdigest()
        headers = {"X-Repo-Commit": self.content.commit, "Accept-Ranges": "bytes"}
        if not path.endswith(".gguf"):
            headers["ETag"] = f'"{git_digest(data)}"'
            return Response(b"" if request.method == "HEAD" else data, headers=headers)
        headers |= {
            "X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "ETag": f'"{git_digest(data)}"',
            "Location": f"{self.cdn}/xet/{self.content.digest(path)}?X-Amz-Signature=secret&name={path}",
        }  # fmt: skip
        return Response(b"", 302, headers)


class FakeCdn(ScriptedServer):
    """The CDN."""

    def __init__(self, content: HubContent) -> None:
        super().__init__()
        self.content = content
        self.sent = 0
        """Bytes of files."""

    def routes(self) -> list[Route]:
        return [Route("/xet/{digest}", self._file)]

    def refusal(self) -> Response:
        return Response("", 403)

    async def not_found(self, request: Request) -> Response:
        return Response("", 404)

    @property
    def ranges(self) -> list[str]:
        """The ranges that were asked for."""
        return [asked.headers.get("range", "") for asked in self.asked]

    async def _file(self, request: Request) -> Response:
        faults = self.content.faults
        if "Authorization" in request.headers:
            return Response("a token came to the CDN", 400)
        for name, status in (("expired", 403), ("broken", 503)):
            if getattr(faults, name):
                setattr(faults, name, getattr(faults, name) - 1)
                return Response("", status)
        if faults.fails_after is not None and self.sent >= faults.fails_after:
            return Response("", 503)
        digest = request.path_params["digest"]
        data = next(data for data in self.content.files.values() if hashlib.sha256(data).hexdigest() == digest)
        if faults.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if faults.grown:
            data += b"more"
        wanted = request.headers.get("Range")
        if wanted is None:
            # The bridge refuses this for large files.
            return Response("", 400)
        begin, _, end = wanted.removeprefix("bytes=").partition("-")
        first, last = int(begin), min(int(end or len(data)), len(data) - 1)
        if first >= len(data):
            return Response("", 416, {"Content-Range": f"bytes */{len(data)}"})
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{digest}"'}
        if faults.ignore_ranges:
            first, last, status = 0, len(data) - 1, 200
        else:
            status = 206
            shown = first + 1 if faults.wrong_range else first
            headers["Content-Range"] = f"bytes {shown}-{last}/{len(data)}"
        body = data[first : last + 1]
        headers["Content-Length"] = str(len(body))
        return StreamingResponse(self._sent(body), status, headers)

    async def _sent(self, body: bytes) -> AsyncIterator[bytes]:
        faults = self.content.faults
        end, stalls = len(body), False
        if faults.cut_after is not None and faults.cuts:
            faults.cuts -= 1
            end = min(end, faults.cut_after)
        if faults.stalls:
            faults.stalls -= 1
            end, stalls = end // 2, True
        for begin in range(0, end, CHUNK):
            piece = body[begin : min(begin + CHUNK, end)]
            self.sent += len(piece)
            yield piece
            if faults.slow_s:
                await asyncio.sleep(faults.slow_s)
        if stalls:
            await asyncio.sleep(3600)
        if end < len(body):
            raise ConnectionAbortedError


def git_digest(data: bytes) -> str:
    """Git's SHA-1 of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": git_digest(data)}
    if path.endswith(".gguf"):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        entry["xetHash"] = hashlib.sha256(b"xet" + data).hexdigest()
    return entry


def _json(value: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(value), headers=dict(headers or {}), media_type="application/json")
