from __future__ import annotations

import subprocess
import sys

from tests.servers.asking import get, post, stream, user
from tests.servers.real import LLAMA_SERVER


def chat(url, text="Hello", limit=4, **more):
    body = {"model": "demo", "messages": user(text), "stream": True, "max_tokens": limit, **more}
    return stream(f"{url}/v1/chat/completions", body)


def test_llama_server_says_who_it_is(llama_server):
    answer = get(llama_server + "/v1/models")
    assert answer.headers["server"] == "llama.cpp"
    assert answer.json()["data"][0]["id"] == "demo"
    assert answer.json()["data"][0]["owned_by"] == "llamacpp"
    props = get(llama_server + "/props").json()
    assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (4, 1024)
    assert get(llama_server + "/health").json() == {"status": "ok"}
    assert len(get(llama_server + "/slots").json()) == 4


def test_llama_server_streams_with_its_timings_and_its_progress(llama_server):
    answer = chat(llama_server, stream_options={"include_usage": True}, return_progress=True)
    chunks = answer.chunks()
    assert any(chunk.get("prompt_progress", {}).get("total") for chunk in chunks)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == chunks[-1]["timings"]["predicted_n"] == 4
    assert "timings" in chat(llama_server).chunks()[-1]
    assert "llamacpp:tokens_predicted_total" in get(llama_server + "/metrics").text


def test_llama_server_reports_errors(llama_server):
    long = post(f"{llama_server}/v1/chat/completions", {"messages": user("word " * 3000)})
    assert (long.status_code, long.json()["error"]["type"]) == (400, "exceed_context_size_error")
    assert long.json()["error"]["n_ctx"] == 1024
    assert get(llama_server + "/nowhere").json()["error"]["code"] == 404


def test_the_server_of_llama_cpp_python_streams(python_server):
    listed = get(python_server + "/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["demo"]
    chunks = chat(python_server).chunks()
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_a_server_ends_with_whoever_started_it(short_demo):
    child = subprocess.Popen(
        [sys.executable, "-c", LLAMA_SERVER, str(short_demo), "demo", "512", "1", "", ""],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    child.stdin.close()
    assert child.wait(60) == 0
