from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path

import pytest

from workbench import __version__
from workbench.cli.main import COMMANDS, main
from workbench.cli.options import add_settings, settings
from workbench.core.config import Config
from workbench.core.errors import ParameterError
from workbench.core.parameters import Sampling
from workbench.store.paths import find_paths
from workbench.store.sessions.store import DatabaseSessionStore


@pytest.fixture
async def stored():
    """A stored conversation; gives its id."""
    from workbench.core.chat import Message
    from workbench.core.metrics import AnswerMetrics
    from workbench.core.models import ModelEntry
    from workbench.core.parameters import LoadSettings
    from workbench.core.tree import Node, Turn

    store = DatabaseSessionStore(find_paths().sessions_file)
    journal = await store.create()
    await journal.settings("Be brief.", Sampling(temperature=0.25, stop=("END",)), LoadSettings(num_ctx=4096))
    await journal.model(ModelEntry("demo", "Demo", path="/models/demo.gguf"))
    answer = Turn(Message("assistant", "It scatters."), 2.0, "demo", AnswerMetrics(decode_tps=12.5), "stop")
    await journal.message(Node(1, 0, Turn(Message("user", "Why is the sky blue?"), 1.0)))
    await journal.message(Node(2, 1, answer))
    await journal.close()
    store.close()
    return journal.id


def test_the_version_and_the_help(call):
    assert call("--version") == (0, f"workbench {__version__}\n", "")
    status, out, _ = call("--help")
    assert status == 0
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_takes_json(call, name):
    status, out, _ = call(name, "--help")
    assert status == 0
    assert "--json" in out


def test_an_answer_as_json(call):
    status, out, err = call("run", "scripted", "hello", "--json", "--max-tokens", "5", "--seed", "3")
    assert status == 0, err
    found = json.loads(out)
    assert found["completion_tokens"] == 5
    assert found["finish_reason"] == "length"


def test_an_answer_as_text_has_its_figures_on_standard_error(call):
    status, out, err = call("run", "scripted", "hello", "--max-tokens", "5")
    assert (status, bool(out.strip())) == (0, True)
    assert "tokens/s" in err


def test_options_may_stand_anywhere(call):
    status, out, err = call("run", "--json", "scripted", "--max-tokens", "2", "hello")
    assert status == 0, err
    assert json.loads(out)["completion_tokens"] == 2


