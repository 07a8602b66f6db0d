from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gguf.conftest import write_model
from tests.gguf_files import finish
from tests.short_demo import LAYERS
from workbench.cli.composition import compose, find_file
from workbench.cli.main import main
from workbench.core.memory import MemoryBuffer
from workbench.core.models import LoadRecord, MemoryUse
from workbench.core.parameters import LoadSettings
from workbench.gguf.reader import read_header
from workbench.store.loads import FileLoadBook
from workbench.store.paths import find_paths


@pytest.fixture(scope="module")
def q8(short_demo, tmp_path_factory) -> Path:
    """The demo model in Q8_0, made by the command."""
    target = tmp_path_factory.mktemp("q8") / "Demo-Q8_0.gguf"
    assert main(["quantize", str(short_demo), "q8_0", "-o", str(target), "--allow-requantize"]) == 0
    return target


def test_inspect_as_json(call, short_demo):
    status, out, err = call("inspect", "demo", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert {"metadata", "tensors", "types", "bits_per_weight", "warnings"} <= found.keys()
    assert found["path"] == str(short_demo)
    assert len(found["tensors"]) == 2 + 9 * LAYERS
    assert found["tensors"][0].keys() == {"name", "type", "shape", "bytes", "offset"}
    assert [each["type"] for each in found["types"]] == ["Q8_0", "Q4_1", "F32"]
    assert found["metadata"]["tokenizer.ggml.tokens"] == {
        "type": "string",
        "length": 49152,
        "first": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>",
                  "<filename>", "<gh_stars>"],
    }  # fmt: skip
    assert found["warnings"] == []
    assert "<|im_start|>user\nWhy is the sky blue?<|im_end|>" in found["sample"]
    assert len(out) < 60_000


def test_inspect_for_people(call):
    status, out, err = call("inspect", "demo")
    assert (status, err) == (0, "")
    for section in ("model", "types", "tokenizer", "metadata", "tensors", "chat template", "sample conversation"):
        assert f"\n{section}\n" in out
    assert "Q4_1, 7.34 bits per weight" in out


