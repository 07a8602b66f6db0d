from __future__ import annotations

import pytest

from tests.lab.bench.fake_bencher import FakeBencher, FakeWatch, case
from workbench.core.bench import BenchTest, Conditions, RunTime, Sample
from workbench.core.cancel import CancelToken
from workbench.core.errors import EngineError, MemoryShortError, ModelLoadError
from workbench.lab.bench.bench import Bench
from workbench.lab.bench.measure import mark, warm_up

PP, TG = BenchTest(n_prompt=100), BenchTest(n_gen=10)


async def bench(bencher, cases, cancel=None, on_progress=lambda _: None, **options):
    watch = options.pop("watch", None) or FakeWatch()
    work = Bench(bencher, cases, watch, clock=bencher.clock, **{"repetitions": 3, "warm": False, **options})
    await work.run(cancel or CancelToken(), on_progress)
    assert bencher.loaded == 0
    assert bencher.contexts == 0
    return work


async def test_every_case_is_repeated_and_a_model_is_loaded_once():
    bencher = FakeBencher()
    work = await bench(bencher, [case("a", PP), case("a", TG), case("b", PP)], repetitions=2)
    assert bencher.log == [
        "load a",
        "run a pp100",
        "run a pp100",
        "run a tg10",
        "run a tg10",
        "close a",
        "load b",
        "run b pp100",
        "run b pp100",
        "close b",
    ]
    assert [len(result.samples) for result in work.results] == [2, 2, 2]
    assert bencher.most_loaded == 1


async def test_a_model_is_loaded_for_the_longest_of_its_contexts():
    bencher = FakeBencher()
    cases = [case("a", TG), case("a", BenchTest(0, 10, 900), type_k="q8_0"), case("a", PP), case("b", TG)]
    await bench(bencher, cases)
    assert bencher.opened == [cases[1], cases[3]]


async def test_other_layers_on_the_gpu_are_another_load():
    bencher = FakeBencher()
    await bench(bencher, [case(n_gpu_layers=0), case(n_gpu_layers=0, n_threads=2), case(n_gpu_layers=5)])
    assert bencher.log.count("load a") == 2


async def test_speeds_are_means_of_speeds_with_the_deviation_of_a_sample():
    bencher = FakeBencher(lambda ref, test, number: [1.0, 2.0, 4.0][number])
    result = (await bench(bencher, [case("a", TG)])).results[0]
    assert result.samples_ts == (10, 5, 2.5)
    assert result.avg_ts == pytest.approx(17.5 / 3)
    assert result.stddev_ts == pytest.approx(3.8188, abs=1e-4)


async def test_the_tokens_are_drawn_anew_for_each_repetition_and_alike_for_each_case():
    bencher = FakeBencher()
    await bench(bencher, [case("a", PP), case("a", TG)], repetitions=2, seed=7)
    assert bencher.seeds == [7, 8, 7, 8]


async def test_stopping_keeps_what_is_done():
    bencher = FakeBencher(stop_after=4)
    cancel = CancelToken()
    work = await bench(bencher, [case("a", PP), case("a", TG), case("b", TG)], cancel)
    assert cancel.is_set
    assert [len(result.samples) for result in work.results] == [3, 1]
    assert "load b" not in bencher.log
    assert not work.failures


async def test_stopping_before_the_first_repetition_leaves_nothing():
    work = await bench(FakeBencher(stop_after=0), [case()])
    assert work.results == []
    cancelled = CancelToken()
    cancelled.set()
    bencher = FakeBencher()
    assert (await bench(bencher, [case()], cancelled)).results == []
    assert bencher.log == []


async def test_the_others_go_on_where_one_does_not_load():
    error = ModelLoadError("It is broken.")
    bencher = FakeBencher(errors={"b": error})
    work = await bench(bencher, [case("a"), case("b", PP), case("b", TG), case("c")])
    assert [result.case.ref for result in work.results] == ["a", "c"]
    assert work.failures == [error, error]
    assert bencher.log.count("load b") == 1


async def test_a_context_that_does_not_fit_stops_only_its_test():
    bencher = FakeBencher(context_errors={"pp100": MemoryShortError("Too long.")})
    work = await bench(bencher, [case("a", PP), case("a", TG)])
    assert [result.case.test for result in work.results] == [TG]
    assert bencher.log.count("load a") == 1


