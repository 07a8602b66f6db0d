from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from workbench.store.paths import find_paths

QUESTION = ("--prompt", "Write one sentence about the sea.", "--greedy", "--max-tokens", "12")


def test_a_race_of_one_model_against_itself_parts_nowhere(call, tmp_path: Path) -> None:
    status, out, err = call("compare", "demo", "demo", *QUESTION, "--json", "-o", str(tmp_path / "race.csv"))
    assert status == 0, err
    found = json.loads(out)
    first, second = found["lanes"]
    assert first["text"] == second["text"] != ""
    assert second["first_divergence"] is None
    assert found["reference"] == 0
    assert first["seed"] == second["seed"]
    for lane in (first, second):
        assert lane["completion_tokens"] == 12
        assert lane["finish_reason"] == "length"
        assert lane["decode_tps"] > 0
        assert lane["peak_bytes"] > lane["size_bytes"]
    with (tmp_path / "race.csv").open() as file:
        assert [row["completion_tokens"] for row in csv.DictReader(file)] == ["12", "12"]


def test_a_parameter_of_one_lane_alone(call) -> None:
    status, out, _ = call("compare", "demo", "demo", *QUESTION, "--lane", "2:num_predict=3", "--json")
    assert status == 0
    assert [lane["completion_tokens"] for lane in json.loads(out)["lanes"]] == [12, 3]


def test_a_lane_that_fails_does_not_end_the_race(call, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    status, out, err = call("compare", "demo", str(tmp_path / "bad.gguf"), *QUESTION, "--json")
    assert status == 1
    good, bad = json.loads(out)["lanes"]
    assert good["text"]
    assert bad["error"]["kind"] == "model_file"
    assert "bad.gguf" in err


SHORT = ("scripted", "scripted", "--prompt", "x", "--max-tokens", "2")


def test_the_table_is_markdown(call, tmp_path: Path) -> None:
    status, out, _ = call("compare", *SHORT, "-o", str(tmp_path / "race.md"))
    assert status == 0
    assert "| lane | quant |" in out
    assert (tmp_path / "race.md").read_text() == out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("demo",), "two to 4 models"),
        (("demo",) * 5, "two to 4 models"),
        (("demo", "demo", "--lane", "3:top_k=1"), "from 1 to 2"),
        (("demo", "demo", "--lane", "top_k=1"), "from 1 to 2"),
        (("demo", "demo", "--lane", "1:topk=1"), "topk"),
        (("demo", "demo", "--prompt", " "), "empty"),
        (("demo", "demo", "--prompt", "x", "-o", "race.txt"), "kind of file"),
    ],
)
def test_bad_usage(call, arguments: tuple[str, ...], message: str) -> None:
    status, _, err = call("compare", *arguments)
    assert status == 2
    assert message in err


def test_a_home_that_cannot_be_written_leaves_one_document(call, tmp_path: Path) -> None:
    races = find_paths().races_dir
    races.parent.mkdir(parents=True, exist_ok=True)
    races.write_text("in the way")
    status, out, err = call("compare", *SHORT, "--json")
    assert (status, len(json.loads(out)["lanes"])) == (0, 2)
    assert "The race cannot be kept" in err
    status, out, err = call("compare", *SHORT, "--json", "-o", str(races / "below" / "race.csv"))
    assert (status, len(json.loads(out)["lanes"])) == (1, 2)
    assert "race.csv" in err


def test_a_result_in_an_unknown_home_folder_is_refused_before_the_race(call) -> None:
    status, out, _ = call("compare", *SHORT, "--json", "-o", "~nosuchuser/race.md")
    assert (status, json.loads(out)["error"]["kind"]) == (1, "path")
