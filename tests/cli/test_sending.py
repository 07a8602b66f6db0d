from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.servers.ollama import OllamaServer
from tests.servers.script import Exchange, Pace, Script
from workbench.core.chat import Message
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.engine.remote.ollama_create import QUESTION
from workbench.store.paths import find_paths
from workbench.store.sessions.store import DatabaseSessionStore

HELLO = Exchange(QUESTION, ("Hello", "."))


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF" + bytes(3 * 2**20))
    return path


@pytest.fixture
def stored(model):
    """A stored conversation with a model in a file; gives its id."""
    import asyncio

    turns = (
        Turn(Message("user", "Why is the sky blue?"), 5.0),
        Turn(Message("assistant", "It scatters."), 6.0, "tiny", AnswerMetrics(), "stop"),
    )
    sampling = Sampling(temperature=0.25, stop=("END",))
    session = Session(
        *("stored", 5.0, 6.0, "tiny", str(model), "Be brief."), sampling, LoadSettings(num_ctx=4096), Tree.of(turns)
    )

    async def store():
        book = DatabaseSessionStore(find_paths().sessions_file)
        try:
            return await book.keep(session)
        finally:
            book.close()

    return asyncio.run(store())


@pytest.fixture
def ollama(serve):
    return serve(OllamaServer(Script([HELLO])))


def test_a_conversation_becomes_a_model_of_ollama(call, stored, ollama, model, tmp_path):
    status, out, err = call("export", stored, "--to-ollama", "blue", "--server", ollama.url)
    assert status == 0, err
    assert out == f"{ollama.url}#blue\n3.0 MiB sent; it answers: Hello.\n"
    made = ollama.server.models["blue:latest"]
    assert (made.system, made.parameters["temperature"], made.parameters["stop"]) == ("Be brief.", 0.25, ["END"])
    assert [message["content"] for message in made.messages] == ["Why is the sky blue?", "It scatters."]
    assert list(made.files) == ["tiny.gguf"]
    # No file is written where nobody asked for one.
    assert not list((tmp_path / "home").rglob("*.Modelfile"))


def test_the_file_can_be_had_too(call, stored, ollama, tmp_path):
    target = tmp_path / "Modelfile"
    status, out, _ = call(
        "export", "last", "--to-ollama", "blue", "--server", ollama.url, "-o", str(target), "--json"
    )  # fmt: skip
    assert status == 0
    found = json.loads(out)
    assert found["files"] == [{"format": "modelfile", "path": str(target)}]
    assert found["ollama"]["ref"] == f"{ollama.url}#blue"
    assert target.read_text().count("SYSTEM") == 1


def test_a_name_of_ollama_takes_the_place_of_the_file(call, stored, ollama):
    arguments = ("--from", "smollm2:135m", "--to-ollama", "blue", "--server", ollama.url)
    status, out, _ = call("export", stored, *arguments)
    assert status == 0
    assert "Ollama had the file" in out
    assert not ollama.server.blobs


def test_the_server_is_that_of_the_environment(call, stored, ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", ollama.url.removeprefix("http://"))
    assert call("export", stored, "--to-ollama", "blue")[0] == 0


def test_a_model_of_that_name_is_kept_unless_somebody_says_otherwise(call, stored, ollama):
    arguments = ("export", stored, "--to-ollama", "smollm2:135m", "--server", ollama.url)
    status, out, err = call(*arguments)
    assert (status, out) == (1, "")
    assert "has a model smollm2:135m already" in err
    assert call(*arguments, "--overwrite")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--server", "http://127.0.0.1:9"],
        ["--overwrite"],
        ["--to-ollama", "x", "--format", "md"],
        ["--to-ollama", "not a name"],
    ],
)
def test_bad_usage(call, stored, arguments):
    status, out, err = call("export", stored, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("workbench export: ")


def test_nobody_is_there(call, stored):
    status, out, _ = call("export", stored, "--to-ollama", "x", "--server", "http://127.0.0.1:9", "--json")
    assert (status, json.loads(out)["error"]["kind"]) == (1, "server_unreachable")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_ctrl_c_stops_it(stored, serve):
    served = serve(OllamaServer(Script([HELLO], pace=Pace(decode_tps=0.01))))
    command = [sys.executable, "-m", "workbench.cli.main", "export", stored, "--to-ollama", "blue"]
    process = subprocess.Popen(
        [*command, "--server", served.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    while not served.server.model.running:
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Sending was stopped." in err
    assert "Traceback" not in err