def test_the_prompt_comes_from_standard_input(call, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("hello"))
    assert call("run", "scripted", "--json", "--max-tokens", "2")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "scripted", ""], "empty"),
        (["run", "scripted", "x", "--set", "temprature=1"], "temperature"),
        (["run", "scripted", "x", "--set", "temperature"], "NAME=VALUE"),
        (["run", "scripted", "x", "--set", "top_p=7"], "from 0 to 1"),
        (["run", "scripted", "x", "--seed", "abc"], "seed"),
        (["run", "scripted", "x", "--raw", "--system", "Be kind."], "--raw"),
        (["run"], "MODEL"),
        (["export", "last", "--format", "modelfil"], "modelfile"),
        (["export", "last", "--format", "md,json", "-o", "-"], "one format"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_bad_usage_is_status_2_and_a_sentence(call, arguments, words):
    status, out, err = call(*arguments)
    assert status == 2
    assert out == ""
    assert words in err
    assert "--help" in err


def test_a_failure_as_json(call):
    status, out, _ = call("run", "scriptd", "hello", "--json")
    assert status == 1
    error = json.loads(out)["error"]
    assert error["kind"] == "unknown_model"
    assert "scripted" in error["hint"]


def test_a_failure_as_text(call):
    status, out, err = call("run", "scriptd", "hello")
    assert (status, out) == (1, "")
    assert err.startswith("workbench: There is no model 'scriptd'.")


def test_a_screen_needs_a_terminal(call):
    status, _, err = call("scripted")
    assert status == 1
    assert "terminal" in err


def test_paths(call, tmp_path):
    status, out, _ = call("paths", "--json")
    assert status == 0
    assert all(Path(path).is_relative_to(tmp_path) for path in json.loads(out).values())


def test_models_of_a_folder(call, demo_path, tmp_path):
    folder = tmp_path / "my models"
    folder.mkdir()
    (folder / "Tiny-Q4_1.gguf").symlink_to(demo_path)
    (folder / "broken.gguf").write_bytes(b"no model")
    status, out, _ = call("models", str(folder), "--json")
    assert status == 0
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert found["Tiny"]["quant"] == "Q4_1"
    assert found["Tiny"]["complete"]
    assert found["broken"]["problem"]
    assert "Tiny" in call("models", str(folder))[1]


async def test_sessions(call, stored):
    status, out, _ = call_in_thread(call, "sessions", "--json")
    assert status == 0
    (found,) = json.loads(out)
    assert found["id"] == stored
    assert found["title"] == "Why is the sky blue?"
    assert found["messages"] == 2
    assert found["metrics"]["decode_tps"] == 12.5


async def test_sessions_are_searched(call, stored):
    status, out, _ = call_in_thread(call, "sessions", "--search", "SCATTERS", "--json")
    (found,) = json.loads(out)
    assert (status, found["id"], found["snippet"], found["message"]) == (0, stored, "It scatters.", 2)
    assert found["marks"] == [[3, 11]]
    status, out, _ = call_in_thread(call, "sessions", "--search", "sky blue")
    assert (status, stored in out, "Why is the sky blue?" in out) == (0, True, True)
    status, out, err = call_in_thread(call, "sessions", "--search", "green")
    assert (status, out, "No conversation" in err) == (0, "", True)
    assert call_in_thread(call, "sessions", "--search", " ")[0] == 2


async def test_a_session_leaves_and_comes_back_the_same(call, stored, tmp_path):
    first, second = tmp_path / "one.json", tmp_path / "two.json"
    call_in_thread(call, "export", stored, "--format", "json", "-o", str(first))
    status, out, err = call_in_thread(call, "import", str(first))
    assert (status, out.strip()) == (0, f"{stored}-2")
    assert f"There is a session {stored} already" in err
    call_in_thread(call, "export", f"{stored}-2", "--format", "json", "-o", str(second))
    values = [json.loads(path.read_text()) for path in (first, second)]
    assert values[1].pop("id") == f"{stored}-2"
    del values[0]["id"]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    "own",
    ["../../.bashrc", "/tmp/x", "..", "", "a/../b", "C:\\x", "\ud800", "a\nb", "\x1b[2J", "x" * 5000, "last", "-o"],
)
async def test_an_imported_session_gets_an_id_of_this_program(call, stored, tmp_path, own):
    file, folder = tmp_path / "one.json", tmp_path / "below" / "exports"
    folder.mkdir(parents=True)
    call_in_thread(call, "export", stored, "--format", "json", "-o", str(file))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"id": own}))
    status, out, _ = call_in_thread(call, "import", str(file), "--json")
    name = json.loads(out)["session"]
    assert status == 0
    assert re.fullmatch(r"\d{6}-\d{6}(-\d+)?", name)
    status, out, _ = call_in_thread(call, "export", name, "--format", "md", "-o", str(folder))
    assert (status, out) == (0, f"{folder / name}.md\n")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not a session exported as JSON"),
        (b"\xff\xfe{", "not UTF-8"),
        (b'{"kind": "workbench-session", "version": 9}', "version 9"),
        (b"\x00" * 1000, "not a session exported as JSON"),
    ],
)
def test_what_is_no_session_is_not_imported(call, tmp_path, data, told):
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    status, _, err = call("import", str(path))
    assert status == 1
    assert told in err
    assert str(path) in err
    assert call("import", str(tmp_path / "none.json"))[0] == 1
    status, out, _ = call("import", str(path), "--json")
    assert json.loads(out)["error"]["kind"] == "session"


