"""The HTTP client of one server: timeouts, keys, redirects, and a limit on the size of responses.

Certificates are found as by httpx (`SSL_CERT_FILE`), and proxies by the same variables (`HTTPS_PROXY`, `NO_PROXY`);
this machine is never asked through a proxy. httpx takes a tenth of a second to import: this module is imported in a
thread.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from workbench import __version__
from workbench.core.errors import ServerAnswerError, WorkbenchError
from workbench.core.servers import ServerAddress, is_loopback, origin
from workbench.engine.remote.problems import error_of_status, error_of_transport, not_json, too_slow
from workbench.engine.remote.proxies import proxy_of
from workbench.engine.remote.response import ErrorStatus, HttpResponse, parsed

MOST_REDIRECTS = 3
LARGEST_ANSWER = 16 * 2**20
"""The maximum size of a response that does not stream, in bytes."""
LARGEST_ERROR = 2**16


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds."""

    connect: float = 5.0
    """To accept the connection."""
    answer: float = 15.0
    """For a whole response that does not stream, such as the list of models."""
    first: float = 600.0
    """From the request to the first sign of progress. A long prompt takes long on a CPU."""
    between: float = 120.0
    """From one sign of progress to the next. Pings do not count."""
    end: float = 2.0
    """From the end of the answer to the figures that follow."""
    load: float = 900.0
    """To load a model."""
    probe: float = 1.5
    """For all requests that detect the server."""


