from __future__ import annotations

import json

import pytest

from tests.servers.lmstudio import StudioServer
from tests.servers.ollama import CONVERSATION, OllamaServer
from tests.servers.script import Exchange, Script
from tests.servers.tgi import TgiServer
from tests.servers.vllm import VllmServer

KEY = "sk-a-key-that-nobody-may-see"
QUESTION, ANSWER = "What is the sea?", "The sea is salt water – 水."


@pytest.fixture
def config(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "home/config/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    return write


def test_run_asks_a_server(call, serve):
    served = serve(OllamaServer(Script(CONVERSATION)))
    status, out, err = call("run", f"{served.url}#qwen3:0.6b", QUESTION, "--json", "--seed", "3")
    found = json.loads(out)
    assert (status, found["text"], found["backend"]) == (0, ANSWER, "Ollama")
    assert (found["source"], found["latency_source"], found["seed"]) == ("server", "client", 3)
    assert (found["prompt_tokens"], found["completion_tokens"]) == (12, 7)
    assert found["load_ms"] > 0
    assert "num_ctx" in err
    status, out, err = call("run", f"{served.url}#qwen3:0.6b", QUESTION)
    assert (status, out) == (0, f"{ANSWER}\n")
    assert "(by the server)" in err


def test_run_tells_what_is_wrong_with_a_server(call, serve):
    status, out, _ = call("run", "http://127.0.0.1:9", "Hi", "--json")
    assert (status, json.loads(out)["error"]["kind"]) == (1, "server_unreachable")
    served = serve(OllamaServer())
    status, out, _ = call("run", served.url, "Hi", "--json")
    error = json.loads(out)["error"]
    assert (status, error["kind"]) == (1, "unknown_model")
    assert "qwen3:0.6b" in error["message"]
    status, out, _ = call("run", "http://user:secret@host#m", "Hi", "--json")
    assert json.loads(out)["error"]["kind"] == "server_address"
    assert "secret" not in out


def test_what_had_come_stays_where_the_stream_breaks(call, serve):
    breaks = Exchange("Go", ("one", " two", " three"), error_after=2)
    served = serve(VllmServer(Script((breaks,))))
    status, out, err = call("run", served.url, "Go")
    assert (status, out) == (1, "one two")
    assert "in the middle of the answer" in err


@pytest.mark.parametrize("fault", [{"error_after": 3}, {"ends_after": 3}], ids=["says so", "ends"])
@pytest.mark.parametrize(
    ("server", "model"),
    [(VllmServer, ""), (OllamaServer, "#qwen3:0.6b"), (StudioServer, "#smollm2-135m-instruct"), (TgiServer, "")],
)
def test_what_had_come_is_in_the_document_where_the_stream_breaks(call, serve, server, model, fault):
    breaks = Exchange("Go", ("one", " two", " three", " four"), **fault)
    served = serve(server(Script((breaks,), cut_seed=3)))
    status, out, err = call("run", f"{served.url}{model}", "Go", "--json")
    found = json.loads(out)
    assert (status, found["text"], found["finish_reason"]) == (1, "one two three", None)
    assert found["error"].keys() == {"kind", "message", "hint"}
    assert found["error"]["kind"].startswith("server")
    assert (found["completion_tokens"], found["estimated"], found["source"]) == (3, True, "client")
    assert "Traceback" not in err


def test_thoughts_that_had_come_are_in_the_document(call, serve):
    breaks = Exchange("Go", ("one",), thoughts=("Hm", " hm"), error_after=1)
    served = serve(OllamaServer(Script((breaks,))))
    status, out, _ = call("run", f"{served.url}#qwen3:0.6b", "Go", "--json")
    found = json.loads(out)
    assert (status, found["text"], found["reasoning"]) == (1, "", "Hm")
    assert found["error"]["kind"] == "server"


def test_a_stream_that_breaks_before_the_first_word_is_an_error_alone(call, serve):
    served = serve(VllmServer(Script((Exchange("Go", ("one",), error_after=0),))))
    status, out, _ = call("run", served.url, "Go", "--json")
    assert (status, json.loads(out).keys()) == (1, {"error"})


def test_the_key_of_the_config_and_that_of_the_environment(call, serve, config, monkeypatch):
    served = serve(VllmServer(Script(CONVERSATION, key=KEY)))
    status, out, err = call("run", served.url, QUESTION)
    assert status == 1
    assert "requires a key" in err
    config(f'servers = [{{url = "{served.url}", key = "{KEY}"}}]')
    assert call("run", served.url, QUESTION)[:2] == (0, f"{ANSWER}\n")
    config(f'servers = [{{url = "{served.url}", key = "{KEY}"}}]', mode=0o644)
    status, out, err = call("run", served.url, QUESTION)
    assert (status, KEY in out + err) == (1, False)
    assert "chmod 600" in err
    config(f'servers = [{{url = "{served.url}", key_env = "THE_KEY"}}]')
    monkeypatch.setenv("THE_KEY", KEY)
    assert call("run", served.url, QUESTION)[:2] == (0, f"{ANSWER}\n")
    config("")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{served.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert call("run", served.url, QUESTION)[:2] == (0, f"{ANSWER}\n")


def test_two_servers_race(call, serve):
    one, other = serve(OllamaServer(Script(CONVERSATION))), serve(VllmServer(Script(CONVERSATION)))
    status, out, _ = call("compare", f"{one.url}#qwen3:0.6b", other.url, "--prompt", QUESTION, "--json")
    lanes = json.loads(out)["lanes"]
    assert status == 0
    assert [lane["text"] for lane in lanes] == [ANSWER] * 2
    assert [lane["backend"] for lane in lanes] == ["Ollama", "vLLM"]
    assert [lane["source"] for lane in lanes] == ["server", "client"]
    assert [lane["first_divergence"] for lane in lanes] == [None, None]


def test_a_file_races_a_server(call, llama_server):
    options = ("--prompt", "Name a river.", "--max-tokens", "8", "--greedy", "--json")
    status, out, _ = call("compare", "demo", llama_server, *options)
    lanes = json.loads(out)["lanes"]
    assert status == 0
    assert [(lane["source"], lane["completion_tokens"]) for lane in lanes] == [("engine", 8), ("server", 8)]


def test_the_models_of_servers_are_listed_where_that_is_asked_for(call, serve, config):
    served = serve(OllamaServer())
    config(f'servers = ["{served.url}", "http://127.0.0.1:9"]')
    status, out, err = call("models", "--servers", "--json")
    found = {model["id"]: model for model in json.loads(out)}
    assert status == 0
    assert found[f"{served.url}#qwen3:0.6b"]["loaded"] is False
    assert "Nothing answers at 127.0.0.1:9" in err
    assert served.url not in call("models", "--json")[1]
    assert "Ollama" in call("models", "--servers", "--filter", "qwen3")[1]


def test_the_models_of_a_folder_and_of_servers(call, serve, config, short_demo, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Tiny-Q4_1.gguf").symlink_to(short_demo)
    served = serve(OllamaServer())
    config(f'servers = ["{served.url}"]\nfind_servers = false\n')
    found = json.loads(call("models", str(tmp_path / "mine"), "--servers", "--json")[1])
    assert {entry["name"] for entry in found if not entry["id"].startswith("http")} == {"Tiny"}
    assert any(entry["id"].startswith(served.url) for entry in found)


@pytest.mark.parametrize("command", [("inspect",), ("fit",), ("quantize", "Q8_0")])
def test_commands_that_need_a_file_say_so(call, command):
    name, *more = command
    status, out, _ = call(name, "http://127.0.0.1:9#m", *more, "--json")
    assert (status, json.loads(out)["error"]["kind"]) == (1, "unknown_model")
    assert "a file is needed" in json.loads(out)["error"]["message"]
