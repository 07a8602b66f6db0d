from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.events import Event, Failed, Finished, PromptProgress, Token
from workbench.core.metrics import AnswerMetrics, Meter
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.llama.host import LlamaHost
from workbench.engine.llama.runtime import shared_runtime
from workbench.engine.llama.states import StateCache
from workbench.engine.outbox import Outbox

QUANTIZE = """
import sys
from workbench.engine.llama.bindings import llama_cpp as api
source, target = sys.argv[1:]
params = api.llama_model_quantize_default_params()
params.ftype, params.allow_requantize, params.nthread = 7, True, 2
assert api.llama_model_quantize(source.encode(), target.encode(), params) == 0
"""


@dataclass
class Answer:
    """Everything that came of one request."""

    events: list[Event] = field(default_factory=list)
    metrics: AnswerMetrics = field(default_factory=AnswerMetrics)

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.of(Token) + self.of(Finished) if event.kind == "answer")

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.of(Token)]

    @property
    def end(self) -> Finished | Failed:
        return self.events[-1]

    @property
    def cached(self) -> int:
        return self.of(PromptProgress)[0].cached


async def answer(engine, request: Request, cancel: CancelToken | None = None, on_event=None) -> Answer:
    result, meter = Answer(), Meter(time.perf_counter_ns())
    async for batch in engine.generate(request, cancel or CancelToken()):
        for event in batch:
            result.events.append(event)
            meter.feed(event)
            if on_event is not None:
                on_event(event)
    result.metrics = meter.metrics()
    return result


@contextmanager
def watching(note: Callable[[Event], object]) -> Iterator[None]:
    """Call `note` with each event as it is made: in the thread that computes, before it computes any further.

    A test that cancels there does so at the same place every time; the event loop may hear of an event much later.
    """

    def put(outbox: Outbox, event: Event, *, at_once: bool = False) -> None:
        note(event)
        real(outbox, event, at_once=at_once)

    real = Outbox.put
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Outbox, "put", put)
        yield


@contextmanager
def held_back() -> Iterator[None]:
    """Long answers take seconds: a toy writes a thousand tokens before a busy machine runs the event loop again."""
    with watching(lambda _: time.sleep(0.005)):
        yield


def chat(*texts: str, limit: int = 24, **sampling) -> Request:
    """A request for the next answer; the texts are the user's and the assistant's in turn."""
    roles = ["user", "assistant"]
    messages = tuple(Message(roles[index % 2], text) for index, text in enumerate(texts))
    return Request(messages=messages, sampling=Sampling(num_predict=limit, **{"temperature": 0.0, **sampling}))


async def load(host: LlamaHost, ref: str = "demo", on_progress=lambda _: None, cancel=None, **settings):
    settings = {"num_ctx": 2048, "flash_attn": "on", **settings}
    return await host.open(ref, LoadSettings(**settings), on_progress, cancel or CancelToken())


@pytest.fixture(scope="session")
def variants(short_demo, tmp_path_factory) -> dict[str, str]:
    """The demo model in another quantization, by its name; made in a child process."""
    path = str(tmp_path_factory.mktemp("variants") / "demo-Q8_0.gguf")
    subprocess.run([sys.executable, "-c", QUANTIZE, str(short_demo), path], check=True, capture_output=True)
    return {"Q8_0": path}


@pytest.fixture
def models(short_demo) -> dict[str, str]:
    """The files that the host's references name; tests may add to it."""
    return {"demo": str(short_demo)}


@pytest.fixture
async def host(models):
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=models[ref]))
    yield host
    await host.shutdown()


@pytest.fixture(scope="session")
def loaded(short_demo):
    """The demo model, loaded once."""
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=str(short_demo)))
    yield asyncio.run(load(host))
    asyncio.run(host.shutdown())


@pytest.fixture
async def engine(loaded):
    """The demo model as after a load. Tests share what is loaded: one that closes it opens its own, with `load`."""
    from workbench.engine.llama.engine import LlamaEngine

    states = StateCache(2**28)
    engine = LlamaEngine(loaded._model, loaded.info, loaded._template, loaded._controls, states, "demo", lambda _: None)
    await shared_runtime.do(loaded._model.slots[0].forget)
    yield engine
    # An answer that nobody reads any more ends.
    engine._answers.close()
    await shared_runtime.run(lambda _: iter(()), engine._line)
    assert loaded._model.native
