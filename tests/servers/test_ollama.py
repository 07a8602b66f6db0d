from __future__ import annotations

import hashlib

import pytest

from tests.servers.asking import ask, get, post, stream, user
from tests.servers.ollama import CONVERSATION, OllamaServer, go_json, seconds_of
from tests.servers.script import Exchange, Script

FIRST_STREAM = (
    b'{"model":"smollm2:135m","created_at":"2026-08-20T10:00:01.123456789Z",'
    b'"message":{"role":"assistant","content":"The"},"done":false}\n'
)
LAST_LINE = (
    b'{"model":"smollm2:135m","created_at":"2026-08-20T10:00:01.123456789Z",'
    b'"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":1680000000,'
    b'"load_duration":1250000000,"prompt_eval_count":12,"prompt_eval_duration":80000000,"eval_count":7,'
    b'"eval_duration":350000000}\n'
)


@pytest.fixture
def ollama(serve):
    return serve(OllamaServer(Script(CONVERSATION)))


def chat(served, text="What is the sea?", model="smollm2:135m", **more):
    return stream(f"{served.url}/api/chat", {"model": model, "messages": user(text), **more})


def test_who_it_is(ollama):
    front = get(ollama.url)
    assert (front.text, front.headers["content-type"]) == ("Ollama is running", "text/plain; charset=utf-8")
    assert "server" not in front.headers
    assert get(ollama.url + "/api/version").json() == {"version": "0.33.0"}
    assert get(ollama.url + "/nowhere").status_code == 404


def test_a_stream_is_lines_of_json_with_the_figures_in_the_last(ollama):
    answer = chat(ollama)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.body.startswith(FIRST_STREAM)
    assert answer.body.endswith(LAST_LINE)
    assert "".join(line["message"]["content"] for line in answer.lines()) == "The sea is salt water – 水."


def test_a_conversation_replays_byte_for_byte(serve):
    once, again = (serve(OllamaServer(Script(CONVERSATION))) for _ in range(2))
    questions = [exchange.question for exchange in CONVERSATION]
    assert [chat(once, question).body for question in questions] == [
        chat(again, question).body for question in questions
    ]


def test_cuts_change_where_the_bytes_part_and_nothing_else(serve):
    whole = chat(serve(OllamaServer(Script(CONVERSATION))))
    cut = chat(serve(OllamaServer(Script(CONVERSATION, cut_seed=3))))
    assert cut.body == whole.body
    assert any(not part.endswith(b"\n") for part in cut.arrived)


def test_a_recorded_stream_is_sent_as_it_is(serve):
    recorded = b'{"model":"x","message":{"role":"assistant","content":"a"},"done":true}\n'
    assert chat(serve(OllamaServer(Script([Exchange("?", recorded=recorded)]))), "?").body == recorded


def test_reasoning_comes_in_a_field_of_its_own(ollama):
    question = CONVERSATION[1].question
    lines = chat(ollama, question, model="qwen3:0.6b").lines()
    assert "".join(line["message"].get("thinking", "") for line in lines) == "Hm, why?"
    assert lines[0]["message"] == {"role": "assistant", "content": "", "thinking": "Hm"}
    assert lines[-1]["prompt_eval_cached_count"] == 19
    assert not any("thinking" in line["message"] for line in chat(ollama, question, "qwen3:0.6b", think=False).lines())
    refused = chat(ollama, question, think=True)
    assert (refused.status, refused.lines()) == (400, [{"error": '"smollm2:135m" does not support thinking'}])


def test_signs_are_escaped_as_go_does_it():
    assert go_json({"content": "<b> & ü"}) == '{"content":"\\u003cb\\u003e \\u0026 ü"}'.encode()


def test_an_answer_may_be_limited_and_come_at_once(ollama):
    answer = post(ollama.url + "/api/generate", {
        "model": "smollm2:135m", "prompt": "What is the sea?", "stream": False, "options": {"num_predict": 2},
    })  # fmt: skip
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert (answer.json()["response"], answer.json()["done_reason"], answer.json()["eval_count"]) == (
        "The sea",
        "length",
        2,
    )


def test_a_prompt_that_is_too_long_is_cut_without_a_word(serve):
    served = serve(OllamaServer(Script()))
    long = " ".join(map(str, range(100)))
    assert chat(served, long, options={"num_ctx": 32}).lines()[-1]["prompt_eval_count"] == 31
    assert chat(served, long, options={"num_ctx": 32}, truncate=False).status == 400


