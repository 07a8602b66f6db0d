"""The engine behind the served API."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.serve.conftest import service_of
from workbench.core.parameters import Sampling
from workbench.core.serving import ServingAddress
from workbench.engine.llama.engine import LlamaEngine
from workbench.engine.llama.states import StateCache
from workbench.engine.llama.template import ChatTemplate
from workbench.serve.app import Api

QWEN = Path(__file__).parent.parent / "templates/Qwen-Qwen3-0.6B.jinja"
HELLO = [{"role": "user", "content": "Hello"}]
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}


def client_of(engine) -> httpx.AsyncClient:
    service = service_of(engine, sampling=Sampling(temperature=0.0, num_predict=8))
    transport = httpx.ASGITransport(app=Api(service, ServingAddress()).app())
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60)


@pytest.fixture
async def qwen(engine, loaded):
    """The same model with a template that has tools."""
    template = ChatTemplate(QWEN.read_text(encoding="utf-8"))
    other = LlamaEngine(loaded._model, loaded.info, template, loaded._controls, StateCache(0), "qwen", lambda _: None)
    yield other
    other._answers.close()


async def test_a_conversation_is_answered_and_finds_its_prefix(engine):
    async with client_of(engine) as client:
        body = {"messages": HELLO, "logprobs": True, "top_logprobs": 2}
        first, again = [(await client.post("/v1/chat/completions", json=body)).json() for _ in range(2)]
    assert first["choices"][0]["message"] == again["choices"][0]["message"]
    assert len(first["choices"][0]["logprobs"]["content"]) == first["usage"]["completion_tokens"] == 8
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


async def test_two_answers_of_one_request_differ_by_their_seeds(engine):
    async with client_of(engine) as client:
        body = {"messages": HELLO, "n": 2, "seed": 3, "temperature": 1.5}
        found = (await client.post("/v1/chat/completions", json=body)).json()
    texts = [choice["message"]["content"] for choice in found["choices"]]
    assert texts[0] != texts[1]
    assert found["usage"]["completion_tokens"] == 16


async def test_a_model_without_tools_says_so_with_a_status(engine):
    async with client_of(engine) as client:
        for path in ("/v1/chat/completions", "/v1/messages", "/api/chat"):
            tools = [{"name": "f", "input_schema": {}}] if path == "/v1/messages" else [WEATHER]
            response = await client.post(path, json={"messages": HELLO, "tools": tools, "stream": True})
            assert response.status_code == 400
            assert "no place for tools" in response.text


async def test_a_required_call_is_held_by_a_grammar(qwen):
    async with client_of(qwen) as client:
        body = {"messages": HELLO, "tools": [WEATHER], "tool_choice": "required", "max_tokens": 64}
        [choice] = (await client.post("/v1/chat/completions", json=body)).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    [call] = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}


async def test_a_schema_that_no_grammar_can_hold_is_the_fault_of_the_request(qwen):
    odd = {"type": "object", "properties": {"x": {"not": {}}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": odd}}
    async with client_of(qwen) as client:
        body = {"messages": HELLO, "tools": [tool], "tool_choice": "required"}
        response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400


async def test_calls_and_results_go_back_to_the_model(qwen):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    result = {"role": "tool", "tool_call_id": "c1", "content": "Sunshine."}
    messages = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}, result]
    async with client_of(qwen) as client:
        response = await client.post("/v1/chat/completions", json={"messages": messages, "tools": [WEATHER]})
        bare = await client.post("/v1/chat/completions", json={"messages": HELLO})
    assert response.status_code == 200
    assert response.json()["usage"]["prompt_tokens"] > bare.json()["usage"]["prompt_tokens"] + 60
