"""The probabilities of tokens, as servers send them."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.remote.helpers import VLLM_MODELS, events_of, opened, question
from workbench.core.alternatives import LikelyToken
from workbench.core.events import Finished, Token
from workbench.core.models import ModelEntry
from workbench.core.servers import ServerAddress
from workbench.engine.remote.logprobs import read_choices
from workbench.engine.remote.ollama import OllamaDialect

EURO = {"token": "\ufffd", "logprob": -0.5, "bytes": [0xE2, 0x82]}
SKY = {
    "token": " sky",
    "logprob": -1.0,
    "bytes": None,
    "top_logprobs": [{"token": " sea", "logprob": -2.0}, {"token": " sky", "logprob": -1.0}, {"logprob": 0}, "x"],
}


def test_the_form_of_openai_is_read_and_damaged_parts_are_skipped():
    euro, sky = read_choices([EURO, 7, {"token": "a", "logprob": "x"}, SKY, {"token": "a", "logprob": math.nan}])
    assert euro.written == LikelyToken(b"\xe2\x82", -0.5)
    assert euro.likeliest == ()
    assert [token.data for token in sky.likeliest] == [b" sky", b" sea"]
    never = {"token": "z", "logprob": -9999.0}
    (found,) = read_choices([{"token": "b", "logprob": -9999.0, "top_logprobs": [SKY, never]}])
    assert [token.data for token in found.likeliest] == [b" sky"]
    assert found.level == 4


@settings(max_examples=20)
@given(st.recursive(st.none() | st.floats() | st.text() | st.booleans(), lambda each: st.lists(each) | st.dictionaries(
    st.sampled_from(["token", "logprob", "bytes", "top_logprobs"]), each)))  # fmt: skip
def test_nothing_that_a_server_sends_is_an_error(value):
    for choice in read_choices([value]):
        assert choice.written.logprob <= 0


def chunk(text, choices):
    choice = {"index": 0, "delta": {"content": text}, "logprobs": {"content": choices}}
    return {"choices": [choice], "model": "m"}


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_server_is_asked_where_alternatives_are_wanted(raw_serve, host, refuses):
    asked = []

    async def play(peer, request):
        asked.append(request.json)
        if refuses and "logprobs" in request.json:
            await peer.reply({"error": {"message": "logprobs and top_logprobs are not supported"}}, 400)
            return
        await peer.begin()
        # A character of two tokens comes with the second one.
        for each in (chunk("", [EURO]), chunk("\u20ac", [EURO]), chunk(" sky", [SKY])):
            await peer.event(each if not refuses else {"choices": [{"index": 0, "delta": {"content": "x"}}]})
        await peer.raw("data: [DONE]\n\n")

    server = await raw_serve(play, {"/v1/models": VLLM_MODELS})
    engine = await opened(host(), server)
    await events_of(engine, question())
    assert "logprobs" not in asked[0]
    events = await events_of(engine, replace(question(), alternatives=5))
    tokens = [event for event in events if isinstance(event, Token)]
    if refuses:
        assert "does not take logprobs, top_logprobs" in events[-1].notice
        assert not any(token.choices for token in tokens)
    else:
        assert (asked[1]["logprobs"], asked[1]["top_logprobs"]) == (True, 5)
        assert [len(token.choices) for token in tokens] == [2, 1]
        assert isinstance(events[-1], Finished)


def test_ollama_is_asked_with_the_same_fields():
    client = SimpleNamespace(address=ServerAddress("http://localhost:1"))
    dialect = OllamaDialect(client, ModelEntry("http://localhost:1#m", "m"), "0.31.0")
    asked = dialect.question(replace(question(), alternatives=3), 1)
    assert (asked.body["logprobs"], asked.body["top_logprobs"]) == (True, 3)
    assert "logprobs" not in dialect.question(question(), 1).body
    (token,) = dialect.parser(asked, 0, -1).feed({"message": {"content": " sky"}, "logprobs": [SKY]}, 1)
    assert token.choices[0].written.data == b" sky"
