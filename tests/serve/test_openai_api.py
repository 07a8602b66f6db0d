"""OpenAI's API: what a body means for the engine, and what comes back."""

from __future__ import annotations

import json

import pytest

from workbench.core.chat import Message
from workbench.core.errors import ContextFullError, EngineError
from workbench.core.tools import ToolCall

CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
HELLO = [{"role": "user", "content": "Hello"}]


async def chat(client, **body):
    return await client.post("/v1/chat/completions", json={"messages": HELLO, **body})


def events_of(text: str) -> list[dict]:
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_an_answer_with_its_usage(client, engine):
    found = (await chat(client)).json()
    assert found["object"] == "chat.completion"
    assert found["model"] == "toy"
    [choice] = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Good day to you"}
    assert choice["finish_reason"] == "stop"
    assert found["usage"]["prompt_tokens"] == 7
    assert found["usage"]["total_tokens"] == 11
    assert found["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}
    assert engine.asked[0].messages == (Message("user", "Hello"),)


async def test_thoughts_are_apart(client, engine):
    engine.thoughts = "Be kind."
    found = (await chat(client)).json()["choices"][0]["message"]
    assert found["reasoning_content"] == "Be kind."
    assert found["content"].strip() == "Good day to you"


async def test_a_stream_begins_with_the_role_and_ends_with_usage(client, engine):
    engine.thoughts = "Hm"
    response = await chat(client, stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response.text)
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Hm"
    assert "".join(delta.get("content", "") for delta in deltas) == " Good day to you"
    assert [event["choices"][0]["finish_reason"] for event in events if event["choices"]][-1] == "stop"
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 5
    assert len({event["id"] for event in events}) == 1


async def test_without_asking_no_event_is_without_a_choice(client):
    assert all(event["choices"] for event in events_of((await chat(client, stream=True)).text))


@pytest.mark.parametrize(
    ("body", "name", "value"),
    [
        ({}, "top_k", 7),
        ({"temperature": 0}, "temperature", 0.0),
        ({"top_k": 3.0}, "top_k", 3),
        ({"max_tokens": 5}, "num_predict", 5),
        ({"max_tokens": 5, "max_completion_tokens": 9}, "num_predict", 9),
        ({"stop": "END"}, "stop", ("END",)),
        ({"stop": ["a", "b"]}, "stop", ("a", "b")),
        ({"stop": None}, "stop", ()),
        ({"seed": 4}, "seed", 4),
        ({"logit_bias": {"12": -100}}, "logit_bias", ("12=-100",)),
        ({"reasoning_effort": "none"}, "think", "off"),
        ({"reasoning_effort": "high"}, "think", "high"),
        ({"response_format": {"type": "json_object"}}, "format", "json"),
        ({"response_format": {"type": "text"}}, "format", ""),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
            "format",
            '{"type": "object"}',
        ),
        ({"user": "me", "store": True, "metadata": {}, "parallel_tool_calls": False}, "temperature", 0.5),
    ],
)
async def test_sampling_of_the_body_counts_over_that_of_the_model(client, engine, body, name, value):
    assert (await chat(client, **body)).status_code == 200
    assert getattr(engine.asked[0].sampling, name) == value
    assert "top_k" in engine.asked[0].given


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"stop": [1]}, "stop"),
        ({"n": 0}, "n must be"),
        ({"n": 17}, "n must be"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"tools": [{"type": "function"}]}, "tools.0.function.name"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [WEATHER], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"function": {"name": "other"}}}, "tool_choice"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1"}}]}]},
            "arguments",
        ),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"top_logprobs": 21}, "log-probabilities"),
    ],
)
async def test_a_body_that_cannot_be_honoured_is_refused_by_the_name_of_the_field(client, engine, body, named):
    response = await client.post(
        "/v1/chat/completions",
        content=json.dumps({"messages": HELLO, **body}),
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert named in error["message"]
    assert not engine.asked


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_object_is_refused(client, data):
    response = await client.post("/v1/chat/completions", content=data, headers={"content-type": "application/json"})
    assert response.status_code == 400


async def test_tools_that_may_not_be_called_are_not_shown_to_the_model(client, engine):
    assert (await chat(client, tools=[WEATHER], tool_choice="none")).status_code == 200
    assert engine.asked[0].tools == ()


async def test_a_model_without_tools_refuses_them_before_anything_is_sent(client, engine):
    engine.tools = EngineError("No place for tools.", "Leave them out.")
    response = await chat(client, tools=[WEATHER], stream=True)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "tools"
    assert "Leave them out." in response.json()["error"]["message"]


async def test_a_call_of_a_tool(client, engine):
    engine.text = f"I look. {CALL}"
    [choice] = (await chat(client, tools=[WEATHER])).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "I look."
    [call] = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    [asked] = engine.asked
    assert [tool.name for tool in asked.tools] == ["get_weather"]
    assert asked.tools[0].schema == WEATHER["function"]["parameters"]


async def test_a_call_in_a_stream_has_its_name_first(client, engine):
    engine.text = f"I look. {CALL} {CALL}"
    events = events_of((await chat(client, tools=[WEATHER], stream=True)).text)
    calls = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", [])]
    assert [call["index"] for call in calls] == [0, 0, 1, 1]
    assert calls[0]["function"] == {"name": "get_weather", "arguments": ""}
    assert "".join(call["function"]["arguments"] for call in calls[:2]) == '{"city": "Paris"}'
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert "tool_call>" not in "".join(str(event["choices"][0]["delta"].get("content")) for event in events)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_a_call_that_is_required_is_the_format_of_the_answer(client, engine, choice):
    engine.text = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
    [found] = (await chat(client, tools=[WEATHER], tool_choice=choice)).json()["choices"]
    assert found["message"]["content"] is None
    assert found["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
    assert json.loads(engine.asked[0].sampling.format)["properties"]["name"] == {"const": "get_weather"}


async def test_a_result_goes_back_with_the_name_of_its_tool(client, engine):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    await chat(
        client, tools=[WEATHER], messages=[*HELLO, answer, {"role": "tool", "tool_call_id": "c1", "content": "Sun"}]
    )
    _, asked, result = engine.asked[0].messages
    assert asked.calls == (ToolCall("get_weather", '{"city": "Paris"}', "c1"),)
    assert result == Message("tool", "Sun", call_id="c1", tool="get_weather")


async def test_several_answers_are_computed_together_with_seeds_of_their_own(client, engine):
    found = (await chat(client, n=3, seed=7)).json()
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in found["choices"]} == {"Good day to you"}
    assert [request.sampling.seed for request in engine.asked] == [7, 8, 9]
    assert found["usage"] == {**found["usage"], "prompt_tokens": 7, "completion_tokens": 12, "total_tokens": 19}
    events = events_of((await chat(client, n=2, stream=True, stream_options={"include_usage": True})).text)
    for index in (0, 1):
        mine = [event["choices"][0] for event in events if event["choices"] and event["choices"][0]["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in mine) == "Good day to you"
        assert mine[-1]["finish_reason"] == "stop"
    assert events[-1]["usage"]["completion_tokens"] == 8


async def test_a_failure_of_one_of_several_answers_ends_the_stream_and_the_others(client, engine, service):
    engine.error = EngineError("It broke.")
    text = (await chat(client, n=2, stream=True)).text
    assert "It broke." in text
    assert "[DONE]" not in text
    assert not service.running


async def test_parts_of_text_are_joined_and_developers_speak_as_the_system(client, engine):
    parts = [{"type": "text", "text": "Good "}, {"type": "text", "text": "day"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    await chat(client, messages=messages)
    assert engine.asked[0].messages == (Message("system", "Be brief."), Message("user", "Good day"))


async def test_the_beginning_of_an_answer_is_continued(client, engine):
    await chat(client, messages=[*HELLO, {"role": "assistant", "content": "Good"}])
    assert engine.asked[0].continues


async def test_log_probabilities(client, engine):
    [choice] = (await chat(client, logprobs=True, top_logprobs=3)).json()["choices"]
    assert engine.asked[0].alternatives == 3
    first = choice["logprobs"]["content"][0]
    assert first["token"] == "x"
    assert first["logprob"] == -0.5
    assert first["top_logprobs"][0]["bytes"] == [0xC3]


async def test_a_completion_has_no_template(client, engine):
    found = (await client.post("/v1/completions", json={"prompt": "Once", "logprobs": 1})).json()
    assert found["object"] == "text_completion"
    assert found["choices"][0]["text"] == "Good day to you"
    assert found["choices"][0]["logprobs"]["tokens"][0] == "x"
    assert engine.asked[0].prompt == "Once"
    assert not engine.asked[0].messages


@pytest.mark.parametrize("body", [{}, {"prompt": ["a", "b"]}, {"prompt": 1}, {"prompt": "a", "echo": True}])
async def test_a_completion_needs_one_prompt(client, body):
    assert (await client.post("/v1/completions", json=body)).status_code == 400


async def test_a_full_context_is_the_fault_of_the_request(client, engine):
    engine.error = ContextFullError("The prompt has 9 tokens.", "Shorten it.")
    response = await chat(client)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert "Shorten it." in response.json()["error"]["message"]


async def test_a_failure_is_not_tried_again(client, engine):
    engine.error = EngineError("It broke.")
    response = await chat(client)
    assert response.status_code == 500
    assert response.headers["x-should-retry"] == "false"


async def test_a_failure_in_a_stream_is_an_event_and_no_end(client, engine):
    engine.error = EngineError("It broke.")
    text = (await chat(client, stream=True)).text
    assert "It broke." in text
    assert "[DONE]" not in text


async def test_a_full_queue_says_when_to_come_back(client, service, monkeypatch):
    monkeypatch.setattr("workbench.serve.service.MOST_AT_ONCE", -2)
    response = await chat(client)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"


async def test_the_list_of_models(client):
    [model] = (await client.get("/v1/models")).json()["data"]
    assert model["id"] == "toy"
    assert model["max_model_len"] == 2048
    assert (await client.get("/v1/models/toy")).json() == model
    assert (await client.get("/v1/models/other")).status_code == 404
