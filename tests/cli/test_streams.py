"""Standard input and output that are no text, are closed or full, and signals."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys

import pytest

from workbench.cli.output import print_json
from workbench.core.errors import CancelledError


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


def test_numbers_that_json_cannot_hold_are_null(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5, ("x", -float("inf"))]})
    assert capsys.readouterr().out == '{"a": null, "b": [null, 1.5, ["x", null]]}\n'


def test_json_survives_an_encoding_without_the_characters(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="backslashreplace")
    monkeypatch.setattr("sys.stdout", out)
    print_json({"text": "é 中 \U0001f600 \udc80"})
    out.flush()
    assert json.loads(out.buffer.getvalue().decode("latin-1")) == {"text": "é 中 \U0001f600 \udc80"}


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
