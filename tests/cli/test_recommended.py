"""The sampling that a model's author recommends, in `run` and `compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.gguf.conftest import write_model

KEYS = {
    "general.sampling.temp": 0.0,
    "general.sampling.top_k": 1,
    "general.sampling.top_p": 0.5,
    "general.sampling.penalty_repeat": 1.1,
}


@pytest.fixture
def own(tmp_path) -> str:
    return str(write_model(tmp_path / "own.gguf", keys=KEYS))


def run(call, *arguments):
    status, out, err = call("run", *arguments, "--raw", "--max-tokens", "12", "--set", "num_ctx=256", "--json")
    assert status == 0, err
    return json.loads(out), err


def test_run_uses_them_and_says_so(call, own):
    (first, err), (second, _) = run(call, own, "Once"), run(call, own, "Once")
    assert first["text"] == second["text"]
    assert first["seed"] != second["seed"]
    assert "The model's author recommends temperature 0, top_k 1, top_p 0.5, repeat_penalty 1.1" in err
    assert first["settings"]["temperature"] == {"value": 0.0, "from": "author"}
    assert first["settings"]["num_predict"] == {"value": 12, "from": "command line"}


def test_the_command_line_counts_more_even_with_the_default(call, own):
    found, err = run(call, own, "Once", "--set", "temperature=0.8", "--set", "top_k=40")
    assert found["settings"]["temperature"] == {"value": 0.8, "from": "command line"}
    assert found["settings"]["top_p"] == {"value": 0.5, "from": "author"}
    assert "recommends top_p 0.5, repeat_penalty 1.1" in err


def test_a_modelfile_counts_more(call, own, tmp_path):
    path = tmp_path / "a.Modelfile"
    path.write_text(f"FROM {own}\nPARAMETER temperature 0.8\n", encoding="utf-8")
    found, _ = run(call, str(path), "Once")
    assert found["settings"]["temperature"] == {"value": 0.8, "from": "Modelfile"}
    assert found["settings"]["top_k"] == {"value": 1, "from": "author"}


def test_the_config_counts_more(call, own):
    from workbench.store.paths import find_paths

    file = find_paths().config_file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[sampling]\ntemperature = 0.8\n", encoding="utf-8")
    found, _ = run(call, own, "Once")
    assert found["settings"]["temperature"] == {"value": 0.8, "from": "config"}


def test_each_lane_of_a_race_has_its_own(call, own, tmp_path):
    plain = str(write_model(tmp_path / "plain.gguf"))
    arguments = ("--prompt", "Once", "--max-tokens", "4", "--set", "num_ctx=256", "--lane", "2:top_p=0.7")
    file = tmp_path / "race.md"
    status, out, err = call("compare", own, plain, own, *arguments, "--json", "-o", str(file))
    assert status == 0, err
    settings = [lane["settings"] for lane in json.loads(out)["lanes"]]
    assert [each.get("temperature") for each in settings] == [
        {"value": 0.0, "from": "author"}, None, {"value": 0.0, "from": "author"},
    ]  # fmt: skip
    assert settings[1]["top_p"] == {"value": 0.7, "from": "lane"}
    assert "Settings: temperature 0 (author)" in Path(file).read_text(encoding="utf-8")
    _, out, _ = call("compare", own, plain, *arguments, "--greedy", "--json")
    assert [lane["settings"]["temperature"]["from"] for lane in json.loads(out)["lanes"]] == ["race", "race"]


def test_the_order_and_a_bias_from_the_file_and_the_command_line(call, tmp_path):
    keys = {"general.sampling.sequence": "top_k;temp", "general.sampling.xtc_probability": 0.25}
    path = str(write_model(tmp_path / "sequence.gguf", keys=keys))
    found, err = run(call, path, "Once", "--set", "logit_bias=40=100", "--set", "logit_bias=41=-inf 42=-1")
    assert found["settings"]["samplers"] == {"value": ["top_k", "temperature"], "from": "author"}
    assert found["settings"]["xtc_probability"] == {"value": 0.25, "from": "author"}
    assert found["settings"]["logit_bias"] == {"value": ["40=100", "41=-inf", "42=-1"], "from": "command line"}
    assert len(set(found["text"])) == 1
    assert "samplers top_k temperature" in err
    status, _, err = call("run", path, "Once", "--set", "samplers=top_k;tfs")
    assert status != 0
    assert "names out of penalties, dry, top_n_sigma" in err
    assert "--set" in call("run", "--help")[1]
