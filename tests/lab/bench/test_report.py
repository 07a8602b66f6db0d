from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from tests.lab.bench.fake_bencher import MACHINE, case, model_of
from workbench.core.bench import BenchResult, BenchTest, Conditions, RunTime, Sample, part_speeds
from workbench.lab.bench.latency import LatencyAnswer, LatencyResult
from workbench.lab.bench.pairs import DuelRecord, Pair
from workbench.lab.bench.record import BenchRecord, lay_beside
from workbench.lab.bench.report import (
    as_fields,
    build_line,
    comparison_fields,
    latency_fields,
    latency_table,
    markdown,
    notes,
    parallel_fields,
    parallel_table,
    result_table,
)

# What llama-bench of llama.cpp 0c1e570 prints with `-o jsonl`, in this order.
LLAMA_BENCH = [
    "build_commit",
    "build_number",
    "cpu_info",
    "gpu_info",
    "backends",
    "model_filename",
    "model_type",
    "model_size",
    "model_n_params",
    "n_batch",
    "n_ubatch",
    "n_threads",
    "cpu_mask",
    "cpu_strict",
    "poll",
    "type_k",
    "type_v",
    "n_gpu_layers",
    "n_cpu_moe",
    "split_mode",
    "main_gpu",
    "no_kv_offload",
    "flash_attn",
    "devices",
    "tensor_split",
    "tensor_buft_overrides",
    "load_mode",
    "lazy_mode",
    "embeddings",
    "no_op_offload",
    "no_host",
    "repack",
    "fit_target",
    "fit_min_ctx",
    "n_prompt",
    "n_gen",
    "n_depth",
    "test_time",
    "avg_ns",
    "stddev_ns",
    "avg_ts",
    "stddev_ts",
    "samples_ns",
    "samples_ts",
]


def sample(prompt_ms, gen_ms, disturbed=()):
    time = RunTime(prompt_ms * 10**6, gen_ms * 10**6, (prompt_ms + gen_ms) * 10**6)
    return Sample(time, 1, disturbed=disturbed)


def result(one=None, samples=None, **more):
    one = one or case("a", BenchTest(n_prompt=100))
    taken = tuple(samples or (sample(100, 0), sample(200, 0)))
    return BenchResult(one, model_of(one.ref), "2026-01-01T12:00:00Z", taken, **more)


def test_the_fields_are_those_of_llama_bench_in_its_order():
    fields = as_fields(result(), MACHINE)
    assert list(fields)[: len(LLAMA_BENCH)] == LLAMA_BENCH
    json.dumps(fields)


def test_the_figures_in_the_fields():
    fields = as_fields(result(case("a", BenchTest(n_prompt=100), flash_attn="on", type_k="q8_0")), MACHINE)
    assert fields["samples_ns"] == [100_000_000, 200_000_000]
    assert fields["samples_ts"] == [1000, 500]
    assert (fields["avg_ns"], fields["stddev_ns"]) == (150_000_000, 70_710_678)
    assert (fields["avg_ts"], fields["stddev_ts"]) == (750, pytest.approx(353.553, abs=1e-3))
    assert (fields["flash_attn"], fields["type_k"], fields["n_threads"]) == (1, "q8_0", 4)
    assert (fields["n_prompt"], fields["n_gen"], fields["n_depth"]) == (100, 0, 0)
    assert fields["model_filename"] == "/models/a.gguf"


def test_one_repetition_has_no_deviation():
    fields = as_fields(result(samples=[sample(100, 0)]), MACHINE)
    assert (fields["stddev_ns"], fields["stddev_ts"]) == (0, 0)


def test_sequences_have_the_names_of_llama_batched_bench():
    one = case("a", BenchTest(n_prompt=10, n_gen=5, sequences=4))
    fields = parallel_fields(result(one, [sample(100, 200), sample(300, 200)]))
    assert (fields["pp"], fields["tg"], fields["pl"], fields["n_kv"]) == (10, 5, 4, 60)
    assert (fields["t_pp"], fields["t_tg"], fields["t"]) == (0.2, 0.2, 0.4)
    assert (fields["speed_pp"], fields["speed_tg"], fields["speed"]) == (200, 100, pytest.approx(150))
    assert fields["tps_per_sequence"] == 25
    assert "| 25.00 |" in re.sub(" +", " ", parallel_table([result(one, [sample(100, 200)])]))


def test_a_part_that_is_not_there_has_no_speed():
    assert part_speeds([sample(100, 0)], BenchTest(n_prompt=10)) == (100, None)
    assert part_speeds([sample(0, 100)], BenchTest(n_gen=10)) == (None, 100)


