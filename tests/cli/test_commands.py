from __future__ import annotations

import argparse
import io
import json
import logging
from pathlib import Path

import pytest

from workbench import __version__
from workbench.cli.main import COMMANDS
from workbench.cli.options import add_settings, settings
from workbench.core.config import Config
from workbench.core.errors import EngineError, ParameterError
from workbench.core.parameters import Sampling
from workbench.store.paths import find_paths


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
