from __future__ import annotations

import argparse
import asyncio
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import __version__
from workbench.cli.main import COMMANDS, main
from workbench.cli.options import add_settings, settings
from workbench.cli.output import print_json
from workbench.core.config import Config
from workbench.core.errors import CancelledError, EngineError, ParameterError
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


def test_models_of_a_folder(call, short_demo, tmp_path):
    folder = tmp_path / "my models"
    folder.mkdir()
    (folder / "Tiny-Q4_1.gguf").symlink_to(short_demo)
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
    assert status == 1
    assert [each["message"] for each in found["errors"]] == ["FROM /models/demo.gguf: there is no such file"]
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


async def test_several_formats_go_to_a_folder_of_the_user(call, stored, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    status, out, _ = call_in_thread(call, "export", "last", "--format", "md,json", "--output=~/mine")
    assert status == 0
    assert [Path(line).parent for line in out.splitlines()] == [tmp_path / "me" / "mine"] * 2


async def test_a_folder_that_cannot_be_made_is_a_sentence(call, stored, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = call_in_thread(call, "export", "last", "--format", "md,json", "-o", str(tmp_path / "file"))
    assert status == 1
    assert err.startswith(f"workbench: The export cannot be written to {tmp_path / 'file'}: File exists.")


async def test_a_conversation_on_standard_output(stored, capfdbinary):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["export", "last", "--format", "md", "-o", "-"]).result() == 0
    assert b"It scatters." in capfdbinary.readouterr().out


async def test_an_export_is_utf_8_in_every_locale(stored, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    store = DatabaseSessionStore(find_paths().sessions_file)
    await store.rename(stored, "Œuvre é")
    store.close()
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["export", "last", "--format", "md", "-o", "-"]).result() == 0
    assert written.getvalue().startswith("# Œuvre é\n".encode())


def test_a_session_that_is_not_there(call):
    status, _, err = call("export", "nonesuch")
    assert status == 1
    assert "nonesuch" in err


def test_a_broken_modelfile_names_line_and_column(call, tmp_path):
    path = tmp_path / "Modelfile"
    path.write_text("FROM demo\n")
    assert call("modelfile", "check", str(path))[1] == f"{path}: 1 command, no errors\n"
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


class Bytes(io.TextIOWrapper):
    """Standard input with these bytes."""

    def __init__(self, data, errors="strict"):
        super().__init__(io.BytesIO(data), encoding="utf-8", errors=errors)


@pytest.mark.parametrize("arguments", [("run", "scripted"), ("compare", "scripted", "scripted")])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
@pytest.mark.parametrize("data", [b"caf\xe9", b"\xff\xfeh\x00i\x00", b"ok\x80", b"\xed\xa0\x80"])
def test_standard_input_that_is_no_text_is_bad_usage(call, monkeypatch, arguments, errors, data):
    monkeypatch.setattr("sys.stdin", Bytes(data, errors))
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert "not UTF-8" in err
    assert "iconv" in err


def test_a_closed_standard_input_is_an_empty_prompt(call, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    status, _, err = call("run", "scripted")
    assert (status, "empty" in err) == (2, True)


@pytest.mark.skipif(os.name == "nt", reason="there are no such pipes")
@pytest.mark.parametrize(
    "arguments", ["--help", "--version", "run --help", "paths", "paths --json", "run scripted x --max-tokens 2"]
)
def test_a_reader_that_leaves_is_no_traceback(arguments):
    line = f"{sys.executable} -m workbench.cli.main {arguments} | true"
    script = f"{line}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode in {0, 1}


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("json_too", [True, False])
def test_a_signal_while_a_model_loads_is_status_130(call, monkeypatch, number, json_too):
    async def load(self, ref, settings, on_progress, cancel):
        os.kill(os.getpid(), number)
        while not cancel.is_set:
            await asyncio.sleep(0)
        raise CancelledError("Loading was stopped.")

    monkeypatch.setattr("workbench.engine.open.AnyHost.open", load)
    status, out, err = call("run", "scripted", "x", *["--json"] * json_too)
    assert status == 130
    if json_too:
        assert json.loads(out)["error"] == {"kind": "cancelled", "message": "Loading was stopped.", "hint": ""}
    else:
        assert (out, err) == ("", "workbench: Loading was stopped.\n")


@pytest.mark.parametrize("json_too", [True, False])
def test_a_failure_names_the_log_file_which_has_the_details(call, monkeypatch, json_too):
    async def load(self, ref, settings, on_progress, cancel):
        try:
            raise RuntimeError("private")
        except RuntimeError:
            logging.getLogger("workbench.engine").exception("It broke.")
        raise EngineError("It broke.", "The log (F12) has the details.")

    monkeypatch.setattr("workbench.engine.open.AnyHost.open", load)
    status, out, err = call("run", "scripted", "x", *["--json"] * json_too)
    log = find_paths().log_file
    said = json.loads(out)["error"]["hint"] if json_too else err
    assert (status, f"The log ({log}) has the details." in said) == (1, True)
    assert "Traceback" not in err
    assert "private" in log.read_text()


def test_a_log_that_cannot_be_written_is_no_traceback(call, monkeypatch):
    folder = find_paths().state_dir
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")

    async def load(self, ref, settings, on_progress, cancel):
        logging.getLogger("workbench.engine").warning("Something odd.")
        raise EngineError("It broke.")

    monkeypatch.setattr("workbench.engine.open.AnyHost.open", load)
    assert call("run", "scripted", "x") == (1, "", "Something odd.\nworkbench: It broke.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "scripted", "--nosuch"),
        ("run",),
        ("models", "--sort", "nosuch"),
        ("compare", "scripted", "--prompt", "x"),
        ("fit", "nosuch", "--ctx", "x"),
        ("export", "nosuch", "--format", "nosuch"),
        ("bench", "--pairs", "0"),
        ("modelfile", "nosuch"),
    ],
)
def test_bad_usage_is_a_document_too(call, arguments):
    status, out, err = call(*arguments, "--json")
    assert (status, json.loads(out)["error"]["kind"]) == (2, "parameter")
    assert f"Try `workbench {arguments[0]} --help`." in err


@pytest.mark.parametrize("json_too", [True, False])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_unexpected_failure_is_a_sentence(call, monkeypatch, name, json_too):
    def fail(options):
        raise ZeroDivisionError("private")

    module = {"import": "importing"}.get(name, name)
    monkeypatch.setattr(f"workbench.cli.{module}.run", fail)
    needed = {
        "run": ["m"],
        "compare": ["m"],
        "inspect": ["m"],
        "fit": ["m"],
        "quantize": ["m", "Q4_0"],
        "settings": ["m"],
        "verify": ["m"],
        "remove": ["m"],
        "tune": ["m"],
        "lock": ["f"],
    }
    needed |= {"export": ["last"], "import": ["f"], "modelfile": ["check"]}
    status, out, err = call(name, *needed.get(name, []), *["--json"] * json_too)
    log = find_paths().log_file
    said = json.loads(out)["error"] if json_too else {"message": err, "hint": err}
    assert status == 1
    assert "The command failed: ZeroDivisionError" in said["message"]
    assert str(log) in said["hint"]
    assert "Traceback" not in err
    assert "Traceback" in log.read_text()


def test_what_fails_after_the_document_is_no_second_one(call, monkeypatch):
    async def shutdown(self):
        raise RuntimeError("late")

    monkeypatch.setattr("workbench.engine.open.AnyHost.shutdown", shutdown)
    status, out, err = call("run", "scripted", "x", "--json", "--max-tokens", "2")
    assert (status, json.loads(out)["finish_reason"]) == (1, "length")
    assert "RuntimeError" in err


def test_numbers_that_json_cannot_hold_are_null(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5, ("x", -float("inf"))]})
    assert capsys.readouterr().out == '{"a": null, "b": [null, 1.5, ["x", null]]}\n'


