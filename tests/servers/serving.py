"""Serving an application on a real socket of the loopback, in a thread that ends for sure."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.servers.script import Model, Script, cut


@dataclass(frozen=True)
class Asked:
    """A request, as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: object = None
    """What it says as JSON."""


class ScriptedServer(ABC):
    """What the servers have in common. A subclass says what its original says.

    Args:
        script: What it says and does.
    """

    server_header = False
    """Whether uvicorn says what it is, as it does where the original runs on it."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.model = Model(self.script)
        self.asked: list[Asked] = []
        self.made = 0
        """Answers that were begun: ids and times come from it, so that a conversation replays byte for byte."""

    @abstractmethod
    def routes(self) -> list[Route]:
        """The paths that it answers."""

    @abstractmethod
    def refusal(self) -> Response:
        """What is answered to a request without the key."""

    @abstractmethod
    async def not_found(self, request: Request) -> Response:
        """What is answered on a path that there is not."""

    def application(self) -> ASGIApp:
        """It, as an application."""

        async def missing(request: Request, _error: Exception) -> Response:
            return await self.not_found(request)

        inner = Starlette(routes=self.routes(), exception_handlers={404: missing, 405: missing})

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and not self._admits(scope):
                await self.refusal()(scope, receive, send)
                return
            await inner(scope, receive, send)

        return application

    def _admits(self, scope: Scope) -> bool:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.asked.append(Asked(scope["method"], scope["path"], headers))
        return self.script.key is None or headers.get("authorization") == f"Bearer {self.script.key}"

    async def body_of(self, request: Request) -> dict[str, object]:
        """The JSON object that was sent; an empty one where it was none."""
        body: object = None
        with contextlib.suppress(ValueError):
            body = await request.json()
        for index in range(len(self.asked) - 1, -1, -1):
            asked = self.asked[index]
            if asked.path == request.url.path and asked.body is None:
                self.asked[index] = replace(asked, body=body)
                break
        return body if isinstance(body, dict) else {}

    def stream(self, parts: AsyncIterator[bytes], content_type: str, **headers: str) -> Response:
        """A streamed answer, cut as the script wants it."""
        # Starlette would add a character set to a media type, which not every original does.
        return StreamingResponse(cut(parts, self.script.cut_seed), headers={"Content-Type": content_type, **headers})


def plain_json(value: object) -> str:
    """JSON without blanks, characters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass
class Served:
    """A server that runs."""

    url: str
    server: ScriptedServer
    _uvicorn: uvicorn.Server = field(repr=False)
    _thread: threading.Thread = field(repr=False)

    def stop(self) -> None:
        """End it and every open stream."""
        self._uvicorn.should_exit = True
        self._uvicorn.force_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server of the tests does not end"


def serve(server: ScriptedServer, port: int = 0) -> Served:
    """Start a server in a thread; it answers when this returns."""
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        server.application(), http="h11", ws="none", lifespan="off", log_config=None, log_level="critical",
        access_log=False, server_header=server.server_header, timeout_graceful_shutdown=1,
    )  # fmt: skip
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    return Served(f"http://127.0.0.1:{listening.getsockname()[1]}", server, running, thread)


@contextlib.contextmanager
def serving(server: ScriptedServer, port: int = 0) -> Iterator[Served]:
    """A server that runs inside the `with` block."""
    served = serve(server, port)
    try:
        yield served
    finally:
        served.stop()
