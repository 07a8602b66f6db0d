"""Real clients against the served API, over a real socket."""

from __future__ import annotations

import json

import pytest

from tests.serve.conftest import served
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.events import Token
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.remote.host import RemoteHost

ANSWER = " Good day to you"
CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": PARAMETERS}}
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def address(service, engine):
    engine.thoughts = "Hm"
    with served(service) as address:
        yield address


# The clients take seconds to import, which each worker that collects these tests would spend.
def test_the_client_of_openai(address, engine):
    import openai

    client = openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)
    assert [model.id for model in client.models.list()] == ["toy"]
    found = client.chat.completions.create(model="toy", messages=HELLO, logprobs=True, top_logprobs=1)
    assert found.choices[0].message.content == " Good day to you"
    assert found.choices[0].logprobs.content[0].top_logprobs[0].bytes == [0xC3]
    options = {"include_usage": True}
    parts = list(client.chat.completions.create(model="toy", messages=HELLO, stream=True, stream_options=options))
    assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == " Good day to you"
    assert parts[-1].usage.total_tokens == 12
    schema = {"name": "city", "schema": {"type": "object"}}
    client.chat.completions.create(
        model="toy", messages=HELLO, response_format={"type": "json_schema", "json_schema": schema}
    )
    assert engine.asked[-1].sampling.format == '{"type": "object"}'
    with pytest.raises(openai.BadRequestError, match="n must be"):
        client.chat.completions.create(model="toy", messages=HELLO, n=0)
    engine.text = CALL
    with client.chat.completions.stream(model="toy", messages=HELLO, tools=[WEATHER]) as stream:
        [call] = stream.get_final_completion().choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Paris"}')


def test_the_client_of_anthropic(address, engine):
    import anthropic

    client = anthropic.Anthropic(base_url=address, api_key="any", max_retries=0)
    found = client.messages.create(model="toy", max_tokens=9, messages=HELLO)
    assert [block.type for block in found.content] == ["thinking", "text"]
    with client.messages.stream(model="toy", max_tokens=9, messages=HELLO, system="Be kind.") as stream:
        assert "".join(stream.text_stream) == " Good day to you"
        assert stream.get_final_message().usage.input_tokens == 7
    assert client.messages.count_tokens(model="toy", messages=HELLO).input_tokens == 11
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="toy", max_tokens=9, messages=[])
    engine.text = CALL
    tool = {"name": "get_weather", "input_schema": WEATHER["function"]["parameters"]}
    with client.messages.stream(model="toy", max_tokens=9, messages=HELLO, tools=[tool]) as stream:
        assert stream.get_final_message().content[-1].input == {"city": "Paris"}


def test_the_client_of_ollama(address, engine):
    import ollama

    client = ollama.Client(host=address)
    assert [model.model for model in client.list().models] == ["toy"]
    assert client.show("toy").details.family == "llama"
    assert client.chat("toy", HELLO).message.content == " Good day to you"
    parts = list(client.chat("toy", HELLO, stream=True, think=True))
    assert "".join(part.message.content or "" for part in parts) == " Good day to you"
    assert "".join(part.message.thinking or "" for part in parts) == "Hm"
    assert client.generate("toy", "Hello").eval_count == 5
    engine.text = CALL
    [call] = client.chat("toy", HELLO, tools=[WEATHER]).message.tool_calls
    assert (call.function.name, dict(call.function.arguments)) == ("get_weather", {"city": "Paris"})


@pytest.mark.filterwarnings("ignore")
def test_the_client_of_litellm(address, engine, monkeypatch):
    # It is 400 MB with what it needs: where it is not installed, this is left out.
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = pytest.importorskip("litellm")
    for model, base in (("openai/toy", f"{address}/v1"), ("ollama_chat/toy", address), ("anthropic/toy", address)):
        engine.text = "Good day to you"
        found = litellm.completion(model=model, api_base=base, api_key="any", messages=HELLO, max_tokens=9)
        assert found.choices[0].message.content.strip() == "Good day to you", model
        asked = {"model": model, "api_base": base, "api_key": "any", "messages": HELLO, "max_tokens": 9}
        parts = [part.choices[0].delta.content or "" for part in litellm.completion(stream=True, **asked)]
        assert "".join(parts).strip() == "Good day to you", model
        engine.text = CALL
        [call] = litellm.completion(tools=[WEATHER], **asked).choices[0].message.tool_calls
        assert call.function.name == "get_weather", model
        assert json.loads(call.function.arguments) == {"city": "Paris"}, model


async def test_this_program_as_the_client_of_its_own_server(address, engine):
    host = RemoteHost()
    found = await host.open(f"{address}#toy", LoadSettings(), lambda _: None, CancelToken())
    try:
        request = Request((Message("user", "Hello"),), sampling=Sampling(top_k=3), given=frozenset({"top_k"}))
        events = [event async for batch in found.generate(request, CancelToken()) for event in batch]
    finally:
        await host.shutdown()
    assert "".join(event.text for event in events if isinstance(event, Token) and event.kind == "answer") == ANSWER
    assert "".join(event.text for event in events if isinstance(event, Token) and event.kind == "reasoning") == "Hm"
    assert events[-1].usage.prompt_tokens == 7
    assert engine.asked[-1].sampling.top_k == 3