def test_errors_before_and_in_a_stream(serve):
    served = serve(
        OllamaServer(Script([Exchange("?", ("a", "b"), error_after=1), Exchange("!", ("a", "b"), ends_after=1)]))
    )
    missing = chat(served, model="nobody")
    assert (missing.status, missing.lines()) == (404, [{"error": "model 'nobody' not found"}])
    broken = chat(served, "?")
    assert broken.status == 200
    assert [set(line) - {"model", "created_at"} for line in broken.lines()] == [{"message", "done"}, {"error"}]
    assert [line["done"] for line in chat(served, "!").lines()] == [False]


def test_an_empty_question_loads_and_unloads(ollama):
    def loaded():
        return [model["name"] for model in get(ollama.url + "/api/ps").json()["models"]]

    def ask_nothing(**more):
        return post(ollama.url + "/api/generate", {"model": "smollm2:135m", **more}).json()["done_reason"]

    assert (ask_nothing(keep_alive="10m"), loaded()) == ("load", ["smollm2:135m"])
    assert get(ollama.url + "/api/ps").json()["models"][0]["context_length"] == 4096
    assert (ask_nothing(keep_alive=0), loaded()) == ("unload", [])
    chat(ollama)
    assert loaded() == ["smollm2:135m"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("1h30m", 5400), (-1, -1), ("-1", -1), (30, 30), ("0", 0), ("1.5s", 1.5)]
)
def test_how_long_a_model_is_kept(text, seconds):
    assert seconds_of(text) == seconds


def test_what_it_says_of_its_models(ollama):
    listed = get(ollama.url + "/api/tags").json()["models"]
    assert [model["name"] for model in listed] == ["smollm2:135m", "qwen3:0.6b"]
    assert listed[0]["details"]["quantization_level"] == "Q4_K_M"
    shown = post(ollama.url + "/api/show", {"model": "qwen3:0.6b"}).json()
    assert shown["capabilities"] == ["completion", "tools", "thinking"]
    assert shown["model_info"]["llama.context_length"] == 8192
    assert post(ollama.url + "/api/show", {"model": "nobody"}).status_code == 404


def test_a_model_is_made_of_a_blob(ollama):
    content = b"GGUF" + bytes(1000)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    blob = f"{ollama.url}/api/blobs/{digest}"
    body = {"model": "mine", "files": {"model.gguf": digest}, "system": "Be short.", "parameters": {"num_predict": 3}}
    assert post(ollama.url + "/api/create", body).status_code == 400
    assert ask("HEAD", blob).status_code == 404
    assert ask("POST", blob, content=content).status_code == 201
    assert ask("POST", blob, content=content).status_code == 200
    assert ask("HEAD", blob).status_code == 200
    lines = stream(ollama.url + "/api/create", body).lines()
    assert [line["status"].split(" sha256:")[0] for line in lines] == [
        "parsing GGUF", "using existing layer", "creating new layer", "writing manifest", "success",
    ]  # fmt: skip
    assert "mine:latest" in [model["name"] for model in get(ollama.url + "/api/tags").json()["models"]]
    assert chat(ollama, "Who?", "mine").lines()[-1]["eval_count"] == 3


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"model": "x"}, "neither 'from' or 'files'"),
        ({"model": "x", "from": "nobody"}, "does not exist"),
        ({"model": "x", "from": "smollm2:135m", "quantize": "q4_K_M"}, "only supported for F16"),
    ],
)
def test_what_cannot_be_made_is_said_in_the_stream(ollama, body, word):
    answer = stream(ollama.url + "/api/create", body)
    assert answer.status == 200
    assert word in answer.lines()[-1]["error"]


def test_a_blob_that_is_not_what_its_digest_says(ollama):
    refused = ask("POST", f"{ollama.url}/api/blobs/sha256:{'0' * 64}", content=b"GGUF")
    assert refused.status_code == 400
    assert "digest mismatch" in refused.json()["error"]


def test_file_names_are_relative(ollama):
    body = {"model": "x", "files": {"/etc/passwd": f"sha256:{'0' * 64}"}}
    assert post(ollama.url + "/api/create", body).json() == {"error": "file path must be relative"}


def test_what_was_asked_is_known(ollama):
    chat(ollama)
    assert ollama.server.asked[-1].body["messages"] == user("What is the sea?")
