"""Loading and unloading, context lengths, and what is asked while a model loads."""

from __future__ import annotations

import pytest

from tests.engine.remote.helpers import PATIENT, QUICK, VLLM_MODELS, events_of
from workbench.core.cancel import CancelToken
from workbench.core.errors import ServerError, ServerTimeoutError, UnknownModelError, WorkbenchError
from workbench.core.parameters import LoadSettings
from workbench.engine.remote import control

LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
PROPS = {"default_generation_settings": {"n_ctx": 2048}, "build_info": "b1"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(control, "LOOK_EVERY_S", 0.001)


class LlamaServer:
    """llama-server, as a single model or as a router of several."""

    def __init__(self, *, router=False, loads_after=0, fails=False):
        self.router, self.loads_after, self.fails = router, loads_after, fails
        self.looks = 0
        self.posts = []
        self.loaded = set()

    async def get(self, peer, request):
        path = request.path.partition("?")[0]
        if path in {"/models", "/v1/models"}:
            await peer.reply(
                {"data": [self._entry(name) for name in ("a", "b")[: 1 + self.router]]}, Server="llama.cpp"
            )
        elif path == "/props":
            self.looks += 1
            busy = not self.router and self.looks <= self.loads_after
            await peer.reply(LOADING if busy else PROPS, 503 if busy else 200, Server="llama.cpp")
        else:
            await peer.reply({"error": {"message": "not found"}}, 404, Server="llama.cpp")

    def _entry(self, name):
        if not self.router:
            return {"id": "Tiny-Q8_0.gguf", "meta": {"n_ctx_train": 4096, "n_params": 100, "size": 110}}
        self.looks += 1
        if self.looks > self.loads_after and ("/models/load", {"model": name}) in self.posts:
            self.loaded.add(name)
        value = "loaded" if name in self.loaded else "unloaded"
        status = {"value": value, "progress": 0.5} | ({"failed": True, "exit_code": 9} if self.fails else {})
        return {"id": name, "status": status}

    async def post(self, peer, request):
        self.posts.append((request.path, request.json))
        if request.path == "/models/unload":
            self.loaded.discard(request.json["model"])
        await peer.reply({"success": True}, Server="llama.cpp")


@pytest.fixture
def start(raw_serve, host):
    async def make(server, timeouts=PATIENT):
        served = await raw_serve(server.post, {"*": server.get})
        return host(timeouts=timeouts), served.url

    return make


async def open_at(host, ref, settings=None, on_progress=lambda _: None):
    return await host.open(ref, settings or LoadSettings(), on_progress, CancelToken())


async def test_a_model_that_loads_is_waited_for(start):
    made, url = await start(LlamaServer(loads_after=12))
    engine = await open_at(made, url)
    assert engine.info.settings.num_ctx == 2048
    assert (engine.info.model.name, engine.info.model.quant) == ("Tiny", "Q8_0")
    assert engine.info.model.bits_per_weight == pytest.approx(8.8)


async def test_a_model_that_never_ends_loading_is_given_up(start):
    made, url = await start(LlamaServer(loads_after=10**9), QUICK)
    with pytest.raises(ServerTimeoutError, match="loading"):
        await open_at(made, url)


async def test_a_router_loads_what_is_opened_and_unloads_it(start):
    server = LlamaServer(router=True, loads_after=20)
    made, url = await start(server)
    told = []
    engine = await open_at(made, f"{url}#b", on_progress=told.append)
    assert ("/models/load", {"model": "b"}) in server.posts
    assert engine.info.model.loaded
    assert 0.5 in told
    await made.unload(f"{url}#b")
    assert server.loaded == set()


async def test_a_model_that_a_router_cannot_load(start):
    made, url = await start(LlamaServer(router=True, fails=True))
    with pytest.raises(ServerError, match="exit code 9"):
        await open_at(made, f"{url}#b")


async def test_a_model_that_ollama_never_unloads_is_given_up(raw_serve, host):
    pages = {
        "/": "Ollama is running",
        "/api/tags": {"models": [{"name": "m:latest"}]},
        "/api/ps": {"models": [{"name": "m:latest"}]},
        "/api/chat": {"done": True},
    }

    async def chat(peer, request):
        await peer.reply(pages["/api/chat"])

    server = await raw_serve(chat, pages)
    with pytest.raises(ServerTimeoutError, match="still has m:latest in memory"):
        await host(timeouts=QUICK).unload(f"{server.url}#m")


@pytest.mark.parametrize("odd", [[], {}, [["x"]], None, 1, True])
async def test_a_router_whose_status_is_of_another_type(raw_serve, host, odd):
    """Lists and objects cannot be keys or members of a set."""
    entries = [{"id": odd, "status": {"value": odd}}, {"id": "a", "status": {"value": odd}}]
    server = await raw_serve(
        pages={"/models": {"data": entries}, "*": lambda peer, _: peer.reply({}, Server="llama.cpp")}
    )
    made = host()
    _, models = await made.models(server.url)
    assert [model.loaded for model in models] == [False]
    with pytest.raises(WorkbenchError):
        await open_at(made, f"{server.url}#b")
    await made.unload(f"{server.url}#a")


@pytest.mark.parametrize("odd", [[], {}, None, 1])
@pytest.mark.parametrize("path", ["/api/v1/models", "/api/v0/models"])
async def test_a_model_of_lm_studio_of_an_odd_kind(raw_serve, host, path, odd):
    key, field = ("key", "models") if "v1" in path else ("id", "data")
    entry = {key: "m", "type": odd, "loaded_instances": [], "compatibility_type": "gguf"}
    server = await raw_serve(pages={path: {field: [entry]}})
    _, models = await host().models(server.url)
    assert [model.name for model in models] == ["m"]


async def test_a_server_with_one_model_unloads_nothing(raw_serve, host):
    server = await raw_serve(pages={"/v1/models": VLLM_MODELS})
    made = host()
    with pytest.raises(ServerError, match="as long as it runs"):
        await made.unload(server.url)
    with pytest.raises(UnknownModelError):
        await made.unload(f"{server.url}#other")


async def test_a_server_that_knows_little_of_itself(raw_serve, host):
    async def chat(peer, _request):
        await peer.begin()
        await peer.event({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]})

    listed = {"object": "list", "data": [{"id": "m", "object": "model"}]}
    server = await raw_serve(chat, {"/v1/models": listed})
    engine = await open_at(host(), server.url)
    assert engine.info.warnings == ()
    assert engine.info.settings.num_ctx == 0
    end = (await events_of(engine))[-1]
    assert end.usage.estimated
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (2, 1)


