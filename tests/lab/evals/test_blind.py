from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.lab.evals.fake_tools import FakeEvalTools, FakeRuns
from tests.lab.evals.test_run import Adviser, model
from tests.ui.fakes import FakeClock
from workbench.core.errors import CancelledError, EvalError, ModelLoadError
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.scripted import ScriptedHost
from workbench.lab.evals.blind import COPY, BlindPlan, BlindTest, beginnings
from workbench.lab.evals.blind_record import BlindKind, BlindRecord, BlindTrial
from workbench.lab.evals.blind_report import FORMS
from workbench.lab.evals.pack import of_prompts
from workbench.lab.evals.record import EvalLane
from workbench.lab.race.lane import LaneSpec

PROMPTS = of_prompts(["One?", "Two?"])


@pytest.fixture
def host() -> ScriptedHost:
    clock = FakeClock()
    models = [
        model("a", *(f"red {number}" for number in range(40))),
        model("b", *(f"blue {number}" for number in range(40))),
        model("same", "the very same"),
        model("twin", "the very same"),
        model("broken", "x", load_error=ModelLoadError("The file is truncated.")),
    ]
    return ScriptedHost(models, clock=clock, sleep=clock.sleep)


Make = Callable[..., BlindTest]


@pytest.fixture
def make(host: ScriptedHost) -> Make:
    def test(
        *refs: str, kind: BlindKind = "abx", trials: int = 8, heat: float = 0.8, digest: str = "", fits: bool = True
    ):
        a, b = (LaneSpec(ref, ref, LoadSettings(), Sampling(temperature=heat)) for ref in refs)
        plan = BlindPlan(kind, (a, b), PROMPTS, trials)
        return BlindTest(plan, FakeEvalTools(digest), host, Adviser(fits), rng=random.Random(6))

    return test


@pytest.mark.parametrize("fits", [True, False])
async def test_x_is_a_further_answer_of_one_of_the_two(make: Make, host: ScriptedHost, fits: bool) -> None:
    test = make("a", "b", fits=fits)
    await test.prepare()
    record = test.record
    assert record is not None
    assert len(record.trials) == 8
    assert (test.done, test.total) == (24, 24)
    for trial in record.trials:
        color = ("red", "blue")[trial.x or 0]
        assert trial.x_text.startswith(color)
        assert trial.x_text not in trial.texts
        assert [text.split()[0] for text in trial.texts] == ["red", "blue"]
    assert {trial.x for trial in record.trials} == {trial.first for trial in record.trials} == {0, 1}
    seeds = [request.sampling.seed for request in host.opened[0].requests]
    assert len(set(seeds)) == len(seeds)
    assert all(engine.closed for engine in host.opened)


def test_answers_that_are_shown_end_together() -> None:
    texts = "short", "x" * 1200
    halves = beginnings(texts, 5.0)
    assert [len(text) for text in halves] == [3, 600]
    assert beginnings(texts, 9.99) != texts
    assert beginnings(texts, 10.0) == beginnings(texts, math.inf) == texts
    assert beginnings(("", ""), 1.0) == ("", "")


async def test_votes_are_counted_and_kept_and_names_are_shown_at_the_end(make: Make) -> None:
    test = make("a", "b")
    await test.prepare()
    while (trial := test.next) is not None:
        assert test.record is not None
        assert "smol" not in test.record.known
        wrote = ("red", "blue")[trial.x or 0]
        await test.vote("first" if trial.shown[0].startswith(wrote) else "second")
    record = test.record
    assert record is not None
    assert (record.right, record.is_complete) == (8, True)
    assert "can be told apart: 8 of 8 right (p 0.004)." in record.verdict
    kept = test._tools.blind_runs
    assert isinstance(kept, FakeRuns)
    assert kept.records == [record]
    with pytest.raises(EvalError, match="no trial"):
        await test.vote("first")


async def test_a_preference(make: Make) -> None:
    test = make("a", "b", kind="preference")
    await test.prepare()
    for number in range(8):
        trial = test.next
        assert trial is not None
        assert len(trial.shown) == 2
        await test.vote("neither" if number == 0 else "first" if trial.first == 1 else "second")
    assert test.record is not None
    assert test.record.preferred == (0, 7)
    assert test.record.known == "7 to 0, 1 for neither: chance would do this in 2 %."
    assert test.record.verdict.startswith("smol B is preferred: 0 votes for smol A, 7 for smol B")


async def test_the_same_model_is_refused(make: Make) -> None:
    with pytest.raises(EvalError, match="nothing to tell apart"):
        await make("a", "a").prepare()
    with pytest.raises(EvalError, match="nothing to tell apart"):
        await make("a", "b", digest="sha256:1").prepare()


async def test_answers_that_are_the_same_are_left_out(make: Make) -> None:
    with pytest.raises(EvalError, match="same answers to everything"):
        await make("same", "twin").prepare()
    test = make("a", "same")
    await test.prepare()
    assert test.record is not None
    # The scripted `same` repeats itself: an X of it is a copy.
    assert set(test.record.left_out) == {COPY}
    assert {trial.x for trial in test.record.trials} == {0}


async def test_a_model_that_cannot_be_opened_and_a_stop(make: Make, host: ScriptedHost) -> None:
    with pytest.raises(ModelLoadError):
        await make("a", "broken").prepare()
    test = make("a", "b")
    test._on_change = test.stop
    with pytest.raises(CancelledError):
        await test.prepare()
    assert all(engine.closed for engine in host.opened)
    assert test.record is None


def test_plans_that_can_show_nothing(make: Make) -> None:
    for kind, trials in (("abx", 4), ("preference", 5), ("abx", 201)):
        with pytest.raises(EvalError, match="trials can show nothing"):
            make("a", "b", kind=kind, trials=trials)
    with pytest.raises(EvalError, match="X is a copy"):
        make("a", "b", heat=0.0)
    with pytest.raises(EvalError, match="2 prompts"):
        make("a", "b", kind="preference", heat=0.0)
    with pytest.raises(EvalError, match="needs a prompt"):
        replace(make("a", "b")._plan, prompts=()).check()


def test_what_is_known_in_words() -> None:
    lanes = (EvalLane("a", "A"), EvalLane("b", "B"))
    votes = [BlindTrial("?", ("a", "b"), 0, 0, "x", "first" if number < 9 else "second") for number in range(12)]
    record = BlindRecord("i", "t", "abx", lanes, (*votes, BlindTrial("?", ("a", "b"), 0, 0, "x")))
    assert record.known == "9 of 12: chance would do this in 7 %; 4 more would settle it."
    assert record.verdict == "A and B were not told apart: 9 of 12 right (p 0.073). Stopped after 12 of 13 trials."
    text, rows = FORMS[".md"](record), FORMS[".csv"](record).splitlines()
    assert "## 1: X was of A, the vote was right" in text
    assert "## 13: no vote" in text
    assert rows[:2] == ["trial,question,A,B,x,x_text,chosen", "1,?,a,b,A,x,A"]
    assert json.loads(FORMS[".json"](record))["right"] == 9
    assert replace(record, trials=record.trials[-1:]).known == "No vote yet, 1 to come."


async def test_x_needs_a_choice(make: Make) -> None:
    test = make("a", "b")
    await test.prepare()
    with pytest.raises(EvalError, match="one of the two"):
        await test.vote("neither")
