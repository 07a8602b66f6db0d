"""Recorded conversations with servers, damaged: each is understood, or ends in a typed error, and none hangs.

The conversations are recorded from the servers of the tests, and played without a network.
"""

from __future__ import annotations

import asyncio
import copy
import json
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import httpx
import pytest

from tests.engine.remote.helpers import events_of
from tests.servers import lmstudio, ollama, tgi, vllm
from tests.servers.script import Script
from tests.servers.serving import ScriptedServer, Served
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, Finished
from workbench.core.metrics import Meter
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.servers import ServerAddress
from workbench.engine.remote.host import RemoteHost
from workbench.engine.remote.http import Timeouts

QUICK = Timeouts(connect=0.3, answer=0.2, first=0.2, between=0.2, end=0.05, load=0.3, probe=0.2)
PATIENCE_S = 20.0
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 10**400, 2**63, 1.5, -0.0, float("nan"), float("inf"), "", "x", "\ud800", "9" * 5000,
    [], [1], [{}], {}, {"a": {"b": [None]}}, [["x"]],
]  # fmt: skip
SERVERS: dict[str, tuple[Callable[[Script], ScriptedServer], Any, str, str]] = {
    "Ollama": (ollama.OllamaServer, ollama.CONVERSATION, "#qwen3:0.6b", "And <b>why</b> & how?"),
    "vLLM": (vllm.VllmServer, vllm.CONVERSATION, "", "And why?"),
    "LM Studio": (lmstudio.StudioServer, lmstudio.CONVERSATION, "#qwen/qwen3-0.6b", "And why?"),
    "TGI": (tgi.TgiServer, tgi.CONVERSATION, "", "What is the sea?"),
}
OPENAI = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "somebody"}]}


RECORDED: dict[str, Tape] = {}


@dataclass
class Recorded:
    """A response of a server."""

    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_stream(self) -> bool:
        kind = self.headers.get("content-type", "")
        return "event-stream" in kind or "ndjson" in kind


@dataclass
class Tape:
    """A conversation, recorded from a server or played in the place of one."""

    url: str
    name: str
    question: str
    responses: list[Recorded] = field(default_factory=list)

    def play(self, request: httpx.Request, place: dict[str, int]) -> Recorded:
        """The next response of a path; the last one again where there are no more."""
        path = request.url.raw_path.decode()
        found = [each for each in self.responses if (each.method, each.path) == (request.method, path)]
        if not found:
            return Recorded(request.method, path, 404, {"content-type": "application/json"}, b'{"error": "not found"}')
        number = place[path] = place.get(path, -1) + 1
        return found[min(number, len(found) - 1)]


