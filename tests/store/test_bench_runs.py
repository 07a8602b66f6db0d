from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.bench.fake_bencher import MACHINE, case, model_of
from workbench.core.bench import BenchResult, BenchTest, Conditions, MemorySpeed, RunTime, Sample
from workbench.core.errors import BenchRunError
from workbench.core.json_reader import read_json
from workbench.lab.bench.latency import LatencyAnswer, LatencyResult
from workbench.lab.bench.pairs import DuelRecord, Pair
from workbench.lab.bench.record import BenchRecord, LatencyRecord
from workbench.store.kept_runs import bench_runs
from workbench.store.memory_speed import best_memory_speed

SAMPLE = Sample(RunTime(10, 20, 31), 1, Conditions(0.5, 3000.0, 4.0, 0.1), ("other programs computed",))


def record(run="260101-120000-ab12", **changes):
    made = BenchRecord(
        id=run,
        at="2026-01-01T12:00:00Z",
        kind="tests",
        command=("bench", "a", "-p", "64"),
        machine=MACHINE,
        memory=MemorySpeed(4e10, "copying"),
        results=(BenchResult(case(), model_of("a"), "2026-01-01T12:00:01Z", (SAMPLE, SAMPLE), 2, True, 4e10),),
        duels=(
            DuelRecord(
                case("a"), case("b"), (model_of("a"), model_of("b")), "blocks", (Pair("b", (SAMPLE,), (SAMPLE,)),)
            ),
        ),
        felt=(LatencyRecord("a Q4_0", (LatencyResult(8, 4, False, (LatencyAnswer(1.5, 2.5, 8, None, 4),)),)),),
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def runs(tmp_path):
    return bench_runs(tmp_path / "bench", clock=lambda: 1_767_268_800.0)


def test_a_run_comes_back_as_it_was(runs):
    runs.save(record())
    assert runs.load("260101-120000-ab12") == record()


async def test_a_screen_keeps_runs_without_waiting(runs):
    await runs.keep(record())
    assert await runs.kept() == [record()]


@given(
    st.lists(st.builds(RunTime, st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**62)), max_size=4),
    st.floats(0, 1e6), st.text(max_size=20), st.integers(0, 2**40),
)  # fmt: skip
def test_any_samples_survive(times, load, text, depth):
    samples = tuple(Sample(time, 1, Conditions(load_average=load), (text,)) for time in times)
    result = BenchResult(case("a", BenchTest(n_gen=1, n_depth=depth)), model_of("a"), text, samples)
    made = record(results=(result,))
    assert read_json(BenchRecord, json.loads(json.dumps(dataclasses.asdict(made)))) == made


def test_a_run_has_an_id_of_its_own(runs):
    first, second = runs.new_id(), runs.new_id()
    assert first != second
    assert first.startswith("260101-120000-")
    runs.save(record(first))
    assert runs.load(first).id == first


def test_the_newest_is_first(runs):
    for run in ("260101-120000-aaaa", "260301-120000-aaaa", "260201-120000-aaaa"):
        runs.save(record(run))
    assert [each.id for each in runs.records()] == ["260301-120000-aaaa", "260201-120000-aaaa", "260101-120000-aaaa"]
    assert runs.load("last").id == "260301-120000-aaaa"
    assert runs.load("2602").id == "260201-120000-aaaa"


@pytest.mark.parametrize("name", ["", "2", "nothing", "last", "../x", "260101-120000-ab13"])
def test_what_is_not_kept_is_an_error(runs, name):
    if name == "2":
        runs.save(record("260101-120000-aaaa"))
        runs.save(record("260201-120000-aaaa"))
    with pytest.raises(BenchRunError) as error:
        runs.load(name)
    assert error.value.hint


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"id": 5}', "[" * 100_000, '{"results": [{"samples": "x"}]}']
)
def test_a_spoilt_file_is_left_out_and_named_when_it_is_asked_for(runs, tmp_path, content):
    runs.save(record())
    (tmp_path / "bench" / "260202-000000-0000.json").write_text(content)
    (tmp_path / "bench" / "notes.json").write_text("mine")
    assert [each.id for each in runs.records()] == ["260101-120000-ab12"]
    with pytest.raises(BenchRunError, match="260202"):
        runs.load("260202")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchRunError, match="cannot be kept"):
        bench_runs(tmp_path / "file" / "bench").save(record())
    assert bench_runs(tmp_path / "nowhere").records() == []


def test_the_best_memory_bandwidth_is_kept(tmp_path):
    path = tmp_path / "state" / "speed.json"
    slow, fast = MemorySpeed(1e9, "copying"), MemorySpeed(2e9, "copying")
    assert best_memory_speed(path, "cpu", slow) == slow
    assert best_memory_speed(path, "cpu", fast) == fast
    assert best_memory_speed(path, "cpu", slow) == fast
    assert best_memory_speed(path, "another cpu", slow) == slow
    assert best_memory_speed(path, "another cpu", None) == slow
    path.write_text("[]")
    assert best_memory_speed(path, "cpu", None) is None
    assert best_memory_speed(path, "cpu", slow) == slow
    assert best_memory_speed(path / "no", "cpu", slow) == slow
