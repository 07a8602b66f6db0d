from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import pytest

from workbench.core.alternatives import LikelyToken, TokenChoice
from workbench.core.cancel import CancelToken
from workbench.core.engine import Capabilities, Engine, Request
from workbench.core.errors import WorkbenchError
from workbench.core.events import Batch, Failed, Finished, FinishReason, PromptProgress, Token, Usage
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.serving import ServedModel, ServingAddress
from workbench.serve.app import Api
from workbench.serve.server import ApiServer, listen
from workbench.serve.service import Service

ENTRY = ModelEntry("toy", "Toy", "Q8_0", "/m/toy.gguf", 1000, 135_000_000, "llama", 8.5)


class FakeEngine(Engine):
    """An engine that writes the words of a text, and keeps what it was asked."""

    capabilities = Capabilities()

    def __init__(self, text: str = "Good day to you", thoughts: str = "", reason: FinishReason = "stop") -> None:
        self.text, self.thoughts, self.reason = text, thoughts, reason
        self.error: WorkbenchError | None = None
        self.tools: WorkbenchError | None = None
        self.endless = False
        self.asked: list[Request] = []
        self.cancels: list[CancelToken] = []
        self.ended = threading.Event()
        self.info = EngineInfo(ENTRY, LoadSettings(num_ctx=2048, num_parallel=2), "CPU", 1.0)

    async def generate(self, request: Request, cancel: CancelToken) -> AsyncIterator[Batch]:
        self.asked.append(request)
        self.cancels.append(cancel)
        try:
            yield (PromptProgress(0, 7, 3, 1, 1), PromptProgress(7, 7, 3, 2, 2))
            words = [(word, "reasoning") for word in self.thoughts.split()]
            words += [(word, "answer") for word in self.text.split()]
            choices: tuple[TokenChoice, ...] = ()
            if request.alternatives:
                choices = (TokenChoice(LikelyToken(b"x", -0.5), (LikelyToken(b"\xc3", -0.5),)),)
            for place, (word, kind) in enumerate(words):
                yield (Token(f" {word}" if place else word, place, kind, 3, 3, choices=choices),)
            while self.endless:
                if cancel.is_set:
                    yield (Finished("cancelled", Usage(7, 3, len(words)), 5, 5),)
                    return
                yield (Token(".", 0, "answer", 3, 3),)
                await _moment()
            if self.error is not None:
                yield (Failed(self.error, 4),)
                return
            yield (Finished(self.reason, Usage(7, 3, len(words)), 5, 5),)
        finally:
            self.ended.set()

    async def check_tools(self) -> None:
        if self.tools is not None:
            raise self.tools

    async def tokens(self, request: Request) -> tuple[int, ...]:
        return tuple(range(11))


async def _moment() -> None:
    import asyncio

    await asyncio.sleep(0)


def service_of(engine: Engine, **values: object) -> Service:
    defaults = {"name": "toy", "sampling": Sampling(temperature=0.5, top_k=7), "given": frozenset({"top_k"})}
    return Service(ServedModel(engine, **{**defaults, **values}))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def service(engine) -> Service:
    return service_of(engine)


@pytest.fixture
async def client(service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=Api(service, ServingAddress()).app())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@contextmanager
def served(service: Service, address: ServingAddress | None = None) -> Iterator[str]:
    """The service on a real socket; gives its address."""
    listener = listen("127.0.0.1", 0)
    server = ApiServer(Api(service, address or ServingAddress()).app())
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.stop()
        thread.join()
        listener.close()
