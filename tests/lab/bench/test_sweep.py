from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.bench.fake_load import MS, FakeLoadClient
from workbench.core.cancel import CancelToken
from workbench.core.errors import ServerError
from workbench.core.sweep import LoadSample, SweepLevel, SweepSettings
from workbench.lab.bench.sweep import Sweep, ending, words_for


async def swept(client, cancel=None, on_progress=lambda _: None, **settings):
    sweep = Sweep(client, SweepSettings(**settings), nonce=lambda: "n")
    await sweep.run(cancel or CancelToken(), on_progress)
    return sweep


async def test_no_prompt_is_asked_twice_and_each_begins_with_what_no_other_has():
    client = FakeLoadClient()
    await swept(client, levels=(1, 2, 4), repetitions=3)
    prompts = [prompt for level in client.levels for prompt in level.prompts]
    assert len(prompts) == 2 + 3 * 7
    assert len({prompt.split()[0] for prompt in prompts}) == len(prompts)


async def test_two_sweeps_share_no_prompt():
    clients = [FakeLoadClient(), FakeLoadClient()]
    for client in clients:
        await Sweep(client, SweepSettings((1,))).run(CancelToken())
    one, other = ({prompt for level in client.levels for prompt in level.prompts} for client in clients)
    assert not one & other


async def test_prompts_get_the_length_that_was_asked_for():
    client = FakeLoadClient()
    sweep = await swept(client, levels=(1,), n_prompt=200)
    assert [sample.prompt_tokens for sample in sweep.levels[0].samples] == [200] * 5


async def test_it_stops_where_more_users_only_wait():
    sweep = await swept(FakeLoadClient(slots=4), levels=(1, 2, 4, 8, 16))
    assert [level.concurrency for level in sweep.levels] == [1, 2, 4, 8]
    assert sweep.ending == "saturated"


async def test_it_goes_on_where_that_is_wanted():
    sweep = await swept(FakeLoadClient(slots=4), levels=(1, 2, 4, 8, 16), all_levels=True)
    assert [level.concurrency for level in sweep.levels] == [1, 2, 4, 8, 16]
    assert sweep.ending == ""


async def test_it_stops_where_most_questions_fail():
    client = FakeLoadClient(slots=99, fails=lambda concurrency, number: "busy" if concurrency > 2 and number else "")
    sweep = await swept(client, levels=(1, 2, 4, 8), all_levels=True)
    assert (len(sweep.levels), sweep.ending) == (3, "failing")
    assert sweep.levels[-1].errors == {"busy": 19}


async def test_a_server_that_does_not_answer_at_all_is_an_error():
    client = FakeLoadClient(fails=lambda *_: "no such model")
    with pytest.raises(ServerError, match="no such model"):
        await swept(client)


async def test_stopping_keeps_what_was_answered():
    client, cancel, told = FakeLoadClient(slots=99), CancelToken(), []

    def on_progress(progress):
        told.append(progress)
        if progress.label == "4 at a time" and progress.step == 3:
            cancel.set()

    sweep = await swept(client, cancel, on_progress, levels=(1, 4, 8), repetitions=2)
    assert [(level.concurrency, len(level.samples)) for level in sweep.levels] == [(1, 2), (4, 3)]
    assert sweep.ending == ""
    assert told[0].phase == "warming up"
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert re.fullmatch(r"4 at a time", told[-1].label)


async def test_what_warms_up_is_kept_apart():
    sweep = await swept(FakeLoadClient(), levels=(1,))
    assert len(sweep.warm_up) == 2
    assert len(sweep.levels[0].samples) == 5


@given(st.integers(1, 4000), st.floats(0.5, 4), st.integers(5, 80))
def test_words_are_counted_by_what_two_prompts_showed(n_prompt, each, around):
    counts = [round(around + each * words) for words in (16, 64)]
    words = words_for(n_prompt, (16, 64), counts)
    assert words >= 1
    assert around + each * words <= max(n_prompt, around) + 2 * each + n_prompt * 0.1


def test_words_where_nobody_counts():
    assert words_for(128, (16, 64), (None, None)) == 112
    assert words_for(4, (16, 64), (40, 40)) == 1


def level(concurrency, tps, ttft, failures=0):
    tokens = round(tps)
    good = LoadSample(0, 1000 * MS, ttft * MS, 1000 * MS, completion_tokens=tokens)
    return SweepLevel(concurrency, (good, *[LoadSample(0, 1, error="x")] * failures))


@pytest.mark.parametrize(
    ("levels", "found"),
    [
        ([level(1, 50, 100)], ""),
        ([level(1, 50, 100), level(2, 90, 150)], ""),
        ([level(1, 50, 100), level(2, 50, 120)], ""),
        ([level(1, 50, 100), level(2, 50, 151)], "saturated"),
        ([level(1, 90, 100), level(2, 50, 100), level(4, 80, 200)], "saturated"),
        ([level(4, 90, 100), level(2, 50, 200)], ""),
        ([level(1, 50, 100, failures=2)], "failing"),
    ],
)
def test_when_it_ends(levels, found):
    assert ending(levels) == found