def call_in_thread(call, *arguments):
    """Commands start an event loop of their own, which the thread of a running one cannot have."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *arguments).result()


async def test_an_exported_modelfile_reads_back_to_the_same_values(call, stored, tmp_path):
    target = tmp_path / "Modelfile"
    status, out, _ = call_in_thread(call, "export", stored, "--format", "modelfile", "-o", str(target))
    assert (status, out.strip()) == (0, str(target))
    status, out, _ = call_in_thread(call, "modelfile", "check", str(target), "--json")
    found = json.loads(out)
    assert status == 0
    assert found["ok"]
    commands = [(command["name"], command.get("parameter") or command.get("role"), command["args"])
                for command in found["commands"]]  # fmt: skip
    assert commands == [
        ("from", None, "/models/demo.gguf"),
        ("system", None, "Be brief."),
        ("parameter", "temperature", "0.25"),
        ("parameter", "stop", "END"),
        ("parameter", "num_ctx", "4096"),
        ("message", "user", "Why is the sky blue?"),
        ("message", "assistant", "It scatters."),
    ]


async def test_a_modelfile_names_the_model_as_the_user_wants(call, stored):
    def base(*arguments):
        status, out, err = call_in_thread(call, "export", stored, "--json", *arguments)
        assert status == 0, err
        return Path(json.loads(out)["files"][0]["path"]).read_text().partition("FROM ")[2].partition("\n")[0]

    assert base() == base("--from", "path") == "/models/demo.gguf"
    assert base("--from", "llama3.2:3b") == "llama3.2:3b"
    status, out, _ = call_in_thread(call, "export", stored, "--json", "--from", "hf")
    assert status == 1
    assert "/models/demo.gguf has no known name in Hugging Face" in json.loads(out)["error"]["message"]


async def test_several_formats_go_to_the_exports_folder(call, stored):
    status, out, _ = call_in_thread(call, "export", "last", "--format", "md,json", "--json")
    assert status == 0
    files = json.loads(out)["files"]
    assert [file["format"] for file in files] == ["md", "json"]
    assert "It scatters." in Path(files[0]["path"]).read_text()


async def test_a_conversation_on_standard_output(stored, capfdbinary):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["export", "last", "--format", "md", "-o", "-"]).result() == 0
    assert b"It scatters." in capfdbinary.readouterr().out


def test_a_session_that_is_not_there(call):
    status, _, err = call("export", "nonesuch")
    assert status == 1
    assert "nonesuch" in err


def test_a_broken_modelfile_names_line_and_column(call, tmp_path):
    path = tmp_path / "Modelfile"
    path.write_text("FROM demo\nSISTEM hello\n")
    status, out, _ = call("modelfile", "check", str(path))
    assert status == 1
    assert f"{path}:2:" in out
    status, _, err = call("modelfile", "check", str(tmp_path / "none"))
    assert (status, "there is no such file" in err) == (1, True)


def test_a_bad_config_is_said_and_the_program_goes_on(call):
    path = find_paths().config_file
    path.parent.mkdir(parents=True)
    path.write_text("them = 'x'\n")
    status, _, err = call("run", "scripted", "hello", "--max-tokens", "1")
    assert status == 0
    assert "line 1" in err
    assert "theme" in err


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return parser.parse_args(arguments)


def test_settings_of_the_command_line_win_over_the_config():
    config = Config(sampling=Sampling(temperature=0.1, top_k=5))
    sampling, load = settings(
        options(
            "--set", "temperature=0.7", "--set", "stop=a=b", "--set", "stop=c", "--set", "num_ctx=512", "--seed", "9"
        ),
        config,
    )
    assert sampling == Sampling(temperature=0.7, top_k=5, stop=("a=b", "c"), seed=9)
    assert load.num_ctx == 512


def test_a_seed_out_of_range():
    with pytest.raises(ParameterError):
        settings(options("--seed", "-5"), Config())
