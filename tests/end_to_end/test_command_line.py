"""The installed program without a screen, as a script uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKBENCH = str(Path(sys.executable).parent / "workbench")
FIELDS = {
    "model", "quant", "text", "prompt_tokens", "cached_tokens", "completion_tokens", "load_ms", "ttft_ms",
    "prefill_tps", "decode_tps", "itl_p50_ms", "finish_reason", "seed", "backend",
    "cached_from", "prompt_change", "recomputed_because", "kept_bytes",
}  # fmt: skip


@pytest.fixture
def workbench(tmp_path):
    """Runs the program on a home of its own; gives the finished process."""

    def run(*arguments, stdin=""):
        env = {**os.environ, "WORKBENCH_HOME": str(tmp_path / "home")}
        return subprocess.run(
            [WORKBENCH, *map(str, arguments)], env=env, input=stdin, capture_output=True, text=True, check=False
        )

    return run


def test_an_answer_as_one_json_document(workbench):
    done = workbench("run", "demo", "Why is the sky blue?", "--json", "--max-tokens", "24", "--seed", "7")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) >= FIELDS
    assert found["text"].strip()
    assert found["completion_tokens"] <= 24
    assert found["prompt_tokens"] > found["cached_tokens"] == 0
    assert (found["cached_from"], found["prompt_change"], found["recomputed_because"]) == ("nothing", None, None)
    assert found["decode_tps"] > 0
    assert found["prefill_tps"] > 0
    assert found["ttft_ms"] > 0
    assert found["load_ms"] > 0
    assert found["seed"] == 7
    assert found["finish_reason"] in {"stop", "length"}


def test_a_seed_repeats_and_the_prompt_may_come_from_standard_input(workbench):
    arguments = ("run", "demo", "--json", "--max-tokens", "8", "--seed", "3")
    first = json.loads(workbench(*arguments, "Name a colour.").stdout)
    second = json.loads(workbench(*arguments, stdin="Name a colour.").stdout)
    assert first["text"] == second["text"]
    assert first["prompt_tokens"] == second["prompt_tokens"]


def test_raw_text_is_continued_without_a_template(workbench):
    raw = json.loads(workbench("run", "demo", "Once upon", "--json", "--max-tokens", "4", "--raw").stdout)
    assert raw["text"]
    # "Once" and " upon"; the chat template would add some twenty.
    assert raw["prompt_tokens"] == 2


def test_without_json_the_answer_alone_is_on_standard_output(workbench):
    done = workbench("run", "demo", "Say hello.", "--max-tokens", "8", "--set", "temperature=0")
    assert done.returncode == 0
    assert done.stdout.strip()
    assert "llama" not in done.stdout.casefold()


@pytest.fixture
def broken(tmp_path, demo_path):
    """Paths that are no models, by what is wrong with them."""
    folder = tmp_path / "kaputte Möbel"
    folder.mkdir()
    paths = {name: folder / f"{name}.gguf" for name in ("missing", "directory", "truncated", "text", "empty")}
    paths["directory"].mkdir()
    paths["text"].write_text("This is no model at all.\n" * 100, encoding="utf-8")
    paths["empty"].write_bytes(b"")
    with demo_path.open("rb") as model:
        paths["truncated"].write_bytes(model.read(1 << 20))
    return paths


@pytest.mark.parametrize("case", ["missing", "directory", "truncated", "text", "empty"])
def test_what_is_no_model_is_a_sentence_and_exit_status_1(workbench, broken, case):
    done = workbench("run", broken[case], "hello", "--json")
    assert done.returncode == 1, (done.stdout, done.stderr)
    error = json.loads(done.stdout)["error"]
    assert set(error) == {"kind", "message", "hint"}
    assert str(broken[case]) in error["message"]
    assert error["hint"]
    assert "Traceback" not in done.stderr


def test_an_empty_prompt_is_refused(workbench):
    done = workbench("run", "demo", "", "--json")
    assert done.returncode in {1, 2}
    assert "prompt" in (done.stdout + done.stderr).casefold()
    assert "Traceback" not in done.stderr


def test_bad_usage_is_exit_status_2(workbench):
    done = workbench("run", "demo", "hello", "--set", "temprature=1", "--json")
    assert done.returncode in {1, 2}
    assert "temperature" in done.stdout + done.stderr
    assert workbench("--no-such-option").returncode == 2


def test_every_path_lies_under_the_home(workbench, tmp_path):
    done = workbench("paths", "--json")
    assert done.returncode == 0
    paths = json.loads(done.stdout)
    assert paths
    assert all(Path(path).is_relative_to(tmp_path / "home") for path in paths.values())
