"""Asking a server plainly, with none of the program in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.servers.script import Exchange, Script


@dataclass
class Streamed:
    """A streamed answer."""

    status: int
    headers: httpx.Headers
    arrived: list[bytes] = field(default_factory=list)
    """What came, as it came."""

    @property
    def body(self) -> bytes:
        return b"".join(self.arrived)

    def lines(self) -> list[dict]:
        """The objects of an NDJSON stream."""
        return [json.loads(line) for line in self.body.splitlines()]

    def data(self, blank: str = " ") -> list[str]:
        """The data of server-sent events that have one line each."""
        prefix = f"data:{blank}".encode()
        assert self.body.endswith(b"\n\n")
        events = self.body.removesuffix(b"\n\n").split(b"\n\n")
        found = [line for event in events for line in event.split(b"\n") if not line.startswith((b"event:", b":"))]
        assert all(line.startswith(prefix) for line in found)
        return [line.removeprefix(prefix).decode() for line in found]

    def chunks(self, blank: str = " ") -> list[dict]:
        """The objects of a stream that ends with `[DONE]`."""
        data = self.data(blank)
        assert data[-1] == "[DONE]"
        return [json.loads(each) for each in data[:-1]]


def stream(url: str, body: dict, timeout: float = 60) -> Streamed:
    """Ask with a POST, and read to the end."""
    with httpx.Client(trust_env=False, timeout=timeout) as client, client.stream("POST", url, json=body) as response:
        streamed = Streamed(response.status_code, response.headers)
        streamed.arrived.extend(response.iter_raw())
        return streamed


def ask(method: str, url: str, timeout: float = 60, **more) -> httpx.Response:
    """Ask, and read the answer."""
    with httpx.Client(trust_env=False, timeout=timeout) as client:
        return client.request(method, url, **more)


def get(url: str, **headers: str) -> httpx.Response:
    return ask("GET", url, headers=headers)


def post(url: str, body: object, **headers: str) -> httpx.Response:
    return ask("POST", url, json=body, headers=headers)


def user(text: str) -> list[dict]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def assert_replays(
    serve: Callable[[Any], Any],
    server: Callable[[Script], Any],
    conversation: Sequence[Exchange],
    ask: Callable[[Any, str], bytes],
) -> None:
    """A conversation has the same bytes however it is cut."""
    streams = []
    for seed in (None, 1, 2):
        served = serve(server(Script(conversation, cut_seed=seed)))
        streams.append([ask(served, exchange.question) for exchange in conversation])
    assert streams[0] == streams[1] == streams[2]
