"""Anthropic's and Ollama's API, the health check and the figures."""

from __future__ import annotations

import json

import pytest

from workbench.core.chat import Message
from workbench.core.errors import EngineError
from workbench.core.tools import ToolCall

CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
HELLO = [{"role": "user", "content": "Hello"}]


async def test_a_message_of_anthropic(client, engine):
    engine.thoughts, engine.reason = "Hm", "length"
    system, thinking = [{"type": "text", "text": "Be kind."}], {"type": "enabled", "budget_tokens": 4}
    body = {"max_tokens": 9, "system": system, "messages": HELLO, "stop_sequences": ["x"], "thinking": thinking}
    found = (await client.post("/v1/messages", json=body)).json()
    assert [block["type"] for block in found["content"]] == ["thinking", "text"]
    assert found["stop_reason"] == "max_tokens"
    assert found["usage"] == {"input_tokens": 7, "output_tokens": 5}
    [asked] = engine.asked
    assert asked.messages == (Message("system", "Be kind."), Message("user", "Hello"))
    assert (asked.sampling.num_predict, asked.sampling.stop) == (9, ("x",))
    assert (asked.sampling.think, asked.sampling.think_budget) == ("on", 4)


async def test_a_stream_of_anthropic_has_named_events_and_closed_blocks(client, engine):
    engine.thoughts = "Hm"
    text = (await client.post("/v1/messages", json={"messages": HELLO, "stream": True})).text
    names = [line.removeprefix("event: ") for line in text.split("\n") if line.startswith("event: ")]
    assert names[0] == "message_start"
    assert names[-2:] == ["message_delta", "message_stop"]
    assert names.count("content_block_start") == names.count("content_block_stop") == 2
    events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n") if line.startswith("data: ")]
    assert [event["type"] for event in events] == names
    written = "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    assert written == " Good day to you"


async def test_errors_of_anthropic_have_its_form(client, engine):
    response = await client.post("/v1/messages", json={"messages": [{"role": "tool", "content": "x"}]})
    assert response.status_code == 400
    assert response.json()["type"] == "error"
    engine.error = EngineError("It broke.")
    text = (await client.post("/v1/messages", json={"messages": HELLO, "stream": True})).text
    assert "event: error" in text
    assert "message_stop" not in text