@pytest.mark.parametrize(("details", "parameters"), [
    ({"parameter_size": "3.2B", "quantization_level": "Q4_K_M"}, 3_200_000_000),
    ({"parameter_size": "134.52M"}, 134_520_000),
    ({"parameter_size": "who knows"}, None), (None, None), ({"parameter_size": 3}, None),
])  # fmt: skip
async def test_any_details_of_ollama_are_accepted(raw_serve, host, details, parameters):
    entries = [{"name": "a:latest", "size": "big", "details": details, "capabilities": ["completion"]},
               {"name": "e", "capabilities": ["embedding"]}, {"name": 3}, "x", None]  # fmt: skip
    pages = {"/": "Ollama is running", "/api/tags": {"models": entries}, "/api/ps": {"models": [{"name": "a"}, 3]}}
    server = await raw_serve(pages=pages)
    _, (model,) = await host().models(server.url)
    assert (model.name, model.parameters, model.size_bytes, model.loaded) == ("a:latest", parameters, None, True)


async def test_lm_studio_before_its_new_api(raw_serve, host):
    listed = [
        {"id": "a", "type": "llm", "arch": "llama", "compatibility_type": "gguf", "quantization": "Q4_K_M",
         "state": "loaded", "max_context_length": 8192},
        {"id": "e", "type": "embeddings", "compatibility_type": "gguf"}, {"type": "llm"},
    ]  # fmt: skip
    server = await raw_serve(pages={"/api/v0/models": {"data": listed}, "/api/v1/models": {"error": "unknown"}})
    made = host()
    found, (model,) = await made.models(server.url)
    assert (found.kind, model.quant, model.context_length, model.loaded) == ("LM Studio", "Q4_K_M", 8192, True)
    engine = await open_at(made, server.url)
    assert not engine.capabilities.score
    with pytest.raises(ServerError, match="as long as it runs"):
        await made.unload(server.url)