class ServerClient:
    """The connections to one server. It is used in one event loop only."""

    def __init__(self, address: ServerAddress, timeouts: Timeouts) -> None:
        self.address = address
        self.timeouts = timeouts
        self._made: dict[tuple[str, str, int], httpx.AsyncClient] = {}
        """The connections by origin."""

    def _client(self, url: httpx.URL) -> httpx.AsyncClient:
        """The connections for a URL.

        Raises:
            ServerUnreachableError: The environment names a proxy that cannot be used.
        """
        where = origin(str(url))
        if where not in self._made:
            # The timeout between two bytes depends on their meaning, so that the reader of a stream applies it.
            timeout = httpx.Timeout(None, connect=self.timeouts.connect, write=self.timeouts.answer)
            self._made[where] = open_client(url, timeout)
        return self._made[where]

    async def close(self) -> None:
        """Close all connections."""
        clients, self._made = self._made, {}
        for client in clients.values():
            await client.aclose()

    async def get(self, path: str, within_s: float | None = None) -> HttpResponse:
        """Request `path`, within `Timeouts.answer` unless another time is given; any status is a response and no error.

        Raises:
            ServerError: There was no response.
        """
        return await self._ask("GET", path, None, within_s)

    async def post(self, path: str, body: object, within_s: float | None = None) -> HttpResponse:
        """Send `body` as JSON. Arguments and errors are those of `get`."""
        return await self._ask("POST", path, body, within_s)

    async def head(self, path: str) -> HttpResponse:
        """Request the headers of `path`. Errors are those of `get`."""
        return await self._ask("HEAD", path, None, None)

    async def upload(self, path: str, parts: AsyncIterator[bytes], length: int) -> HttpResponse:
        """Send a file of `length` bytes, part by part; any status is a response. Redirects are not followed.

        Raises:
            ServerError: The connection broke, or the server took longer than `Timeouts.load` at one part or at the end.
        """
        loop = asyncio.get_running_loop()

        async def watched() -> AsyncIterator[bytes]:
            async for part in parts:
                yield part
                limit.reschedule(loop.time() + self.timeouts.load)

        headers = {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        request = self._request("POST", httpx.URL(f"{self.address.url}{path}"), watched(), headers)
        try:
            async with asyncio.timeout(self.timeouts.load) as limit:
                response = await self._begin(request)
                try:
                    with self._transport_errors():
                        return await self._whole(response, path)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise too_slow(self.address, "it took nothing more of the file", self.timeouts.load) from None

    async def _ask(self, method: str, path: str, body: object, within_s: float | None) -> HttpResponse:
        seconds = self.timeouts.answer if within_s is None else within_s
        # Made before the clock starts: its certificates take long to read.
        self._client(httpx.URL(self.address.url))
        try:
            async with asyncio.timeout(seconds), self._send(method, path, body) as response:
                return await self._whole(response, path)
        except TimeoutError:
            raise self._through_proxy(too_slow(self.address, f"there was no answer for {path}", seconds)) from None

    async def _whole(self, response: httpx.Response, path: str) -> HttpResponse:
        text = await self._read(response, LARGEST_ANSWER, path)
        return HttpResponse(response.status_code, response.headers, text, parsed(text))

    async def _read(self, response: httpx.Response, most: int, path: str) -> str:
        parts: list[bytes] = []
        length = 0
        async for part in response.aiter_bytes():
            parts.append(part)
            length += len(part)
            if length > most:
                raise ServerAnswerError(
                    f"{self.address.label}: the answer for {path} is longer than {most // 2**20} MiB.",
                    "Check the address.",
                )
        return b"".join(parts).decode("utf-8", "replace")

    def json(self, answer: HttpResponse, path: str, model: str = "") -> dict[str, Any]:
        """The body of a response for a path, and for a model if one was requested.

        Raises:
            WorkbenchError: The status is an error, or the body is no JSON object.
        """
        if answer.status >= 400:
            raise self.error(answer, path, model)
        if not isinstance(answer.body, dict):
            raise self._through_proxy(not_json(self.address, path, answer.text))
        return answer.body

    def error(self, answer: HttpResponse, path: str, model: str = "") -> WorkbenchError:
        """The error for a response's status. Arguments are those of `json`."""
        error = error_of_status(self.address, path, answer.status, answer.body, answer.headers, model)
        return self._through_proxy(error)

    def _through_proxy(self, error: WorkbenchError) -> WorkbenchError:
        """The error with the variable of the proxy between here and the server, where there is one."""
        proxy = proxy_of(self.address.url)
        if proxy is None or proxy.variable in str(error):
            return error
        hint = f"{error.hint} It was asked through the proxy in {proxy.variable}: add the host to NO_PROXY to avoid it."
        return type(error)(error.message, hint.strip())

    @asynccontextmanager
    async def stream(self, path: str, body: object) -> AsyncIterator[AsyncIterator[tuple[bytes, int]]]:
        """Send `body` as JSON and stream the response: bytes, and `time.perf_counter_ns()` at their arrival.

        The reader applies its own timeouts.

        Raises:
            ErrorStatus: The status is an error.
            WorkbenchError: A web page came, or the connection was lost.
        """
        async with self._send("POST", path, body) as response:
            if response.status_code >= 400:
                text = await self._beginning(response)
                raise ErrorStatus(path, HttpResponse(response.status_code, response.headers, text, parsed(text)))
            if response.headers.get("Content-Type", "").partition(";")[0].strip().casefold() == "text/html":
                raise self._through_proxy(not_json(self.address, path, "<"))
            clock = time.perf_counter_ns
            yield ((data, clock()) async for data in response.aiter_bytes())

    async def _beginning(self, response: httpx.Response) -> str:
        """The body of an error, as far as it arrives within `Timeouts.answer`."""
        try:
            async with asyncio.timeout(self.timeouts.answer):
                return await self._read(response, LARGEST_ERROR, "")
        except (TimeoutError, WorkbenchError):
            return ""

    @asynccontextmanager
    async def _send(self, method: str, path: str, body: object) -> AsyncIterator[httpx.Response]:
        """Send a request, and follow redirects; the key and what is sent stay with their own server."""
        url = httpx.URL(f"{self.address.url}{path}")
        content = None if body is None else json.dumps(body).encode()
        for _ in range(MOST_REDIRECTS + 1):
            response = await self._begin(self._request(method, url, content))
            try:
                following = self._following(response, url)
                if following is None:
                    with self._transport_errors():
                        yield response
                    return
            finally:
                await response.aclose()
            url = following
            if response.status_code == 303:
                method, content = "GET", None
            if content is not None and not _is_same_server(self.address.url, str(url)):
                there = url.netloc.decode("ascii", "replace")
                raise ServerAnswerError(
                    f"{self.address.label} redirects to another server, {there}: nothing was sent there.",
                    f"If you trust it, use {url.scheme}://{there} as the address.",
                )
        raise ServerAnswerError(f"{self.address.label} redirects too often.", "Check the address.")

    def _request(
        self,
        method: str,
        url: httpx.URL,
        content: bytes | AsyncIterator[bytes] | None,
        more: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        headers = {"Accept": "application/json, text/event-stream, application/x-ndjson"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        headers |= more or {}
        key = self.address.key
        if key is not None and _is_same_server(self.address.url, str(url)):
            headers["Authorization"] = f"Bearer {key.reveal()}"
        return self._client(url).build_request(method, url, content=content, headers=headers)

    async def _begin(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and wait for the head of the response."""
        client = self._client(request.url)
        with self._transport_errors():
            try:
                return await client.send(request, stream=True)
            except httpx.ConnectError:
                # Nothing was sent yet, so that a second try is safe.
                return await client.send(request, stream=True)

    def _following(self, response: httpx.Response, url: httpx.URL) -> httpx.URL | None:
        """The target of a redirect; None for any other response."""
        if response.status_code not in {301, 302, 303, 307, 308} or "Location" not in response.headers:
            return None
        try:
            following = url.join(response.headers["Location"])
            origin(str(following))
        except (httpx.InvalidURL, ValueError):
            following = httpx.URL("")
        if following.scheme not in {"http", "https"} or not following.host:
            raise ServerAnswerError(f"{self.address.label} redirects to an invalid address.", "Check the address.")
        return following

    @contextmanager
    def _transport_errors(self) -> Iterator[None]:
        """Convert the exceptions of httpx inside the `with` block."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Without its cause, which holds the request with the key in a header.
            proxy = proxy_of(self.address.url)
            variable = "" if proxy is None else proxy.variable
            raise self._through_proxy(error_of_transport(self.address, error, variable)) from None


def open_client(url: httpx.URL, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """A client for the origin of a URL, through the proxy of the environment; it does not follow redirects.

    Certificates, which take long to read, are skipped without TLS on this machine.

    Raises:
        ServerUnreachableError: The environment names a proxy that cannot be used.
    """
    proxy = proxy_of(str(url))
    plain = url.scheme == "http" and is_loopback(str(url))
    return httpx.AsyncClient(
        verify=False if plain else _certificates(),
        timeout=timeout,
        # A sweep may hold many streams open at once.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        headers={"User-Agent": f"workbench/{__version__}", "Accept-Encoding": "identity"},
        proxy=None if proxy is None else proxy.proxy(url.host),
        # Its own reading of the environment raises for what it does not understand.
        trust_env=False,
        follow_redirects=False,
    )


@cache
def _certificates() -> ssl.SSLContext:
    """The certificates that httpx trusts, read once: that takes a tenth of a second."""
    return httpx.create_ssl_context()


def _is_same_server(home: str, url: str) -> bool:
    """Whether what is for the server at `home` may go to `url`: the same one, or the same host made safe by TLS."""
    ours, theirs = origin(home), origin(url)
    return ours == theirs or (ours[1] == theirs[1] and ours[0] == "http" and (ours[2], theirs[2]) == (80, 443))
