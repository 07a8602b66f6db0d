from __future__ import annotations

import threading

import pytest

from tests.servers.asking import assert_replays, get, post, stream, user
from tests.servers.script import Exchange, Pace, Script
from tests.servers.vllm import CONVERSATION, VllmServer

NAME = "Qwen/Qwen3-0.6B"
FIRST_EVENTS = (
    b'data: {"id":"chatcmpl-00000000000000000000000000000001","object":"chat.completion.chunk","created":1787220001,'
    b'"model":"Qwen/Qwen3-0.6B","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
    b'data: {"id":"chatcmpl-00000000000000000000000000000001","object":"chat.completion.chunk","created":1787220001,'
    b'"model":"Qwen/Qwen3-0.6B","choices":[{"index":0,"delta":{"content":"The"},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
)


def chat(served, text="What is the sea?", **more):
    return stream(f"{served.url}/v1/chat/completions", {"model": NAME, "messages": user(text), "stream": True, **more})


@pytest.fixture
def vllm(serve):
    return serve(VllmServer(Script(CONVERSATION), prompt_details=True))


def test_who_it_is(vllm):
    listed = get(vllm.url + "/v1/models")
    assert listed.headers["server"] == "uvicorn"
    entry = listed.json()["data"][0]
    assert (entry["id"], entry["owned_by"], entry["max_model_len"]) == (NAME, "vllm", 4096)
    assert get(vllm.url + "/version").json() == {"version": "0.13.0"}
    assert [(get(vllm.url + path).status_code, get(vllm.url + path).content) for path in ("/health", "/ping")] == [
        (200, b"")
    ] * 2
    assert get(vllm.url + "/").json() == {"detail": "Not Found"}


def test_a_stream(vllm):
    answer = chat(vllm)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.body.startswith(FIRST_EVENTS)
    chunks = answer.chunks()
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "The sea is salt water – 水."
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in chunk for chunk in chunks)


def test_usage_comes_in_a_chunk_without_choices(vllm):
    chunks = chat(vllm, "And why?", stream_options={"include_usage": True}).chunks()
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 31, "total_tokens": 38, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 16},
    }  # fmt: skip
    counted = chat(vllm, stream_options={"include_usage": True, "continuous_usage_stats": True}).chunks()
    assert [chunk["usage"]["completion_tokens"] for chunk in counted] == [0, 1, 2, 3, 4, 5, 6, 7, 7, 7]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_comes_in_a_field_of_its_own(serve, field):
    served = serve(VllmServer(Script(CONVERSATION), reasoning_field=field))
    deltas = [chunk["choices"][0]["delta"] for chunk in chat(served, "And why?").chunks()]
    assert "".join(delta.get(field, "") for delta in deltas) == "Hm, why?"


def test_metrics_of_a_request_where_they_are_switched_on(serve):
    served = serve(VllmServer(Script(CONVERSATION), request_metrics=True))
    last = chat(served, stream_options={"include_usage": True}).chunks()[-1]
    assert last["metrics"]["generation_time_ms"] == 350.0
    assert last["metrics"]["tokens_per_second"] == 20.0


def test_a_conversation_replays_byte_for_byte_however_it_is_cut(serve):
    assert_replays(serve, VllmServer, CONVERSATION, lambda served, question: chat(served, question).body)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"model": "x", "messages": user("?")}, 404, "`x` does not exist"),
        ({"messages": []}, 400, "messages"),
        ({"messages": user("?"), "stream_options": {}}, 200, ""),
        ({"messages": user("?"), "stream_options": {"include_usage": True}}, 400, "Stream options"),
        ({"messages": user("word " * 5000)}, 400, "maximum context length is 4096"),
    ],
)
def test_errors_have_a_number_for_a_code(vllm, body, status, word):
    answer = post(vllm.url + "/v1/chat/completions", body)
    assert answer.status_code == status
    if status != 200:
        error = answer.json()["error"]
        assert error["code"] == status
        assert word in error["message"]


def test_an_error_in_a_stream_is_an_event(serve):
    served = serve(VllmServer(Script([Exchange("?", ("a", "b"), error_after=1)])))
    assert chat(served, "?").chunks()[-1]["error"]["code"] == 500


def test_a_key(serve):
    served = serve(VllmServer(Script(CONVERSATION, key="secret")))
    assert get(served.url + "/v1/models").json() == {"error": "Unauthorized"}
    assert get(served.url + "/v1/models", Authorization="Bearer secret").status_code == 200


def test_prompts_that_begin_alike_are_cached(serve):
    served = serve(VllmServer(prompt_details=True))
    options = {"stream_options": {"include_usage": True}}
    cached = [
        chat(served, text, **options).chunks()[-1]["usage"]["prompt_tokens_details"]["cached_tokens"]
        for text in ("a b c d", "a b x y", "z a b c")
    ]
    assert cached == [0, 2, 0]


def test_it_batches_as_many_as_it_has_slots(serve):
    served = serve(VllmServer(Script(pace=Pace(slots=2, decode_tps=200))))
    threads = [
        threading.Thread(target=chat, args=(served, str(number)), kwargs={"max_tokens": 8}) for number in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served.server.model.most_running == 2
    assert served.server.model.finished == 5
    assert (
        'vllm:generation_tokens_total{engine="0",model_name="Qwen/Qwen3-0.6B"} 40.0'
        in get(served.url + "/metrics").text
    )
