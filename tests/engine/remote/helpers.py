"""A server that sends any bytes that a test wants, and helpers that ask an engine."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.events import Finished, Token
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.remote.http import Timeouts

QUICK = Timeouts(connect=0.5, answer=0.5, first=0.4, between=0.3, end=0.1, load=1.0, probe=0.5)
"""For tests that wait for one of them."""
PATIENT = Timeouts(connect=20, answer=20, first=20, between=20, end=0.1, load=20, probe=20)
"""For all others: on a busy machine, what answers at once may take a while."""
VLLM_MODELS = {"object": "list", "data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]}


@dataclass
class Asked:
    """One request that a test's server got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Silence:
    """A page that never answers; `asked` is set once somebody has asked for it."""

    def __init__(self):
        self.asked = asyncio.Event()

    async def __call__(self, peer, _request):
        self.asked.set()
        await peer.forever()


class Peer:
    """The other end of a connection, which writes any bytes that a test wants."""

    def __init__(self, writer):
        self._writer = writer

    async def raw(self, *parts):
        for part in parts:
            self._writer.write(part if isinstance(part, bytes) else part.encode())
            await self._writer.drain()

    async def reply(self, body, status=200, **headers):
        content = (
            body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        )
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join(lines) + "\r\n\r\n", content)

    async def begin(self, kind="text/event-stream"):
        """The head of a stream that ends with its connection."""
        await self.raw(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n")

    async def event(self, value):
        await self.raw(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n")

    async def word(self, text, **more):
        await self.event({"choices": [{"index": 0, "delta": {"content": text}}], **more})

    async def forever(self):
        await asyncio.Event().wait()


async def read_request(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.split("\r\n")
    headers = {name.casefold(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, body)


@dataclass
class RawServer:
    """A server that says what a test lets it say."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    """Every request, in order."""
    running: list[asyncio.Server] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def has_asked(self, path):
        """Wait for a request."""
        while not any(each.path == path for each in self.asked):
            self.news.clear()
            await self.news.wait()

    def posts(self, path="/v1/chat/completions"):
        return [each for each in self.asked if each.method == "POST" and each.path == path]


async def opened(host, server, settings=None):
    return await host.open(f"{server.url}#m", settings or LoadSettings(), lambda _: None, CancelToken())


def question(text="Hello", **sampling):
    return Request(messages=(Message("user", text),), sampling=Sampling(**sampling))


async def events_of(engine, request=None, cancel=None):
    """Every event of an answer, in order."""
    return [event async for batch in engine.generate(request or question(), cancel or CancelToken()) for event in batch]


def text_of(events):
    """The text of an answer."""
    return "".join(event.text for event in events if isinstance(event, Token | Finished))
