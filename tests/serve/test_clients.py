"""Real clients against the served API, over a real socket."""

from __future__ import annotations

import pytest

from tests.serve.conftest import served

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
    with pytest.raises(openai.BadRequestError, match="n must be 1"):
        client.chat.completions.create(model="toy", messages=HELLO, n=2)


def test_the_client_of_anthropic(address):
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


def test_the_client_of_ollama(address):
    import ollama

    client = ollama.Client(host=address)
    assert [model.model for model in client.list().models] == ["toy"]
    assert client.show("toy").details.family == "llama"
    assert client.chat("toy", HELLO).message.content == " Good day to you"
    parts = list(client.chat("toy", HELLO, stream=True, think=True))
    assert "".join(part.message.content or "" for part in parts) == " Good day to you"
    assert "".join(part.message.thinking or "" for part in parts) == "Hm"
    assert client.generate("toy", "Hello").eval_count == 5
