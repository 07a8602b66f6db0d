from __future__ import annotations

import json

import pytest

from tests.servers.asking import assert_replays, get, post, stream, user
from tests.servers.script import Exchange, Script
from tests.servers.tgi import CONVERSATION, TgiServer

FIRST_EVENT = (
    b'data:{"object":"chat.completion.chunk","id":"","created":1787220001,"model":"HuggingFaceTB/SmolLM2-135M-Instruct",'
    b'"system_fingerprint":"3.3.6-dev0-sha-fa4e4bb","choices":[{"index":0,"delta":{"role":"assistant","content":"The"},'
    b'"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
)


@pytest.fixture
def tgi(serve):
    return serve(TgiServer(Script(CONVERSATION)))


def chat(served, text="What is the sea?", **more):
    return stream(f"{served.url}/v1/chat/completions", {"model": "tgi", "messages": user(text), "stream": True, **more})


def test_who_it_is(tgi):
    info = get(tgi.url + "/info").json()
    assert (info["router"], info["model_id"]) == ("text-generation-router", "HuggingFaceTB/SmolLM2-135M-Instruct")
    assert (info["version"], info["max_total_tokens"]) == ("3.3.6-dev0", 4096)
    assert get(tgi.url + "/health").content == b""
    assert "tgi_queue_size 0" in get(tgi.url + "/metrics").text


def test_events_have_no_blank(tgi):
    answer = chat(tgi, stream_options={"include_usage": True})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body.startswith(FIRST_EVENT)
    assert answer.body.endswith(b"data:[DONE]\n\n")
    chunks = answer.chunks("")
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * 7 + ["stop"]
    assert chunks[-1]["usage"] == {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}


def test_the_last_token_of_a_text_that_is_cut_off_says_so(tgi):
    chunks = chat(tgi, max_tokens=2).chunks("")
    assert [(chunk["choices"][0]["delta"]["content"], chunk["choices"][0]["finish_reason"]) for chunk in chunks] == [
        ("The", None), (" sea", "length"),
    ]  # fmt: skip


def test_the_native_stream(tgi):
    body = {"inputs": "What is the sea?", "parameters": {"max_new_tokens": 50}}
    events = [json.loads(data) for data in stream(tgi.url + "/generate_stream", body).data("")]
    assert (
        "".join(event["token"]["text"] for event in events if not event["token"]["special"])
        == events[-1]["generated_text"]
    )
    assert events[-1]["details"] == {
        "finish_reason": "eos_token",
        "generated_tokens": 8,
        "seed": None,
        "input_length": 12,
    }


def test_times_are_in_headers_where_nothing_streams(tgi):
    answer = post(tgi.url + "/generate", {"inputs": "What is the sea?"})
    assert answer.json() == {"generated_text": "The sea is salt water – 水."}
    assert (answer.headers["x-prompt-tokens"], answer.headers["x-generated-tokens"]) == ("12", "7")
    assert answer.headers["x-inference-time"] == "430"


def test_errors(serve):
    served = serve(TgiServer(Script([Exchange("?", ("a", "b"), error_after=1)]), most_requests=0))
    overloaded = post(served.url + "/generate", {"inputs": "?"})
    assert (overloaded.status_code, overloaded.json()["error_type"]) == (429, "overloaded")
    served.server.most_requests = None
    assert post(served.url + "/generate", {}).status_code == 422
    long = post(served.url + "/v1/chat/completions", {"messages": user("word " * 5000)})
    assert (long.status_code, long.json()["error_type"]) == (422, "validation")
    assert json.loads(chat(served, "?").data("")[-1])["error_type"] == "generation"


def test_a_conversation_replays_byte_for_byte_however_it_is_cut(serve):
    assert_replays(serve, TgiServer, CONVERSATION, lambda served, question: chat(served, question).body)
