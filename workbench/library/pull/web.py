"""Requests to registries: retries, waiting as the server asks, and redirects that are followed by hand.

A token is a header of one request. It never goes along a redirect to another origin.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Protocol

import httpx

from workbench.core.errors import BrokenOffError, PullError, RateLimitError, WorkbenchError
from workbench.core.servers import origin

log = logging.getLogger(__name__)

LARGEST_ANSWER = 32 * 2**20
"""The maximum size of a response that is read whole, in bytes."""
MOST_REDIRECTS = 5
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORTH_SAYING_S = 5.0
_RATE_LIMIT = re.compile(r";\s*r=(?P<left>\d+)\s*;\s*t=(?P<seconds>\d+)")


class Transport(Protocol):
    """Opens connections, with the proxies and certificates of this machine."""

    def client(self, url: str) -> httpx.AsyncClient:
        """The connections to the origin of a URL; redirects are not followed.

        Raises:
            WorkbenchError: The environment names a proxy that cannot be used.
        """

    def error(self, url: str, error: Exception) -> WorkbenchError:
        """The error for an exception of httpx."""

    async def close(self) -> None:
        """Close all connections."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a registry."""

    tries: int = 5
    """Failures in a row, without a byte between them, after which a pull gives up."""
    base_s: float = 1.0
    """The wait after the first failure, in seconds; each further one doubles it."""
    stall_s: float = 30.0
    """Without a byte for this long, a connection is given up."""
    longest_wait_s: float = 120.0
    """The longest wait that a registry may ask for."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    async def wait(self, failures: int, headers: Mapping[str, str] | None, host: str) -> None:
        """Wait after failure number `failures`, at least as long as the headers of the response ask.

        Raises:
            RateLimitError: The registry asks for a longer wait than is accepted.
        """
        asked = asked_wait(headers) if headers is not None else None
        if asked is not None and asked > self.longest_wait_s:
            raise RateLimitError(
                f"{host} takes no more requests from here for {asked:.0f} s.",
                "Run the command again after that: what was fetched is kept. A token (HF_TOKEN) raises the limit.",
            )
        if asked is not None and asked >= _WORTH_SAYING_S:
            log.warning("%s asks to wait %.0f s.", host, asked)
        await self.sleep(self.base_s * 2 ** min(failures - 1, 4) if asked is None else asked)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds that a response asks to wait, by `RateLimit` or `Retry-After` (seconds or a date); None for none."""
    limit = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    if limit is not None and not int(limit["left"]):
        return int(limit["seconds"]) + 1.0
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """A response that was read whole."""

    url: str
    status: int
    headers: httpx.Headers
    content: bytes = field(repr=False)

    @property
    def body(self) -> object:
        """The content as JSON; None where it is none."""
        try:
            found: object = json.loads(self.content)
        except (ValueError, RecursionError):
            return None
        return found

    @property
    def location(self) -> str | None:
        """The absolute target of a redirect; None for any other response, or one without a valid target."""
        return redirect_of(self.url, self.status, self.headers)

    def page(self) -> PullError:
        """The error for a response that is not what a registry answers."""
        kind = "a web page" if self.content.lstrip()[:1] == b"<" else "no JSON"
        return PullError(
            f"{host_of(self.url)} answered with {kind} where a registry answers with JSON.",
            "A proxy or a login page may be in the way, or HF_ENDPOINT may name a wrong address.",
        )


def redirect_of(url: str, status: int, headers: Mapping[str, str]) -> str | None:
    """The absolute target of a redirect of `url`; None where there is none."""
    if status not in REDIRECTS or "Location" not in headers:
        return None
    try:
        target = httpx.URL(url).join(headers["Location"])
    except (httpx.InvalidURL, ValueError):
        return None
    return str(target) if target.scheme in {"http", "https"} and target.host else None


def host_of(url: str) -> str:
    """The host of a URL, for messages."""
    return origin(url)[1] or url


class Web:
    """Asks registries. It is used in one event loop only."""

    def __init__(self, transport: Transport, patience: Patience | None = None) -> None:
        self.transport = transport
        self.patience = patience or Patience()

    async def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        trusted: Callable[[str], bool],
        *,
        most: int | None = None,
    ) -> WebAnswer:
        """Request `url`; any status that is not worth another try is a response and no error.

        Redirects are followed, with the headers, while `trusted` says so of their target; the response is that of the
        first other one. `most` limits the bytes that are read; more are an error unless it is given.

        Raises:
            WorkbenchError: There was no response, or the registry is overloaded for good.
        """
        for _ in range(MOST_REDIRECTS):
            answer = await self._retried(method, url, headers, most)
            target = answer.location
            if target is None or not trusted(target):
                return answer
            url = target
        raise PullError(f"{host_of(url)} redirects too often.", "Check HF_ENDPOINT, and the reference.")

    async def _retried(self, method: str, url: str, headers: Mapping[str, str], most: int | None) -> WebAnswer:
        failures = 0
        while True:
            failures += 1
            tries = self.patience.tries
            try:
                answer = await self._once(method, url, headers, most)
            except (httpx.TransportError, httpx.DecodingError) as error:
                reason, asked = self.transport.error(url, error), None
                if isinstance(error, httpx.ConnectError):
                    # Mostly a wrong address or no network: a person waits for the answer.
                    tries = min(tries, 2)
            else:
                if answer.status not in RETRIED:
                    return answer
                reason, asked = overloaded(url, answer.status), answer.headers
            if failures >= tries:
                raise reason from None
            await self.patience.wait(failures, asked, host_of(url))

    async def _once(self, method: str, url: str, headers: Mapping[str, str], most: int | None) -> WebAnswer:
        async with self.stream(method, url, headers) as response:
            parts: list[bytes] = []
            length = 0
            async for part in response.aiter_bytes():
                parts.append(part)
                length += len(part)
                if most is not None and length >= most:
                    break
                if length > LARGEST_ANSWER:
                    raise PullError(f"{host_of(url)}: the answer is longer than {LARGEST_ANSWER // 2**20} MiB.")
            content = b"".join(parts)
            return WebAnswer(url, response.status_code, response.headers, content if most is None else content[:most])

    def stream(self, method: str, url: str, headers: Mapping[str, str]) -> _Streaming:
        """A request whose response is read while it comes; a read without a byte for `stall_s` fails."""
        client = self.transport.client(url)
        timeout = httpx.Timeout(self.patience.stall_s, connect=min(15.0, self.patience.stall_s), pool=None)
        request = client.build_request(method, url, headers={"Accept-Encoding": "identity", **headers}, timeout=timeout)
        return _Streaming(client, request)


class _Streaming:
    """The `async with` block of a response that streams."""

    def __init__(self, client: httpx.AsyncClient, request: httpx.Request) -> None:
        self._client = client
        self._request = request
        self._response: httpx.Response | None = None

    async def __aenter__(self) -> httpx.Response:
        self._response = await self._client.send(self._request, stream=True)
        return self._response

    async def __aexit__(self, *_: object) -> None:
        if self._response is not None:
            await self._response.aclose()


def overloaded(url: str, status: int) -> PullError:
    """The error for a status that did not change with further tries."""
    host = host_of(url)
    if status == 429:
        return RateLimitError(f"{host} takes no more requests from here now.", "Run the command again in some minutes.")
    return BrokenOffError(f"{host} fails (HTTP {status}).", "Run the command again later: what was fetched is kept.")
