"""`workbench tune` on a machine whose speed is a formula."""

from __future__ import annotations

import json

import pytest

from tests.lab.bench.fake_bencher import FakeBencher
from tests.lab.tune.scripted import ScriptedBencher
from tests.lab.tune.test_tune import flat, quiet, six_threads
from workbench.cli import composition
from workbench.cli.composition import compose
from workbench.core.chat import Message
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.store.export.session import session_text


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch):
    def use(seconds, **options) -> ScriptedBencher:
        bencher = quiet(seconds, **options)
        monkeypatch.setattr(composition.Workers, "tune_bencher", bencher, raising=False)
        return bencher

    return use


def test_the_best_is_kept_for_the_model_and_is_then_today(call, speed):
    speed(six_threads)
    status, out, err = call("tune", "demo", "--goal", "decode", "--busy", "mark", "--keep", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["verdict"] == "better"
    assert found["keep"] == {"num_thread": 6, "num_thread_batch": 8}
    assert found["command"].endswith("--set num_thread=6 --set num_thread_batch=8")
    assert found["interval"][0] > 1
    workers = compose()
    assert workers.kept.of(workers.catalog.resolve("demo")) == found["keep"]
    status, out, _ = call("tune", "demo", "--goal", "decode", "--busy", "mark", "--keep")
    assert status == 0
    assert "Your settings are already best." in out
    assert "| your settings" in out


def test_constraints_that_nothing_meets(call, speed):
    speed(flat)
    status, out, _ = call("tune", "demo", "--max-gb", "0.01", "--caches", "q8_0", "--json")
    assert status == 1
    error = json.loads(out)["error"]
    assert error["kind"] == "tune"
    assert error["message"].startswith(
        "Nothing meets the constraints. The hardest is the memory on CPU: with a context"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("demo", "--goal", "x"), ("demo", "-p", "0"), ("demo", "--max-gb", "x"), ("demo", "--min-ctx", "-1"),
        ("demo", "--caches", "q9"), ("demo", "--pairs", "1"), ("http://127.0.0.1:9#m",),
        ("demo", "--set", "num_thread"),
    ],
)  # fmt: skip
def test_bad_usage(call, speed, words):
    speed(flat)
    status, _, err = call("tune", *words)
    assert status == 2
    assert err.startswith("workbench tune: ")


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> FakeBencher:
    bencher = FakeBencher(lambda ref, test, number: 1.0 + 0.001 * (number % 3))
    monkeypatch.setattr(composition.Workers, "bencher", bencher, raising=False)
    monkeypatch.setattr(composition.Workers, "build_text", lambda self, local: "workbench 1, llama.cpp 2")
    return bencher


def test_a_lock_passes_until_something_gets_worse(call, timed, tmp_path):
    file, report = str(tmp_path / "lock.json"), tmp_path / "report.md"
    status, _, err = call("lock", file)
    assert (status, "Nothing was measured yet" in err) == (1, True)
    assert call("bench", "demo", "-p", "0", "-n", "8", "-r", "4")[0] == 0
    status, out, err = call("lock", file, "--json")
    assert status == 0, err
    assert all("sha256:" in digest for digest in json.loads(out)["digests"].values())
    assert "exists already" in call("lock", file)[2]
    status, out, _ = call("lock", file, "--check")
    assert (status, "Nothing got worse beyond noise." in out) == (0, True)
    timed.seconds = lambda ref, test, number: 2.0 + 0.001 * (number % 3)
    status, out, _ = call("lock", file, "--check", "--json", "-o", str(report))
    (row,) = json.loads(out)["rows"]
    assert (status, row["worse"], row["kind"]) == (1, True, "speed")
    assert "WORSE" in report.read_text()


@pytest.mark.parametrize("text", ["", "[]", '{"at": 1}', "{" * 5000])
def test_a_file_that_is_no_lock(call, tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    status, _, err = call("lock", str(path), "--check")
    assert (status, "is no lock" in err) == (1, True)


def test_speculation_is_judged_by_the_prompts_of_a_session(call, tmp_path, monkeypatch):
    assert call("tune", "demo", "--speculation")[0] == 1
    turns = [
        Turn(Message("user", "the sea, the light, the sea, the light,"), 0.0),
        Turn(Message("assistant", "x"), 0.0),
    ]
    (tmp_path / "s.json").write_text(session_text(Session("s", 0.0, 1.0, tree=Tree.of(turns)), "json"))
    assert call("import", str(tmp_path / "s.json"))[0] == 0
    sets = ("--set", "num_ctx=512", "--set", "temperature=0")
    status, out, err = call("tune", "demo", "--speculation", "--pairs", "3", "-n", "12", *sets, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["speculation"] == "ngram"
    assert len(found["pairs"]) == 3
    assert all(pair["same_text"] for pair in found["pairs"])
    assert found["draft_n"] >= found["draft_n_accepted"]
