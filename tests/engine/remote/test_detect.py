from __future__ import annotations

import pytest

from tests.engine.remote.helpers import QUICK, Silence
from tests.servers.lmstudio import StudioServer
from tests.servers.ollama import OllamaServer
from tests.servers.tgi import TgiServer
from tests.servers.vllm import VllmServer
from workbench.core.errors import ServerTimeoutError, ServerUnreachableError
from workbench.core.servers import ServerInfo

OLLAMA = {"/": "Ollama is running", "/api/version": {"version": "0.33.0"},
          "/api/tags": {"models": [{"name": "llama3.2:3b"}, {"name": "qwen3:8b"}]}}  # fmt: skip
VLLM = {"/v1/models": {"object": "list", "data": [{"id": "Qwen/Qwen3-8B", "owned_by": "vllm", "max_model_len": 4096}]},
        "/version": {"version": "0.11.0"}}  # fmt: skip
TGI = {"/info": {"model_id": "meta/llama", "router": "text-generation-router", "version": "3.3.6"}}
STUDIO = {"/v1/models": {"object": "list", "data": [{"id": "a"}]},
          "/api/v0/models": {"data": [{"id": "a", "compatibility_type": "gguf"}, {"id": "b"}]}}  # fmt: skip
LISTED = {"/v1/models": {"object": "list", "data": [{"id": "m.gguf"}]}}


async def look(host, *urls):
    return await host.look(urls)


@pytest.mark.parametrize(("pages", "kind", "version", "models"), [
    (OLLAMA, "Ollama", "0.33.0", ("llama3.2:3b", "qwen3:8b")), (VLLM, "vLLM", "0.11.0", ("Qwen/Qwen3-8B",)),
    (TGI, "TGI", "3.3.6", ("meta/llama",)), (STUDIO, "LM Studio", None, ("a", "b")),
    ({"/v1/models": {"data": [{"id": "a", "max_model_len": 4096}]}}, "vLLM", None, ("a",)),
    ({"/v1/models": {"object": "list", "data": []}}, "OpenAI-compatible", None, ()),
    (LISTED, "OpenAI-compatible", None, ("m.gguf",)),
    ({"/": "hello"}, "unknown", None, None), ({}, "unknown", None, None),
    ({"*": {"error": "unknown route"}}, "unknown", None, None), ({"*": "null"}, "unknown", None, None),
    ({"*": {"data": [3, None], "models": 5, "version": 7, "router": 1, "model_id": []}}, "unknown", None, None),
    ({"*": "[" * 100_000}, "unknown", None, None),
])  # fmt: skip
async def test_what_answers(raw_serve, host, pages, kind, version, models):
    server = await raw_serve(pages=pages)
    assert await look(host(), server.url) == [ServerInfo(server.url, kind, version, models)]


@pytest.mark.parametrize("more", [{}, OLLAMA, VLLM])
async def test_llama_server_is_known_by_its_header_with_any_other_api(raw_serve, host, more):
    async def page(peer, request):
        body = (more | LISTED | {"/props": {"build_info": "b6200-abc"}}).get(request.path, {})
        await peer.reply(body, Server="llama.cpp")

    server = await raw_serve(pages={"*": page})
    assert await look(host(), server.url) == [ServerInfo(server.url, "llama-server", "b6200-abc", ("m.gguf",))]


async def test_a_router_of_several_models(raw_serve, host):
    listed = {"data": [{"id": "a", "status": {"value": "loaded"}}, {"id": "b", "status": {"value": "unloaded"}}]}

    async def page(peer, request):
        await peer.reply(listed, Server="llama.cpp")

    server = await raw_serve(pages={"*": page})
    made = host()
    assert await look(made, server.url) == [ServerInfo(server.url, "llama-server", None, ("a", "b"), router=True)]
    _, models = await made.models(server.url)
    assert [model.loaded for model in models] == [True, False]


@pytest.mark.parametrize(("make", "kind"), [
    (OllamaServer, "Ollama"), (VllmServer, "vLLM"), (StudioServer, "LM Studio"), (TgiServer, "TGI"),
])  # fmt: skip
async def test_each_kind(serve, host, make, kind):
    served = serve(make())
    (found,) = await look(host(), served.url)
    assert found.kind == kind
    assert found.models


async def test_real_servers(llama_server, python_server, host):
    first, second = await look(host(), llama_server, python_server)
    assert (first.kind, first.models) == ("llama-server", ("demo",))
    assert (second.kind, second.models) == ("OpenAI-compatible", ("demo",))


async def test_several_in_their_order_and_those_that_are_not_there(raw_serve, host):
    one, other = await raw_serve(pages=OLLAMA), await raw_serve(pages=VLLM)
    first, nobody, second = await look(host(), one.url, "http://127.0.0.1:9", other.url)
    assert (first.kind, second.kind) == ("Ollama", "vLLM")
    assert isinstance(nobody, ServerUnreachableError)


async def test_a_server_that_answers_one_path_alone(raw_serve, host):
    server = await raw_serve(pages={"*": Silence(), **VLLM})
    assert (await look(host(timeouts=QUICK), server.url))[0].kind == "vLLM"


async def test_a_server_that_talks_forever_is_not_waited_for(raw_serve, host):
    async def drip(peer, _request):
        await peer.begin("application/json")
        while True:
            await peer.raw(" " * 1000)

    server = await raw_serve(pages={"*": drip})
    (found,) = await look(host(timeouts=QUICK), server.url)
    assert isinstance(found, ServerTimeoutError) or "longer than" in str(found)