def test_json_survives_an_encoding_without_the_characters(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="backslashreplace")
    monkeypatch.setattr("sys.stdout", out)
    print_json({"text": "é 中 \U0001f600 \udc80"})
    out.flush()
    assert json.loads(out.buffer.getvalue().decode("latin-1")) == {"text": "é 中 \U0001f600 \udc80"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "scripted", "caf\udce9"),
        ("run", "scripted", "x", "--system", "\udce9"),
        ("run", "scripted", "x", "--set", "stop=\udce9"),
    ],
)
def test_words_of_the_command_line_that_are_no_text_are_bad_usage(call, arguments):
    status, _, err = call(*arguments)
    assert (status, "not UTF-8" in err) == (2, True)


def in_shell(script):
    program = f"{sys.executable} -m workbench.cli.main"
    return subprocess.run(["bash", "-c", script.replace("W", program)], capture_output=True, text=True, check=False)


SHORT = " --max-tokens 2"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["--help", "paths", "paths --json", "run scripted x", "run scripted x --json"])
def test_output_that_cannot_be_written_is_a_sentence(arguments):
    done = in_shell(f"W {arguments}{SHORT * arguments.startswith('run')} >/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("workbench: the output cannot be written: No space left")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="there are no such shells")
@pytest.mark.parametrize(
    ("script", "status"),
    [("W paths >&-", 0), (f"W run scripted x{SHORT} <&- >&-", 0), ("W run scripted <&-", 2),
     ("W models --json 2>&-", 0), ("W paths <&- >&- 2>&-", 0)],
)  # fmt: skip
def test_closed_streams_are_no_traceback(script, status):
    done = in_shell(script)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False)


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("json_too", [True, False])
def test_a_signal_at_any_moment_is_status_130(tmp_path, number, json_too):
    # The command waits where nothing else listens for signals: it reads a pipe that nobody writes.
    pipe = tmp_path / "session.json"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", "import", str(pipe), *["--json"] * json_too],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pipe.open("w"):  # It is open once the command reads it.
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    said = json.loads(out)["error"]["message"] if json_too else err
    assert (process.returncode, said.strip().removeprefix("workbench: ")) == (130, "Stopped.")


def test_settings_are_kept_for_a_model_and_used_by_run(call):
    status, out, _ = call("settings", "scripted", "--set", "temperature=0.3", "--set", "num_ctx=64", "--system", "Be.")
    assert (status, out.splitlines()[0]) == (0, "Kept for scripted: temperature, num_ctx, system.")
    used = json.loads(call("run", "scripted", "x", "--set", "num_ctx=32", "--json")[1])["settings"]
    assert used == {
        "temperature": {"value": 0.3, "from": "model"},
        "num_ctx": {"value": 32, "from": "command line"},
    }
    shown = json.loads(call("settings", "scripted", "--forget", "temperature", "--json")[1])
    assert shown["kept"] == {"num_ctx": 64, "system": "Be."}
    assert shown["system"] == {"value": "Be.", "from": "model"}
    assert call("settings", "scripted", "--forget", "temperature")[0] == 2
    assert call("settings", "scripted", "--forget", "all")[1] == "Kept for scripted: nothing.\n"