class Body(httpx.AsyncByteStream):
    """A body in pieces, with pauses at some places: None is a pause that outlasts every timeout."""

    def __init__(self, parts: list[bytes | None]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if part is None:
                await asyncio.sleep(3600)
            else:
                await asyncio.sleep(0)
                yield part


@dataclass
class Player:
    """Answers in the place of the network."""

    tape: Tape | None = None
    cut: Callable[[bytes], list[bytes | None]] | None = None
    """Divides the body of streams."""
    recording: bool = False
    place: dict[str, int] = field(default_factory=dict)

    async def handle(self, transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        assert self.tape is not None
        if self.recording:
            response = await REAL(transport, request)
            body = await response.aread()
            raw = request.url.raw_path.decode()
            headers = {name: value for name, value in response.headers.items() if name in {"content-type", "server"}}
            self.tape.responses.append(Recorded(request.method, raw, response.status_code, headers, body))
            return httpx.Response(response.status_code, headers=headers, stream=Body([body]))
        found = self.tape.play(request, self.place)
        parts = self.cut(found.body) if self.cut and found.is_stream else [found.body]
        return httpx.Response(found.status, headers=found.headers, stream=Body(parts))


REAL = httpx.AsyncHTTPTransport.handle_async_request


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> Player:
    made = Player()
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", lambda *given: made.handle(*given))
    return made


async def converse(tape: Tape) -> str:
    """List, open, ask, unload; how the answer ended. Any error but a WorkbenchError is raised."""
    host = RemoteHost(ServerAddress, QUICK if tape.responses else Timeouts())
    ended = "refused"
    try:
        with suppress(WorkbenchError):
            _, models = await host.models(tape.url)
            assert all(isinstance(model.ref, str) for model in models)
            engine = await host.open(f"{tape.url}{tape.name}", LoadSettings(), lambda _: None, CancelToken())
            request = Request((Message("user", tape.question),), sampling=Sampling(num_predict=16))
            events = await events_of(engine, request)
            meter = Meter(events[0].at_ns)
            for event in events:
                meter.feed(event)
            meter.metrics()
            end = events[-1]
            assert isinstance(end, Finished | Failed)
            assert "The client failed" not in str(getattr(end, "error", "")), end
            json.dumps([repr(event) for event in events])
            ended = type(end).__name__
        with suppress(WorkbenchError):
            await host.unload(f"{tape.url}{tape.name}")
    finally:
        await host.shutdown()
    return ended


@pytest.fixture
async def tapes(serve: Callable[[ScriptedServer], Served], player: Player, llama_server: str) -> dict[str, Tape]:
    """A conversation with each kind of server, recorded by the first test that wants it."""
    if RECORDED:
        return RECORDED
    player.recording = True
    found = RECORDED
    for kind, (make, conversation, name, asked) in SERVERS.items():
        found[kind] = player.tape = Tape(serve(make(Script(conversation))).url, name, asked)
        # Nothing is recorded yet, so that it is patient.
        assert await converse(player.tape) == "Finished", kind
    found["llama-server"] = player.tape = Tape(llama_server, "", "What is the sea?")
    assert await converse(player.tape) == "Finished"
    chat = next(each for each in found["vLLM"].responses if each.is_stream)
    listing = Recorded("GET", "/v1/models", 200, {"content-type": "application/json"}, json.dumps(OPENAI).encode())
    found["OpenAI"] = Tape("http://127.0.0.1:9", "", "What is the sea?", [listing, chat])
    found["llama-server's router"] = as_router(player.tape)
    studio = found["LM Studio"]
    older = [each for each in studio.responses if not each.path.startswith("/api/v1")]
    found["LM Studio's older API"] = replace(studio, responses=older)
    player.recording = False
    return found


def as_router(tape: Tape) -> Tape:
    """A conversation with a llama-server that has two models, of which the first is loaded meanwhile."""
    headers = {"content-type": "application/json", "server": "llama.cpp"}

    def answer(method: str, path: str, value: object) -> Recorded:
        return Recorded(method, path, 200, headers, json.dumps(value).encode())

    def listing(value: str) -> Recorded:
        status = {"value": value, "args": ["-c", "1024"], "progress": 0.5}
        entries = [{"id": name, "object": "model", "status": status} for name in ("demo", "other")]
        return answer("GET", "/models", {"object": "list", "data": entries})

    (props,) = [each for each in tape.responses if each.path == "/props"][:1]
    (chat,) = [each for each in tape.responses if each.is_stream]
    loading = [listing("unloaded")] * 4 + [listing("loaded")]
    posts = [answer("POST", f"/models/{what}", {"success": True}) for what in ("load", "unload")]
    return replace(tape, name="#demo", responses=[*loading, *posts, replace(props, path="/props?model=demo"), chat])


def places(value: object, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a JSON value something can be replaced."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*at, key))


def replaced(value: Any, at: tuple[Any, ...], by: object) -> Any:
    if not at:
        return by
    changed = copy.copy(value)
    changed[at[0]] = replaced(value[at[0]], at[1:], by)
    return changed


def parts_of(recorded: Recorded) -> list[bytes]:
    """The lines or events of a stream; the whole of any other body."""
    if not recorded.is_stream:
        return [recorded.body]
    mark = b"\n" if "ndjson" in recorded.headers["content-type"] else b"\n\n"
    return [part + mark for part in recorded.body.split(mark) if part]


def value_in(part: bytes) -> tuple[bytes, Any, bytes] | None:
    """The JSON value in a part, with what is before and after it."""
    before, found, _ = part.partition(b"data:")
    head, text = (before + found, part[len(before + found) :]) if found else (b"", part)
    try:
        return head, json.loads(text), b"\n\n" if found else b"\n" if part.endswith(b"\n") else b""
    except ValueError:
        return None


def with_part(tape: Tape, number: int, parts: list[bytes]) -> Tape:
    responses = [*tape.responses]
    responses[number] = replace(responses[number], body=b"".join(parts))
    return replace(tape, responses=responses)


def every_replacement(tape: Tape) -> list[tuple[int, int, tuple[Any, ...], Any]]:
    """Every field of every response by every value: which response, which part, where in it, and the value."""
    found = []
    for number, recorded in enumerate(tape.responses):
        for index, part in enumerate(parts_of(recorded)):
            if (value := value_in(part)) is not None:
                found += [(number, index, at, by) for at in places(value[1]) for by in VALUES]
    return found


async def play(player: Player, tape: Tape) -> str:
    player.tape, player.place = tape, {}
    return await asyncio.wait_for(converse(tape), PATIENCE_S)


def innermost(error: BaseException) -> str:
    """Where an exception was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


@pytest.mark.timeout(3600)
async def test_every_field_of_every_type(
    tapes: dict[str, Tape], player: Player, cases: Callable[[int], int], seed: str
) -> None:
    ends: dict[str, int] = {}
    wrong: list[object] = []
    for kind, tape in tapes.items():
        assert await play(player, tape) == "Finished", kind
        choices = every_replacement(tape)
        random = Random(f"{seed} {kind}")
        # As many of the pages as of the streams, which have more fields.
        pages, streams = (
            [each for each in choices if tape.responses[each[0]].is_stream is is_stream] for is_stream in (False, True)
        )
        chosen = [each for group in (pages, streams) for each in random.sample(group, min(len(group), cases(8)))]
        for number, index, at, by in chosen:
            parts = parts_of(tape.responses[number])
            head, value, rest = value_in(parts[index])
            parts[index] = head + json.dumps(replaced(value, at, by)).encode() + rest
            try:
                end = await play(player, with_part(tape, number, parts))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported with the case
                wrong.append((kind, tape.responses[number].path, at, by, repr(error), innermost(error)))
                continue
            ends[end] = ends.get(end, 0) + 1
    print(len(tapes), "servers:", json.dumps(ends))
    assert not wrong


@pytest.mark.timeout(3600)
async def test_streams_cut_doubled_reordered_and_delayed(
    tapes: dict[str, Tape], player: Player, cases: Callable[[int], int], seed: str
) -> None:
    ends: dict[str, int] = {}
    wrong: list[object] = []
    for kind, tape in tapes.items():
        (number,) = [index for index, each in enumerate(tape.responses) if each.is_stream]
        whole = parts_of(tape.responses[number])
        for case in range(cases(6)):
            random = Random(f"{seed} {kind} {case}")
            parts = [*whole]
            how = random.choice(
                ("cut", "doubled", "reordered", "bytes", "missing", "delayed" if case % 8 == 0 else "cut")
            )
            place = random.randrange(len(parts))
            if how == "cut":
                body = b"".join(parts)
                parts = [body[: random.randrange(len(body))]]
            elif how == "doubled":
                parts[place:place] = parts[place : place + random.randint(1, 5)] * random.choice((1, 1, 50))
            elif how == "reordered":
                random.shuffle(parts)
            elif how == "missing":
                del parts[place]
            elif how == "bytes":
                body = bytearray(b"".join(parts))
                for _ in range(random.choice((1, 3, 20))):
                    body[random.randrange(len(body))] = random.choice(b'\n\r\0"{}[],:\x80\xff 0')
                parts = [bytes(body)]
            player.cut = divided(random, delayed=how == "delayed")
            try:
                end = await play(player, with_part(tape, number, parts))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported with the case
                wrong.append((kind, how, case, repr(error), innermost(error)))
                continue
            ends[end] = ends.get(end, 0) + 1
        player.cut = None
    print(len(tapes), "servers:", json.dumps(ends))
    assert not wrong


def divided(random: Random, *, delayed: bool) -> Callable[[bytes], list[bytes | None]]:
    most = random.choice((1, 20, 1000))

    def cut(body: bytes) -> list[bytes | None]:
        parts: list[bytes | None] = []
        while body:
            size = random.randint(1, most)
            parts.append(body[:size])
            body = body[size:]
        if delayed:
            parts.insert(random.randint(0, len(parts)), None)
        return parts

    return cut