async def test_a_tool_of_anthropic(client, engine):
    engine.text = f"I look. {CALL}"
    tool = {"name": "get_weather", "description": "d", "input_schema": {"type": "object"}}
    use = {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Rome"}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "Rain"}]}
    messages = [*HELLO, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    body = {"max_tokens": 9, "messages": messages, "tools": [tool]}
    found = (await client.post("/v1/messages", json=body)).json()
    assert found["stop_reason"] == "tool_use"
    text, call = found["content"]
    assert (text["text"], call["name"], call["input"]) == ("I look.", "get_weather", {"city": "Paris"})
    assert engine.asked[0].messages[1].calls == (ToolCall("get_weather", '{"city": "Rome"}', "c1"),)
    assert engine.asked[0].messages[2] == Message("tool", "Rain", call_id="c1", tool="get_weather")
    text = (await client.post("/v1/messages", json={**body, "stream": True, "tool_choice": {"type": "any"}})).text
    assert engine.asked[1].sampling.format
    events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n") if line.startswith("data: ")]
    starts = [event for event in events if event["type"] == "content_block_start"]
    assert [event["content_block"]["type"] for event in starts] == ["text", "tool_use"]
    assert [event["index"] for event in starts] == [0, 1]
    [delta] = [event["delta"] for event in events if event.get("delta", {}).get("type") == "input_json_delta"]
    assert json.loads(delta["partial_json"]) == {"city": "Paris"}
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


async def test_a_tool_of_ollama(client, engine):
    engine.text = CALL
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    asked = {"role": "assistant", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Rome"}}}]}
    messages = [*HELLO, asked, {"role": "tool", "tool_name": "get_weather", "content": "Rain"}]
    lines = (await client.post("/api/chat", json={"messages": messages, "tools": [tool]})).text.splitlines()
    calls = [call for line in lines for call in json.loads(line)["message"].get("tool_calls", [])]
    assert calls == [{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]
    assert engine.asked[0].messages[2].tool == "get_weather"
    assert engine.asked[0].messages[1].calls[0].values == {"city": "Rome"}
    shown = (await client.post("/api/show", json={})).json()
    assert "tools" in shown["capabilities"]
    engine.tools = EngineError("None.")
    assert "tools" not in (await client.post("/api/show", json={})).json()["capabilities"]


async def test_tokens_are_counted(client):
    response = await client.post("/v1/messages/count_tokens", json={"messages": HELLO})
    assert response.json() == {"input_tokens": 11}


@pytest.mark.parametrize(("path", "field"), [("/api/chat", "message"), ("/api/generate", "response")])
async def test_ollama_streams_lines_unless_told_otherwise(client, engine, path, field):
    body = {"messages": HELLO, "prompt": "Hello", "options": {"temperature": 0, "num_ctx": 9}, "think": False}
    lines = [json.loads(line) for line in (await client.post(path, json=body)).text.splitlines()]
    texts = [line[field]["content"] if field == "message" else line[field] for line in lines]
    assert "".join(texts) == "Good day to you"
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["prompt_eval_count"] == 7
    assert engine.asked[0].sampling.temperature == 0
    assert engine.asked[0].sampling.think == "off"
    whole = (await client.post(path, json={**body, "stream": False})).json()
    assert (whole[field]["content"] if field == "message" else whole[field]) == "Good day to you"
    assert whole["done_reason"] == "stop"


@pytest.mark.parametrize(("path", "body"), [("/api/chat", {"messages": []}), ("/api/generate", {"prompt": ""})])
async def test_a_request_of_ollama_that_asks_nothing_loads_the_model(client, engine, path, body):
    found = (await client.post(path, json={**body, "options": {"num_ctx": 4096}, "keep_alive": -1})).json()
    assert (found["done"], found["done_reason"]) == (True, "load")
    assert not engine.asked


async def test_ollama_errors_are_texts(client, engine):
    response = await client.post("/api/chat", json={"messages": HELLO, "options": {"temperature": "hot"}})
    assert response.status_code == 400
    assert "temperature" in response.json()["error"]
    engine.error = EngineError("It broke.")
    lines = (await client.post("/api/chat", json={"messages": HELLO})).text.splitlines()
    assert "It broke." in json.loads(lines[-1])["error"]


@pytest.mark.parametrize("path", ["/api/tags", "/api/ps"])
async def test_ollama_lists_the_model(client, path):
    [model] = (await client.get(path)).json()["models"]
    assert model["name"] == model["model"] == "toy"
    assert model["details"]["quantization_level"] == "Q8_0"
    assert all(isinstance(model[name], str) for name in ("modified_at", "digest"))


async def test_ollama_shows_the_model(client):
    for body in ({"model": "toy"}, {"name": "toy"}):
        found = (await client.post("/api/show", json=body)).json()
        assert found["model_info"]["llama.context_length"] == 2048
        assert "top_k 7" in found["parameters"].splitlines()
    assert (await client.get("/")).text == "Ollama is running"
    assert (await client.get("/api/version")).json()["version"]


async def test_health_and_figures(client, engine):
    assert (await client.get("/health")).json() == {"status": "ok"}
    await client.post("/v1/chat/completions", json={"messages": HELLO})
    text = (await client.get("/metrics")).text
    assert 'workbench_requests_total{model="toy",end="stop"} 1' in text
    assert 'workbench_prompt_tokens_total{model="toy"} 7' in text
    assert 'workbench_requests_running{model="toy"} 0' in text


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("POST", "/v1/nothing"), ("DELETE", "/api/delete")])
async def test_what_is_not_there_is_said(client, method, path):
    response = await client.request(method, path, json={})
    assert response.status_code == 404
    assert path in json.dumps(response.json())


async def test_embeddings_are_refused(client):
    assert (await client.post("/v1/embeddings", json={"input": "x"})).status_code == 501
