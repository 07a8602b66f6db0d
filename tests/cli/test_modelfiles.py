"""Modelfiles on the command line: checked, opened, raced, and written."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from tests.lora import write_lora
from workbench.cli.options import add_settings, settings, system_prompt
from workbench.core.chat import Message
from workbench.core.config import Config
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.recipe import Recipe
from workbench.gguf.reader import read_header

SAMPLES = sorted((Path(__file__).parents[2] / "sample_modelfiles").glob("*.Modelfile"))


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def answer(call, *arguments: str) -> tuple[dict[str, object], str]:
    """What `run --json` says, and standard error."""
    status, out, err = call("run", *arguments, "--json", "--max-tokens", "3")
    assert status == 0, err
    return json.loads(out), err


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_answers_on_the_demo_model(call, path, request):
    if path.stem == "adapter":
        # It changes layers 10 and 20.
        request.getfixturevalue("whole_demo")
    found, _ = answer(call, str(path), "What a fine day.")
    assert found["model"] == path.stem
    assert found["completion_tokens"]


def test_the_lines_of_a_modelfile_reach_the_engine(call, tmp_path):
    plain, _ = answer(call, "demo", "Hi", "--system", "Be brief.")
    ref = write(
        tmp_path / "a.Modelfile",
        "FROM demo",
        "SYSTEM Be brief.",
        "PARAMETER seed 7",
        "MESSAGE user One?",
        "MESSAGE assistant Two.",
    )
    found, err = answer(call, ref, "Hi")
    assert found["seed"] == 7
    assert found["prompt_tokens"] > plain["prompt_tokens"] + 10
    assert found["quant"] == plain["quant"]
    assert "workbench:" not in err
    assert answer(call, ref, "Hi", "--seed", "9")[0]["seed"] == 9


def test_the_bare_name_in_this_folder(call, tmp_path, monkeypatch):
    write(tmp_path / "Modelfile", "FROM demo", "PARAMETER seed 3")
    monkeypatch.chdir(tmp_path)
    assert answer(call, "Modelfile", "Hi")[0]["seed"] == 3
    assert call("modelfile", "check")[0] == 0


def test_what_is_not_honoured_is_on_standard_error(call, tmp_path):
    ref = write(tmp_path / "Modelfile", "FROM demo", "RENDERER qwen3.5", "PARAMETER mirostat 1")
    _, err = answer(call, ref, "Hi")
    assert "workbench: RENDERER qwen3.5 is ignored" in err
    assert "workbench: Modelfile, line 3: mirostat" in err


@pytest.mark.parametrize("template", ["{{ .Prompt }}", "Question: {{ .Prompt }} Answer:"])
def test_a_renderer_leaves_the_template_of_the_file(call, tmp_path, template):
    ref = write(tmp_path / "Modelfile", "FROM demo", f"TEMPLATE {template}", "RENDERER qwen3.5", "PARAMETER seed 1")
    found, err = answer(call, ref, "Name the capital of France.")
    assert found["prompt_tokens"] == 36
    assert err.count("RENDERER") == 1


def test_raw_says_what_it_leaves_out(call, tmp_path):
    ref = write(tmp_path / "Modelfile", "FROM demo", "SYSTEM Be brief.")
    assert "--raw leaves out the system prompt" in answer(call, ref, "Once", "--raw")[1]


def test_a_race_between_a_modelfile_and_its_base(call, tmp_path, short_demo):
    write_lora(tmp_path / "lora.gguf", short_demo, tensors=40, strength=0.5)
    ref = write(tmp_path / "Modelfile", "FROM demo", "ADAPTER lora.gguf", "PARSER x", "PARAMETER top_k 3")
    arguments = ("--prompt", "Hi", "--greedy", "--max-tokens", "4", "--set", "num_ctx=512", "--json")
    status, out, err = call("compare", "demo", ref, *arguments)
    assert status == 0, err
    plain, adapted = json.loads(out)["lanes"]
    assert plain["model"] != adapted["model"]
    assert adapted["first_divergence"] is not None
    assert f"workbench: {ref}: PARSER x is ignored" in err
    assert "workbench: demo" not in err


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return parser.parse_args(arguments)


def test_what_counts_more():
    recipe = Recipe(system="of the file", parameters=(("top_k", 2), ("num_ctx", 2), ("seed", 2)))
    config = Config(
        sampling=Sampling(top_k=1, top_p=0.1, seed=1),
        load=LoadSettings(num_ctx=1, num_batch=1),
        system="of the config",
    )
    sampling, load = settings(options("--seed", "3"), config, recipe)
    assert sampling == Sampling(top_k=2, top_p=0.1, seed=3)
    assert load == LoadSettings(num_ctx=2, num_batch=1)
    assert system_prompt(options("--system", "mine"), config, recipe) == "mine"
    assert system_prompt(options("--system", ""), config, recipe) == ""
    assert system_prompt(options(), config, recipe) == "of the file"
    assert system_prompt(options(), config, Recipe(messages=(Message("user", "x"),))) == "of the config"


@pytest.mark.parametrize(
    ("lines", "kind", "said"),
    [
        (["FROM demo", "FOO x"], "modelfile", "line 2, column 1"),
        (["SYSTEM x"], "modelfile", "no FROM line"),
        (["FROM ./none.gguf"], "model_file", "there is no such file"),
        (["FROM none-of-these"], "unknown_model", "There is no model"),
        (["FROM ."], "modelfile", "no Modelfile or safetensors files found"),
    ],
)
def test_errors(call, tmp_path, lines, kind, said):
    ref = write(tmp_path / "Modelfile", *lines)
    for command in (("run", ref, "Hi"), ("compare", "scripted", ref, "--prompt", "Hi")):
        status, out, err = call(*command, "--json")
        assert status == 1
        if command[0] == "run":
            error = json.loads(out)["error"]
            assert error["kind"] == kind
            assert said in error["message"]
            assert ref in error["message"]
        assert "Traceback" not in err


def test_a_bench_times_it_with_its_adapter_and_as_it_says(call, tmp_path, short_demo):
    write_lora(tmp_path / "lora.gguf", short_demo)
    said = ("PARAMETER num_thread 1", "PARAMETER num_batch 16", "PARAMETER num_gpu 0", "PARAMETER num_ctx 64")
    ref = write(tmp_path / "Modelfile", "FROM demo", "ADAPTER lora.gguf", *said)
    status, out, err = call("bench", ref, "-p", "8", "-n", "1", "-r", "1", "--no-warmup", "--json")
    assert status == 0
    assert f"{ref} sets -ngl 0 -t 1 -b 16 -ub 16." in err
    for line in map(json.loads, out.splitlines()):
        assert line["model_type"].endswith(" + lora.gguf")
        assert (line["n_threads"], line["n_batch"], line["n_ubatch"], line["n_gpu_layers"]) == (1, 16, 16, 0)
        assert line["avg_ts"] > 0


def test_the_command_line_of_a_bench_overrules_a_modelfile(call, tmp_path):
    ref = write(tmp_path / "Modelfile", "FROM demo", "PARAMETER num_thread 1", "PARAMETER num_batch 16")
    options = ("-p", "8", "-n", "0", "-r", "1", "--no-warmup", "-b", "2048", "-ngl", "0", "--json")
    status, out, err = call("bench", ref, *options)
    line = json.loads(out)
    assert (status, line["n_threads"], line["n_batch"], line["n_ubatch"]) == (0, 1, 2048, 512)
    assert f"{ref} sets -t 1." in err


def test_a_bench_of_what_is_felt_takes_what_a_modelfile_says(call, tmp_path, short_demo):
    write_lora(tmp_path / "lora.gguf", short_demo)
    ref = write(tmp_path / "Modelfile", "FROM demo", "ADAPTER lora.gguf", "PARAMETER num_thread 1")
    status, out, _ = call("bench", ref, "--felt", "8", "-n", "2", "-r", "1", "--json")
    assert (status, json.loads(out.splitlines()[0])["answers"]) == (0, 1)


def test_a_bench_refuses_an_adapter_of_another_model(call, tmp_path, short_demo):
    write_lora(tmp_path / "lora.gguf", short_demo, architecture="qwen2")
    ref = write(tmp_path / "Modelfile", "FROM demo", "ADAPTER lora.gguf")
    status, out, _ = call("bench", ref, "-p", "8", "-n", "0", "-r", "1", "--json")
    assert status == 1
    assert "qwen2" in json.loads(out.splitlines()[0])["error"]["message"]


def test_fit_counts_the_adapter(call, tmp_path, short_demo):
    size = read_header(write_lora(tmp_path / "lora.gguf", short_demo, tensors=60, rank=64)).tensor_bytes
    ref = write(tmp_path / "Modelfile", "FROM demo", "ADAPTER lora.gguf")
    plain, adapted = (json.loads(call("fit", name, "--ctx", "512", "--json")[1]) for name in ("demo", ref))
    assert (plain["adapter_bytes"], adapted["adapter_bytes"]) == (0, size)
    assert adapted["weights_bytes"] - plain["weights_bytes"] == size
    assert adapted["total_bytes"] - plain["total_bytes"] == size
    status, out, _ = call("fit", ref)
    assert status == 0
    assert "of the adapter" in out
    write_lora(tmp_path / "lora.gguf", short_demo, architecture="qwen2")
    status, _, err = call("fit", ref)
    assert status == 1
    assert "'qwen2'" in err


def test_checking(call, tmp_path):
    ref = write(
        tmp_path / "Modelfile", "FROM demo", "PARAMETER temprature 1", "MESSAGE user Hi", "PARAMETER mirostat 1"
    )
    status, out, _ = call("modelfile", "check", ref, "--json")
    assert status == 1
    assert json.loads(out) == {
        "ok": False,
        "commands": [
            {"name": "from", "args": "demo", "line": 1},
            {"name": "parameter", "parameter": "temprature", "args": "1", "line": 2},
            {"name": "message", "role": "user", "args": "Hi", "line": 3},
            {"name": "parameter", "parameter": "mirostat", "args": "1", "line": 4},
        ],
        "errors": [
            {
                "message": "unknown parameter 'temprature'",
                "hint": "Did you mean 'temperature'?",
                "line": 2,
                "column": 1,
            }
        ],
        "warnings": [
            {
                "message": "mirostat is no longer a parameter of Ollama and is ignored",
                "hint": "",
                "line": 4,
                "column": 1,
            }
        ],
    }
    status, out, _ = call("modelfile", "check", str(tmp_path))
    assert (status, out) == (1, "")
