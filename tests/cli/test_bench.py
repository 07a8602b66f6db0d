from __future__ import annotations

import json
import sys

import pytest

from tests.lab.bench.fake_bencher import FakeBencher
from workbench.cli import composition
from workbench.core.bench import MemorySpeed
from workbench.core.errors import MemoryShortError, UnknownModelError
from workbench.core.models import ModelEntry


class FakeCatalog:
    def resolve(self, ref):
        if ref == "nothing":
            raise UnknownModelError("There is no model 'nothing'.", "Did you mean 'a'?")
        return ModelEntry(ref, ref, path=f"/models/{ref}")


class FakeAdviser:
    together = True

    async def fit_together(self, models):
        return self.together


@pytest.fixture
def bencher(monkeypatch):
    """A bencher in the place of llama.cpp: b is twice as fast as a."""
    fake = FakeBencher(lambda ref, test, number: test.tokens * (0.005 if ref == "b" else 0.01))
    for name, value in {"bencher": fake, "catalog": FakeCatalog(), "adviser": FakeAdviser()}.items():
        monkeypatch.setattr(composition.Workers, name, value, raising=False)
    monkeypatch.setattr(composition.Workers, "measure_memory", lambda self, machine: MemorySpeed(1e9, "copying"))
    return fake


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def test_json_is_one_line_a_test_with_the_names_of_llama_bench(call, bencher):
    status, out, err = call("bench", "a", "-p", "64,128", "-n", "16", "-r", "2", "--json")
    assert status == 0
    assert [(line["n_prompt"], line["n_gen"], len(line["samples_ns"])) for line in lines(out)] == [
        (64, 0, 2),
        (128, 0, 2),
        (0, 16, 2),
    ]
    assert [line["avg_ts"] for line in lines(out)] == [pytest.approx(100)] * 3
    assert "kept as" in err