async def test_a_model_that_fails_halfway_keeps_its_samples():
    def seconds(ref, test, number):
        if number == 2:
            raise EngineError("It failed.")
        return 1.0

    work = await bench(FakeBencher(seconds), [case()])
    assert len(work.results[0].samples) == 2
    assert len(work.failures) == 1


async def test_results_come_one_by_one():
    bencher, seen = FakeBencher(), []
    work = Bench(bencher, [case("a", PP), case("a", TG)], FakeWatch(), repetitions=1, warm=False)
    await work.run(CancelToken(), on_result=lambda result: seen.append((result.case.test, bencher.count)))
    assert seen == [(PP, 1), (TG, 2)]


async def test_progress_only_grows_and_tells_the_time_that_is_left():
    bencher = FakeBencher(lambda ref, test, number: test.n_prompt + 8 * test.n_gen)
    told = []
    await bench(bencher, [case("a", PP), case("a", TG)], on_progress=told.append, warm=True)
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 0.01
    assert fractions[-1] < 1
    assert told[0].left_s is None
    assert [progress.step for progress in told if progress.phase == "measuring"] == [1, 2, 3] * 2
    assert told[-1].left_s == pytest.approx(80, rel=0.5)


async def test_the_share_of_the_memory_bandwidth_is_of_decoding_alone():
    bencher = FakeBencher()
    cases = [case("a", TG), case("a", PP), case("a", TG, n_gpu_layers=3), case("a", BenchTest(0, 10, 0, 4))]
    work = await bench(bencher, cases, memory_bytes_per_s=40e6)
    assert [result.roof_pct for result in work.results] == [pytest.approx(25), None, None, None]


async def warmed(times):
    bencher = FakeBencher(lambda ref, test, number: times[min(number, len(times) - 1)])
    target = await bencher.open(case("a"), lambda _: None, CancelToken())
    return await warm_up(await target.prepare(case().settings, TG), CancelToken(), bencher.clock)


@pytest.mark.parametrize(
    ("times", "runs", "stable"),
    [
        ([1.0, 1.0], 2, True),
        ([2.0, 1.0, 1.019], 3, True),
        ([2.0, 1.0, 2.0, 1.0], 4, False),
        ([6.0, 6.0], 1, None),
        ([11.0], 0, None),
    ],
)
async def test_warming_up_ends_when_it_is_steady_or_after_four_runs_or_ten_seconds(times, runs, stable):
    found = await warmed(times)
    assert found == (runs, stable)


def samples(*conditions, wall=1.0):
    return [Sample(RunTime(0, 10**9, round(wall * 10**9)), 1, each) for each in conditions]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(others_percent=30, others_s=0.5), ("other programs computed",)),
        (Conditions(others_percent=30, others_s=0.05), ()),
        (Conditions(others_percent=3, others_s=0.5), ()),
        (Conditions(cpu_mhz=2000), ("the processor's clock had moved",)),
        (Conditions(cpu_mhz=2900), ()),
        (Conditions(gpu_mhz=1000), ("the GPU's clock had moved",)),
        (Conditions(gpu_throttle=("too hot",)), ("the GPU was too hot",)),
        (Conditions(gpu_others_bytes=2**30), ("other programs took GPU memory",)),
        (Conditions(), ()),
    ],
)
def test_what_disturbs_is_said(conditions, expected):
    usual = Conditions(cpu_mhz=3000, gpu_mhz=1500, gpu_others_bytes=2**20, others_percent=0, others_s=0)
    found = mark(samples(usual, usual, usual, conditions))
    assert [sample.disturbed for sample in found] == [(), (), (), expected]


def test_other_work_in_the_program_disturbs():
    assert mark(samples(Conditions(), wall=1.03))[0].disturbed == ("this program did other work",)
    assert mark(samples(Conditions(), wall=1.01))[0].disturbed == ()


async def test_disturbed_repetitions_are_marked_and_counted():
    watch = FakeWatch([Conditions(), Conditions(others_percent=50, others_s=1)])
    result = (await bench(FakeBencher(), [case()], watch=watch)).results[0]
    assert len(result.samples) == 3
    assert result.disturbed == 1