def test_inspect_says_what_is_wrong(call, tmp_path):
    import gguf
    import numpy as np

    path = tmp_path / "bad.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("evil\x1b[2Jname")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["a", "b"])
    writer.add_chat_template("{% if %}")
    writer.add_tensor("token_embd.weight", np.zeros((2, 32), np.float32))
    finish(writer)
    status, out, _ = call("inspect", str(path), "--json")
    assert status == 0
    found = json.loads(out)
    assert {"unloadable", "template", "no_end"} <= {warning["kind"] for warning in found["warnings"]}
    assert found["sample"] is None
    status, out, _ = call("inspect", str(path))
    assert status == 0
    assert "\x1b" not in out
    assert "\nwarnings\n" in out


def test_inspect_two_files(call, q8):
    status, out, err = call("inspect", "demo", str(q8), "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["other"]["path"] == str(q8)
    assert found["difference"]["types"] == [
        {
            "first": "Q4_1",
            "second": "Q8_0",
            "tensors": 7 * LAYERS,
            "first_bytes": 2_211_840 * LAYERS,
            "second_bytes": 3_760_128 * LAYERS,
        }
    ]
    assert found["difference"]["same_tensors"] == 2 + 2 * LAYERS
    assert found["difference"]["metadata"] == {"general.file_type": [3, 7]}
    status, out, _ = call("inspect", "demo", str(q8))
    assert status == 0
    assert "general.file_type" in out


def test_inspect_of_nothing(call, tmp_path):
    status, out, _ = call("inspect", str(tmp_path / "missing.gguf"), "--json")
    assert status == 1
    assert json.loads(out)["error"]["kind"] == "model_file"


def test_fit_as_json(call, short_demo):
    status, out, err = call("fit", "demo", "--ctx", "4096", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["kv_bytes"] == LAYERS * 4096 * 2 * 192 * 2
    assert found["total_bytes"] == found["weights_bytes"] + found["kv_bytes"] + found["compute_bytes"]
    assert found["weights_bytes"] == pytest.approx(read_header(short_demo).tensor_bytes, rel=0.01)
    assert found["free_bytes"] > 0
    assert found["fits"] is (found["total_bytes"] <= found["free_bytes"])
    assert found["largest_ctx"] <= found["trained_ctx"] == 8192
    assert found["devices"][0]["name"] == "CPU"


def test_fit_takes_parameters(call):
    _, plain, _ = call("fit", "demo", "--ctx", "4096", "--json")
    _, small, _ = call("fit", "demo", "--ctx", "4096", "--set", "type_k=q8_0", "--set", "type_v=q8_0", "--json")
    assert json.loads(small)["kv_bytes"] * 32 == json.loads(plain)["kv_bytes"] * 17
    _, off, _ = call("fit", "demo", "--ctx", "8192", "--set", "flash_attn=off", "--json")
    assert json.loads(off)["compute_bytes"] > json.loads(plain)["compute_bytes"]


def test_fit_prices_a_modelfile_as_it_would_be_loaded(call, tmp_path):
    path = tmp_path / "Modelfile"
    path.write_text("FROM demo\nPARAMETER num_ctx 1024\n")
    assert json.loads(call("fit", str(path), "--json")[1])["ctx"] == 1024
    assert json.loads(call("fit", str(path), "--ctx", "2048", "--json")[1])["ctx"] == 2048
    assert json.loads(call("fit", str(path), "--set", "num_ctx=512", "--json")[1])["ctx"] == 512


def test_fit_prices_full_window_caches(call, tmp_path):
    path = str(write_model(tmp_path / "w.gguf", architecture="gemma2", keys={".attention.sliding_window": 300}))
    status, out, _ = call("fit", path, "--ctx", "4096")
    assert status == 0
    assert "more would be taken by swa_full" in out
    window, full = (
        json.loads(call("fit", path, "--ctx", "4096", "--set", f"swa_full={each}", "--json")[1])
        for each in ("false", "true")
    )
    assert (window["swa_full"], full["swa_full"]) == (False, True)
    assert window["swa_full_bytes"] == full["swa_full_bytes"] == full["kv_bytes"] - window["kv_bytes"] > 0


def test_fit_counts_a_draft_model(call):
    alone, both = (
        json.loads(call("fit", "demo", "--ctx", "1024", "--set", f"speculation={each}", "--json")[1])
        for each in ("ngram", "demo")
    )
    assert (alone["draft_bytes"], both["draft_bytes"]) == (0, alone["total_bytes"])
    assert call("fit", "demo", "--set", "speculation=nosuch")[0] == 2


def test_fit_is_corrected_by_what_the_last_load_took(call):
    plain = json.loads(call("fit", "demo", "--json")[1])
    assert (plain["correction"], plain["last_load"]) == ({}, None)
    estimate, taken = (MemoryUse.of([MemoryBuffer("CPU", "compute", size)]) for size in (2**24, 2**25))
    _, path = find_file(compose(), "demo")
    record = LoadRecord(str(path), LoadSettings(), "CPU", taken, estimate, 1.0, architecture="llama")
    asyncio.run(FileLoadBook(find_paths().loads_file).remember(record))
    found = json.loads(call("fit", "demo", "--json")[1])
    assert found["correction"] == {"compute": 2.0}
    assert found["compute_bytes"] == 2 * plain["compute_bytes"]
    assert found["last_load"] == [
        {"device": "CPU", "purpose": "compute", "estimated": 2**24, "taken": 2**25, "error": -0.5}
    ]
    _, out, _ = call("fit", "demo")
    assert "corrected by what the last llama took: compute x2.000" in out


def test_fit_says_which_overrides_match_nothing(call):
    status, out, _ = call("fit", "demo", "--set", r"override_tensor=blk\.77=CPU", "--set", "tensor_split=1,1,1")
    assert status == 0
    assert r"override_tensor blk\.77=CPU matches no tensor of this model" in out
    status, _, err = call("fit", "demo", "--set", "override_tensor=((=CPU")
    assert status == 2
    assert "PATTERN=DEVICE" in err


def test_fit_for_people(call):
    status, out, _ = call("fit", "demo")
    assert status == 0
    assert "context 8,192: it fits" in out


def test_fit_says_what_a_load_would_refuse(call):
    asked = ("--set", "type_v=q8_0", "--set", "flash_attn=off")
    status, out, _ = call("fit", "demo", *asked)
    assert status == 0
    assert "refuses these settings: A quantized V cache needs flash attention" in out
    assert "it fits" not in out
    found = json.loads(call("fit", "demo", *asked, "--json")[1])
    assert not found["fits"]
    status, _, err = call("run", "demo", "hello", *asked)
    assert status == 1
    assert str(found["refusal"]).split(".")[0] in err


@pytest.mark.parametrize("arguments", [("--ctx", "-5"), ("--ctx", "many"), ("--set", "type_k=q3"), ("--set", "x=1")])
def test_fit_refuses_bad_usage(call, arguments):
    status, out, err = call("fit", "demo", *arguments)
    assert (status, out) == (2, "")
    assert err


def test_quantize_as_json(call, q8, tmp_path):
    status, out, err = call("quantize", str(q8), "Q4_0", "-o", str(tmp_path), "--allow-requantize", "--json")
    assert status == 0, err
    found = json.loads(out)
    path = tmp_path / "Demo-Q4_0.gguf"
    assert found["path"] == str(path)
    assert (found["type"], found["size_bytes"]) == ("Q4_0", path.stat().st_size)
    assert 4.5 < found["bits_per_weight"] < 8, "the embeddings, most of this model, keep more"
    assert found["seconds"] > 0
    assert "100%" in err
    assert [*tmp_path.glob("*.gguf")] == [path]


def test_quantize_writes_beside_its_source(call, q8):
    target = q8.with_name("Demo-F16.gguf")
    status, out, _ = call("quantize", str(q8), "f16", "--allow-requantize")
    assert (status, out) == (0, f"{target}\n")
    assert target.is_file()
    status, out, _ = call("quantize", str(q8), "f16", "--allow-requantize", "--json")
    assert status == 1
    assert json.loads(out)["error"]["kind"] == "target"
    target.unlink()


def test_quantize_does_not_write_into_packages(call, short_demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = call("quantize", "demo", "Q8_0", "--dry-run", "--json")
    assert status == 0
    assert json.loads(out)["path"] == str(tmp_path / "SmolLM2-135M-Instruct-Q8_0.gguf")


def test_quantize_dry(call, q8, tmp_path):
    status, out, _ = call("quantize", "demo", "q8_0", "--dry-run", "-o", str(tmp_path), "--json")
    assert status == 0
    found = json.loads(out)
    assert abs(found["size_bytes"] - q8.stat().st_size) <= 100
    assert found["requantized_tensors"] == 7 * LAYERS
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []


def test_quantize_dry_for_every_type(call, tmp_path):
    status, out, _ = call("quantize", "demo", "all", "--dry-run")
    assert status == 0
    assert "Q4_K_M" in out
    assert "no tensor type fallback" in out
    status, out, _ = call("quantize", str(write_model(tmp_path / "tiny.gguf")), "all", "--dry-run", "--json")
    assert len(json.loads(out)) > 30


@pytest.mark.parametrize(
    ("arguments", "status", "kind"),
    [
        (("demo", "Q4_K_N"), 2, ""),
        (("demo", "all"), 2, ""),
        (("demo", "Q8_0"), 1, "requantize"),
        (("demo", "IQ1_S", "--allow-requantize"), 1, "imatrix"),
        (("demo", "Q4_0", "--imatrix", "missing.gguf"), 1, "imatrix"),
        (("demo", "Q1_0", "--dry-run"), 1, "quantize"),
        (("nothing.gguf", "Q4_0"), 1, "model_file"),
    ],
)
def test_quantize_refuses(call, tmp_path, monkeypatch, arguments, status, kind):
    monkeypatch.chdir(tmp_path)
    found, out, err = call("quantize", *arguments, "--json")
    assert found == status
    if kind:
        assert json.loads(out)["error"]["kind"] == kind
    else:
        assert json.loads(out)["error"]["kind"] == "parameter"
        assert "did you mean" in err.casefold() or "all" in err
    assert not [*tmp_path.glob("*.part")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing(demo_path, tmp_path, number):
    target = tmp_path / "out" / "Demo-F32.gguf"
    target.parent.mkdir()
    command = [sys.executable, "-m", "workbench.cli.main", "quantize", str(demo_path), "F32", "--allow-requantize"]
    with subprocess.Popen([*command, "-o", str(target)], stderr=subprocess.PIPE, text=True, env=os.environ) as program:
        # The first line comes while the first tensor is in work.
        assert "tensor" in program.stderr.readline()
        program.send_signal(number)
        rest = program.stderr.read()
    assert program.returncode == 130
    assert rest.endswith("Quantizing was stopped.\n")
    assert not [*target.parent.iterdir()]
