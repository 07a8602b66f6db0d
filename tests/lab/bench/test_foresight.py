from __future__ import annotations

import pytest

from tests.lab.bench.fake_bencher import MACHINE, model_of
from workbench.core.bench import BenchCase, BenchResult, BenchSettings, BenchTest, RunTime, Sample
from workbench.core.models import ModelEntry
from workbench.core.sweep import SweepSettings
from workbench.lab.bench.foresight import foresee
from workbench.lab.bench.grid import Grid
from workbench.lab.bench.plan import BenchPlan, SweepPlan
from workbench.lab.bench.record import BenchRecord

MODELS = {"a": ModelEntry("a", "Toy", "Q4_0", size_bytes=2_000_000_000, context_length=4096)}


def kept(prefill_tps: float, decode_tps: float, *disturbed: str) -> BenchRecord:
    """A kept run with the speeds of model `a`, and what disturbed it."""

    def result(test: BenchTest, speed: float) -> BenchResult:
        ns = round(test.tokens / speed * 1e9)
        return BenchResult(
            BenchCase("a", BenchSettings(), test),
            model_of("a"),
            "",
            (Sample(RunTime(0, ns, ns), 1, disturbed=disturbed),),
        )

    results = (result(BenchTest(512), prefill_tps), result(BenchTest(0, 128), decode_tps))
    return BenchRecord("1", "", "tests", ("bench", "a"), MACHINE, results=results)


@pytest.mark.parametrize(
    ("plan", "seconds"),
    [
        (BenchPlan(Grid(("a",), n_prompt=(1000,), n_gen=(100,)), repetitions=4), 5 * (1 + 10)),
        (BenchPlan(Grid(("a",), n_prompt=(1000,), n_gen=(0,), n_depth=(2000,)), repetitions=1, warm=False), 3),
        (BenchPlan(Grid(("a", "a"), n_prompt=(0,), n_gen=(10,)), pairs=9), 2 * 10 * 1),
        (BenchPlan(Grid(("a",), n_gen=(10,)), latency=(1000, 2000), repetitions=2, cache=True), 4 * (1 + 2 + 2)),
    ],
)
def test_the_time_of_a_plan_follows_from_earlier_runs(plan: BenchPlan, seconds: float) -> None:
    found = foresee(plan, MODELS, [kept(1000.0, 10.0)])
    assert found.seconds == pytest.approx(seconds, rel=0.02)
    assert found.doubts == ()


def test_a_long_run_is_a_doubt_that_says_what_it_follows_from() -> None:
    plan = BenchPlan(Grid(("a",), n_gen=(2000,)), repetitions=10)
    (doubt,) = foresee(plan, MODELS, [kept(1000.0, 10.0)]).doubts
    assert doubt.startswith("By earlier measurements, this takes about 36 min")
    (doubt,) = foresee(plan, MODELS, []).doubts
    assert doubt.startswith("By the size of what was never measured here, this takes about 37 min")
    assert foresee(BenchPlan(Grid(("unknown",))), MODELS, []).words == ""


def test_a_run_that_was_disturbed_counts_only_where_there_is_no_other() -> None:
    plan = BenchPlan(Grid(("a",), n_prompt=(0,), n_gen=(100,)), repetitions=1, warm=False)
    disturbed, calm = kept(100.0, 1.0, "other programs computed"), kept(1000.0, 10.0)
    assert foresee(plan, MODELS, [disturbed, calm]).words == "about 11 s"
    assert foresee(plan, MODELS, [disturbed]).words == "about 1 min 41 s"


def test_a_test_beyond_the_context_is_a_doubt() -> None:
    fits = BenchPlan(Grid(("a",), n_prompt=(4096,), n_gen=(0,)), repetitions=1)
    beyond = BenchPlan(Grid(("a",), n_prompt=(96,), n_gen=(0,), n_depth=(4001,)), repetitions=1)
    speeds = [kept(1e6, 1e6)]
    assert foresee(fits, MODELS, speeds).doubts == ()
    (doubt,) = foresee(beyond, MODELS, speeds).doubts
    assert doubt.startswith("Toy Q4_0 was trained for a context of 4,096 tokens, and a test here has 4,097")


def test_a_sweep_takes_up_to_the_time_of_its_levels() -> None:
    sweep = SweepPlan("http://127.0.0.1:1", SweepSettings(levels=(1, 2), seconds=400.0))
    assert foresee(BenchPlan(Grid(()), sweep=sweep), {}, []).doubts == ("This takes up to 13 min 20 s.",)