def test_a_table_has_equal_rows():
    lines = markdown(("a", "bb"), [("x|y", "1"), ("z", "12345")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| ---- | ----: |"
    assert lines[2].startswith("| x\\|y |")


def test_settings_stand_in_the_table_where_they_differ():
    same = result_table([result(), result()])
    assert "type_k" not in same
    assert "750.00 ± 353.55" in same
    differing = result_table([result(), result(case("a", BenchTest(n_prompt=100), type_k="q8_0", n_batch=64))])
    assert "type_k" in differing
    assert "n_batch" in differing
    assert "type_v" not in differing


def test_the_share_of_the_memory_bandwidth_is_shown_where_it_is_known():
    tg = result(case("a", BenchTest(n_gen=10)), [sample(0, 100)], memory_bytes_per_s=400e6)
    assert tg.roof_pct == pytest.approx(25)
    assert "25 %" in result_table([result(), tg])
    assert "bandwidth" not in result_table([result()])


def test_disturbed_results_have_a_mark_that_is_explained():
    disturbed = result(
        samples=[sample(100, 0), sample(100, 0, ("other programs computed",))], warm_up_runs=4, stable=False
    )
    assert "± 0.00 *" in result_table([disturbed])
    assert notes([disturbed, result()]) == [
        "* a Q4_0 pp100: 1 of 2 disturbed: other programs computed",
        "a Q4_0 pp100: still not stable after 4 warm-up runs",
    ]


def test_what_is_felt():
    found = LatencyResult(64, 8, True, (LatencyAnswer(10.0, 30.0, 65, 64, 8), LatencyAnswer(20.0, None, 65, None, 8)))
    fields = latency_fields(found, "a Q4_0", {})
    assert (fields["ttft_p50_ms"], fields["ttft_p95_ms"], fields["total_p50_ms"]) == (15, None, 30)
    assert (fields["cached_tokens"], fields["again"]) == (64, True)
    assert "a Q4_0, again" in latency_table([found], "a Q4_0")


def duel(a, b, model_a="a", model_b="a", times_b=(50,)):
    pairs = tuple(Pair("a", (sample(0, 100),), (sample(0, time, ("x",) * (time == 79)),)) for time in times_b)
    return DuelRecord(a, b, (model_of(model_a), model_of(model_b)), "interleaved", pairs)


def test_a_comparison_as_fields():
    found = comparison_fields(duel(case("a"), case("b"), "a", "b", (80, 79, 81)))
    assert list(found) == [
        "ratio", "interval", "pairs", "disturbed", "verdict", "ahead", "test", "a", "b", "design",
    ]  # fmt: skip
    assert found["interval"][0] < found["ratio"] < found["interval"][1]
    assert found["verdict"].startswith("b Q4_0 is 25.0 % faster than a Q4_0")
    assert (found["pairs"], found["disturbed"], found["ahead"]) == (3, 1, 3)
    assert comparison_fields(duel(case("a"), case("b")))["interval"] is None


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (duel(case("a"), case("b"), "a", "b"), ("a Q4_0", "b Q4_0")),
        (duel(case("a", type_k="f16"), case("a", type_k="q8_0")), ("-ctk f16", "-ctk q8_0")),
        (duel(case("x/a"), case("y/a")), ("x/a", "y/a")),
        (duel(case("a"), case("a")), ("A", "B")),
    ],
)
def test_two_sides_are_called_by_what_tells_them_apart(made, names):
    assert made.names == names


def record(run, *results, duels=()):
    return BenchRecord(run, "2026", "tests", ("bench",), MACHINE, results=results, duels=duels)


def test_two_runs_beside_each_other():
    faster = result(samples=[sample(50, 0)])
    first = record("1", result(), result(case("a", BenchTest(n_gen=1)), [sample(0, 10)]))
    (change,) = lay_beside(first, record("2", faster))
    assert (change.label, change.first, change.second) == ("a Q4_0 pp100", 750, 2000)
    assert change.ratio == pytest.approx(2000 / 750)


def test_other_models_stand_beside_each_other_by_test():
    (change,) = lay_beside(record("1", result()), record("2", result(case("b", BenchTest(n_prompt=100)))))
    assert change.ratio == 1
    assert lay_beside(record("1", result()), record("2", result(case("a", BenchTest(n_prompt=5))))) == ()


def test_comparisons_stand_beside_tests():
    made = duel(case("a", BenchTest(n_prompt=100)), case("b", BenchTest(n_prompt=100)), "a", "b")
    (change,) = lay_beside(record("1", result()), record("2", duels=(made,)))
    assert (change.first, change.second) == (750, 1000)


def test_models_of_a_run_are_named_once():
    assert record("1", result(), result(), duels=(duel(case("a"), case("b"), "a", "b"),)).models == ("a Q4_0", "b Q4_0")


def test_the_build_is_named():
    assert build_line(MACHINE) == "build: 0c1e570 (workbench 0.1.0)"


def test_energy_is_told_for_each_token_where_a_counter_was_read():
    known = replace(sample(100, 0), conditions=Conditions(gpu_joules=50.0))
    one = result(samples=[known, sample(100, 0)])
    assert one.joules_per_token == 0.5
    assert as_fields(one, MACHINE)["joules_per_token"] == 0.5
    lines = result_table([one, result()]).splitlines()
    assert lines[0].endswith("| J/token |")
    assert [line.split("|")[-2].strip() for line in lines[2:]] == ["0.50", "—"]
    assert "J/token" not in result_table([result()])
