from __future__ import annotations

import pytest

from tests.lab.bench.fake_bencher import FakeBencher, FakeWatch, case
from workbench.core.bench import BenchTest, Conditions
from workbench.core.cancel import CancelToken
from workbench.core.errors import MemoryShortError, ModelLoadError
from workbench.lab.bench.pairs import Duel, fit_together


def duel(bencher, a=None, b=None, **options):
    options = {"warm": False, "clock": bencher.clock, **options}
    watch = options.pop("watch", None) or FakeWatch()
    return Duel(bencher, a or case("a"), b or case("b"), watch, **options)


def order(bencher):
    return "".join(line.split()[1] for line in bencher.log if line.startswith("run"))


async def test_both_stay_loaded_and_take_turns():
    bencher = FakeBencher()
    work = duel(bencher)
    await work.run(4, CancelToken())
    assert order(bencher) == "abbaabba"
    assert bencher.log[:2] == ["load a", "load b"]
    assert bencher.most_loaded == 2
    assert [pair.first for pair in work.pairs] == ["a", "b", "a", "b"]
    await work.close()
    assert (bencher.loaded, bencher.contexts) == (0, 0)


async def test_both_of_a_pair_get_the_same_tokens():
    bencher = FakeBencher()
    await duel(bencher, seed=5).run(3, CancelToken())
    assert bencher.seeds == [5, 5, 6, 6, 7, 7]


async def test_one_model_in_two_ways_is_loaded_once():
    bencher = FakeBencher()
    work = duel(bencher, case("a", type_k="f16"), case("a", type_k="q8_0"))
    await work.run(2, CancelToken())
    assert bencher.log.count("load a") == 1
    assert bencher.contexts == 2
    await work.close()
    assert (bencher.loaded, bencher.contexts) == (0, 0)


async def test_more_pairs_go_on_where_the_first_ended():
    bencher = FakeBencher(lambda ref, test, number: 1.0 if ref == "a" else 0.5)
    work = duel(bencher)
    await work.run(3, CancelToken())
    await work.run(2, CancelToken())
    assert order(bencher) == "abbaabbaab"
    assert bencher.log.count("load a") == 1
    assert bencher.seeds == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert work.record.comparison.pairs == 5
    assert work.record.comparison.ratio == pytest.approx(2)
    assert work.record.comparison.verdict == "faster"


async def test_the_ratio_is_of_speeds_also_where_the_tests_differ():
    bencher = FakeBencher()
    work = duel(bencher, case("a", BenchTest(n_gen=10)), case("b", BenchTest(n_gen=20)))
    await work.run(3, CancelToken())
    assert work.record.comparison.ratio == pytest.approx(2)


async def test_half_a_pair_does_not_count():
    bencher, cancel = FakeBencher(stop_after=5), CancelToken()
    work = duel(bencher)
    await work.run(10, cancel)
    assert len(work.pairs) == 2
    assert [len(result.samples) for result in work.record.results("")] == [2, 2]


async def test_stopping_while_it_loads_leaves_nothing_open():
    bencher, cancel = FakeBencher(stop_after=0), CancelToken()
    work = duel(bencher, warm=True)
    await work.run(3, cancel)
    assert work.record is None
    assert (bencher.loaded, bencher.contexts) == (0, 0)


async def test_what_does_not_fit_together_is_loaded_in_turn():
    bencher = FakeBencher()
    work = duel(bencher, together=False)
    await work.run(6, CancelToken())
    assert work.design == "blocks"
    assert bencher.most_loaded == 1
    assert bencher.log.count("load a") == bencher.log.count("load b") == 6
    assert [len(pair.a) for pair in work.pairs] == [3] * 6
    firsts = [pair.first for pair in work.pairs]
    assert set(firsts) == {"a", "b"}
    assert bencher.seeds[:6] == [1, 2, 3, 1, 2, 3]


async def test_a_block_counts_as_its_middle_run():
    times = iter([1.0, 9.0, 2.0] * 6)
    bencher = FakeBencher(lambda ref, test, number: next(times))
    work = duel(bencher, together=False)
    await work.run(3, CancelToken())
    assert work.record.comparison.ratio == pytest.approx(1)
    assert work.record.comparison.cv == pytest.approx(0)


async def test_a_second_model_without_room_changes_the_design():
    class Narrow(FakeBencher):
        async def open(self, case, on_progress, cancel):
            if self.loaded:
                raise MemoryShortError("There is no room.")
            return await super().open(case, on_progress, cancel)

    bencher = Narrow()
    work = duel(bencher)
    await work.run(2, CancelToken())
    assert work.design == "blocks"
    assert len(work.pairs) == 2
    assert bencher.loaded == 0


async def test_a_model_that_fits_not_even_alone_is_an_error():
    bencher = FakeBencher(errors={"a": MemoryShortError("Too large.")})
    with pytest.raises(MemoryShortError):
        await duel(bencher).run(2, CancelToken())
    assert bencher.loaded == 0


async def test_a_model_that_does_not_load_is_an_error_and_nothing_stays_open():
    bencher = FakeBencher(errors={"b": ModelLoadError("It is broken.")})
    with pytest.raises(ModelLoadError):
        await duel(bencher).run(2, CancelToken())
    assert (bencher.loaded, bencher.contexts) == (0, 0)


async def test_disturbed_pairs_are_marked_and_count():
    noisy = Conditions(others_percent=60, others_s=2)
    bencher = FakeBencher()
    work = duel(bencher, watch=FakeWatch([Conditions(), noisy, Conditions(), Conditions(), noisy, noisy]))
    await work.run(4, CancelToken())
    assert [pair.disturbed for pair in work.pairs] == [
        ("other programs computed",),
        (),
        ("other programs computed",),
        (),
    ]
    assert work.record.disturbed == 2
    assert work.record.comparison.pairs == 4


async def test_warming_up_comes_before_the_first_pair_alone():
    bencher = FakeBencher()
    work = duel(bencher, warm=True)
    await work.run(2, CancelToken())
    assert [line for line in bencher.log if line.startswith("warm")] == ["warm a tg10", "warm b tg10"]
    assert order(bencher) == "aabb" + "abba"


async def test_progress_of_pairs():
    bencher, told = FakeBencher(), []
    work = duel(bencher)
    await work.run(2, CancelToken(), told.append)
    measuring = [(progress.step, progress.fraction, progress.left_s) for progress in told if progress.step]
    assert measuring[-1] == (2, 0.75, 1.0)
    assert any(progress.label == "A a Q4_0 tg10" for progress in told)
    await work.run(4, CancelToken(), told.append)
    assert (told[-1].step, told[-1].steps, told[-1].fraction) == (4, 4, 0.875)


class Adviser:
    def __init__(self):
        self.asked = []

    async def fit_together(self, models):
        self.asked.append(models)
        return True


async def test_shared_weights_are_counted_once():
    adviser = Adviser()
    assert await fit_together(adviser, case("a", type_k="f16"), case("a", type_k="q8_0"))
    assert await fit_together(adviser, case("a", BenchTest(300, 0, 0, 2)), case("b"))
    (once,), twice = adviser.asked
    assert (once[0], once[1].num_ctx) == ("a", 512)
    assert [(ref, settings.num_ctx) for ref, settings in twice] == [("a", 1024), ("b", 256)]
