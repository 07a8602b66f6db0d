from __future__ import annotations

import json

import pytest

from tests.servers.asking import assert_replays, get, post, stream, user
from tests.servers.lmstudio import CONVERSATION, StudioServer
from tests.servers.script import Exchange, Script

SMALL, THINKING = "smollm2-135m-instruct", "qwen/qwen3-0.6b"


@pytest.fixture
def studio(serve):
    return serve(StudioServer(Script(CONVERSATION)))


def chat(served, text="What is the sea?", model=SMALL, path="/v1", **more):
    body = {"model": model, "messages": user(text), "stream": True, **more}
    return stream(f"{served.url}{path}/chat/completions", body)


def states(served):
    return {model["id"]: model["state"] for model in get(served.url + "/api/v0/models").json()["data"]}


def test_who_it_is(studio):
    models = get(studio.url + "/api/v1/models")
    assert models.headers["x-powered-by"] == "Express"
    first = models.json()["models"][0]
    assert (first["key"], first["loaded_instances"], first["max_context_length"]) == (SMALL, [], 8192)
    assert first["quantization"] == {"name": "Q4_K_M", "bits_per_weight": 4}
    assert [model["id"] for model in get(studio.url + "/v1/models").json()["data"]][:2] == [SMALL, THINKING]


def test_a_path_that_there_is_not_is_answered_with_200(studio):
    answer = get(studio.url + "/version")
    assert (answer.status_code, answer.json()) == (200, {"error": "Unexpected endpoint or method. (GET /version)"})


def test_a_question_loads_the_model(studio):
    assert states(studio)[SMALL] == "not-loaded"
    chat(studio, ttl=60)
    assert states(studio)[SMALL] == "loaded"
    assert studio.server.ttls == {SMALL: 60.0}


def test_load_and_unload(studio):
    body = {"model": THINKING, "context_length": 2048, "echo_load_config": True}
    loaded = post(studio.url + "/api/v1/models/load", body).json()
    assert (loaded["instance_id"], loaded["status"], loaded["load_time_seconds"]) == (THINKING, "loaded", 1.25)
    assert loaded["load_config"]["context_length"] == 2048
    assert states(studio)[THINKING] == "loaded"
    assert post(studio.url + "/api/v1/models/unload", {"instance_id": THINKING}).json() == {"instance_id": THINKING}
    assert states(studio)[THINKING] == "not-loaded"
    assert post(studio.url + "/api/v1/models/unload", {"instance_id": THINKING}).status_code == 404


def test_a_stream(studio):
    answer = chat(studio, "And why?", THINKING, stream_options={"include_usage": True})
    assert answer.headers["content-type"] == "text/event-stream"
    chunks = answer.chunks()
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Hm, why?"
    assert "".join(delta.get("content", "") for delta in deltas) == "Rivers carry salt."
    assert chunks[-1]["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}


def test_the_older_api_reports_times(studio):
    last = chat(studio, path="/api/v0").chunks()[-1]
    assert last["stats"] == {
        "tokens_per_second": 20.0, "time_to_first_token": 0.08, "generation_time": 0.35, "stop_reason": "eosFound",
    }  # fmt: skip
    assert last["model_info"]["quant"] == "Q4_K_M"


def test_named_events(studio):
    answer = stream(studio.url + "/api/v1/chat", {"model": THINKING, "input": "And why?", "stream": True})
    names = [line.removeprefix(b"event: ").decode() for line in answer.body.split(b"\n") if line.startswith(b"event: ")]
    assert names == [json.loads(data)["type"] for data in answer.data()]
    assert list(dict.fromkeys(names)) == [
        "chat.start", "model_load.start", "model_load.progress", "model_load.end", "prompt_processing.start",
        "prompt_processing.progress", "prompt_processing.end", "reasoning.start", "reasoning.delta", "reasoning.end",
        "message.start", "message.delta", "message.end", "chat.end",
    ]  # fmt: skip
    result = json.loads(answer.data()[-1])["result"]
    assert [part["content"] for part in result["output"]] == ["Hm, why?", "Rivers carry salt."]
    assert (result["stats"]["input_tokens"], result["stats"]["total_output_tokens"]) == (31, 7)


def test_errors(serve):
    served = serve(StudioServer(Script([Exchange("?", ("a", "b"), error_after=1)], key="token")))
    assert get(served.url + "/api/v1/models").status_code == 401
    open_ = serve(StudioServer(Script([Exchange("?", ("a", "b"), error_after=1)])))
    assert chat(open_, model="nobody").status == 404
    body = {"model": SMALL, "messages": user("word " * 5000)}
    assert "context length of only 4096" in post(open_.url + "/v1/chat/completions", body).json()["error"]
    broken = chat(open_, "?")
    assert b"event: error\n" in broken.body
    assert "crashed" in json.loads(broken.data()[-1])["error"]["message"]


def test_a_conversation_replays_byte_for_byte_however_it_is_cut(serve):
    assert_replays(serve, StudioServer, CONVERSATION, lambda served, question: chat(served, question, THINKING).body)