def test_the_table_is_markdown(call, bencher):
    status, out, _ = call("bench", "a", "b", "-p", "64", "-n", "0", "-r", "2")
    assert status == 0
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert "100.00 ± 0.00" in rows[2]
    assert "200.00 ± 0.00" in rows[3]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a", "-p", "0", "-n", "0"],
        ["a", "-r", "0"],
        ["a", "-r", "1,2"],
        ["a", "-p", "x"],
        ["a", "-p", ""],
        ["a", "-t", "-3"],
        ["a", "-b", "0"],
        ["a", "-ctk", "q9"],
        ["a", "-fa", "perhaps"],
        ["a", "-pg", "5"],
        ["a", "--parallel", "0"],
        ["a", "--parallel", "257"],
        ["a", "--parallel", "8", "-b", "4"],
        ["a", "-t", "513"],
        ["a", "--felt", "0"],
        ["a", "--pairs", "0"],
        ["a", "--pairs", "3"],
        ["a", "b", "c", "--pairs", "3"],
        ["a", "b", "--pairs", "3", "--felt", "5"],
        ["a", "--cache"],
        ["a", "--list"],
        ["--show", "a", "b", "c"],
        ["a", "--bogus"],
    ],
)
def test_bad_usage_is_status_2_and_nothing_is_loaded(call, bencher, arguments):
    status, out, err = call("bench", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("workbench bench: ")
    assert bencher.log == []


def test_an_unknown_model_is_found_before_anything_is_timed(call, bencher):
    status, out, _ = call("bench", "a", "nothing", "--json")
    assert status == 1
    assert json.loads(out)["error"]["kind"] == "unknown_model"
    assert bencher.log == []


def test_what_does_not_fit_is_said_and_the_others_are_timed(call, bencher):
    bencher.errors["b"] = MemoryShortError("It is too large.", "Take a smaller one.")
    status, out, err = call("bench", "a", "b", "-p", "8", "-n", "0", "--json")
    assert status == 1
    first, second = lines(out)
    assert first["model"] == "a"
    assert second["error"]["kind"] == "memory"
    assert "It is too large." in err
    status, out, _ = call("bench", "b", "--json")
    assert (status, lines(out)[0]["error"]["kind"], len(lines(out))) == (1, "memory", 1)


def test_a_stopped_run_prints_what_it_has_and_is_kept(call, bencher):
    bencher.stop_after = 7
    status, out, err = call("bench", "a", "-p", "8", "-n", "4", "--no-warmup", "--json")
    assert status == 130
    assert [len(line["samples_ns"]) for line in lines(out)] == [5, 2]
    assert "stopped" in err
    bencher.stop_after = bencher.count
    status, out, err = call("bench", "a")
    assert (status, out) == (130, "")
    _, out, _ = call("bench", "--list", "--json")
    (kept,) = json.loads(out)
    assert kept["interrupted"] is True


def test_pairs_end_with_the_verdict(call, bencher):
    status, out, _ = call("bench", "a", "b", "-n", "16", "-p", "0", "--pairs", "10", "--json")
    assert status == 0
    *sides, last = lines(out)
    assert [side["model"] for side in sides] == ["a", "b"]
    assert list(last)[:5] == ["ratio", "interval", "pairs", "disturbed", "verdict"]
    assert last["ratio"] == pytest.approx(2)
    assert last["interval"] == [pytest.approx(2), pytest.approx(2)]
    assert last["pairs"] == 10
    assert last["verdict"] == "b Q4_0 is 100.0 % faster than a Q4_0, 95 % interval 100.0 to 100.0 %, 10 pairs"


def test_a_model_is_compared_with_itself(call, bencher):
    status, out, _ = call("bench", "a", "a", "-n", "16", "-p", "0", "--pairs", "6", "--json")
    assert status == 0
    last = json.loads(out.splitlines()[-1])
    assert (last["ratio"], last["pairs"]) == (1.0, 6)
    assert "faster" not in last["verdict"]


def test_pairs_in_words(call, bencher, monkeypatch):
    monkeypatch.setattr(FakeAdviser, "together", False)
    status, out, _ = call("bench", "a", "-ctk", "f16,q8_0", "-p", "8", "-n", "4", "--pairs", "3")
    assert status == 0
    assert "pp8: no difference larger than 0.0 % seen, 3 pairs" in out
    assert "tg4: no difference" in out
    assert "each was loaded again for every pair" in out


def test_pairs_of_which_one_fails(call, bencher):
    bencher.errors["b"] = MemoryShortError("It is too large.")
    bencher.errors["a"] = MemoryShortError("It is too large.")
    assert call("bench", "a", "b", "--pairs", "3")[0] == 1


def test_sequences(call, bencher):
    status, out, _ = call("bench", "a", "--parallel", "1,4", "-p", "8", "-n", "4", "-r", "1", "--json")
    assert status == 0
    assert [(line["pl"], line["pp"], line["tg"]) for line in lines(out)] == [(1, 8, 4), (4, 8, 4)]
    status, out, _ = call("bench", "a", "--parallel", "1,4", "-p", "8", "-n", "4", "-r", "1")
    assert "TG t/s each" in out


def test_what_is_felt_goes_through_the_ordinary_engine(call):
    status, out, _ = call("bench", "scripted", "--felt", "32", "-n", "8", "-r", "2", "--json")
    assert status == 0
    (line,) = lines(out)
    assert (line["n_prompt"], line["answers"]) == (32, 2)
    assert line["ttft_p50_ms"] > 0
    assert line["ttft_p95_ms"] is None
    assert {name: value["from"] for name, value in line["settings"].items()} == {
        "seed": "bench",
        "num_predict": "bench",
    }
    call("settings", "scripted", "--set", "top_k=7")
    out = call("bench", "scripted", "--felt", "32", "-n", "8", "-r", "1")[1]
    assert "sampling: top_k 7 (model), seed 1 (bench), num_predict 8 (bench)" in out
    call("settings", "scripted", "--forget", "all")


def test_runs_are_kept_shown_and_laid_beside_each_other(call, bencher):
    assert call("bench", "--list")[2] == "No benchmark runs are kept yet.\n"
    call("bench", "a", "-p", "8", "-n", "0", "-r", "2", "-ctk", "q8_0", "-ctv", "q8_0", "-fa", "1")
    call("bench", "b", "-p", "8", "-n", "0")
    _, out, _ = call("bench", "--list", "--json")
    newest, oldest = sorted(json.loads(out), key=lambda run: run["models"], reverse=True)
    assert oldest["command"] == "workbench bench a -p 8 -n 0 -ctk q8_0 -ctv q8_0 -fa on -r 2"
    status, out, _ = call("bench", "--show", oldest["id"])
    assert status == 0
    assert oldest["command"] in out
    assert "100.00 ± 0.00" in out
    status, out, _ = call("bench", "--show", oldest["id"], newest["id"], "--json")
    assert json.loads(out)["tests"][0]["ratio"] == pytest.approx(2)
    assert "+100.0 %" in call("bench", "--show", oldest["id"], newest["id"])[1]
    shown = json.loads(call("bench", "--show", oldest["id"], "--json")[1])
    assert shown["results"][0]["samples"][0]["time"]["prompt_ns"] > 0
    assert shown["machine"]["build_commit"] == "0c1e570"
    assert shown["results"][0]["model"]["modified_ns"] == 5
    assert call("bench", "--show", "nothing")[0] == 1


def test_the_command_of_a_kept_run_makes_it_again(call, bencher):
    arguments = ("a", "-p", "8", "-n", "4", "-pg", "8,4", "-d", "0,16", "-r", "3", "--seed", "5", "--no-warmup")
    call("bench", *arguments)
    first = json.loads(call("bench", "--show", "last", "--json")[1])
    log = list(bencher.log)
    bencher.log.clear()
    call(*first["command"])
    assert bencher.log == log


def test_a_folder_that_cannot_be_written_loses_no_figures(call, bencher, tmp_path):
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "data").write_text("in the way")
    status, out, err = call("bench", "a", "-p", "8", "-n", "0")
    assert status == 0
    assert "100.00" in out
    assert "cannot be kept" in err


def test_the_demo_model_is_timed(call):
    status, out, _ = call("bench", "demo", "-p", "16", "-n", "2", "-r", "2", "--no-warmup", "--json")
    assert status == 0
    prompt, gen = lines(out)
    assert prompt["model_type"].startswith("llama ")
    assert min(prompt["samples_ts"]) > 1
    assert 0 < gen["roof_pct"] < 1000


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_ctrl_c_prints_the_results_so_far_and_gives_130(interrupted):
    status, out, err = interrupted("bench", "demo", "-p", "8", "-n", "8", "-r", "9999", "--no-warmup", "--json")
    assert status == 130
    assert "stopped" in err
    assert all(line["samples_ns"] for line in lines(out))
    assert "Traceback" not in err
