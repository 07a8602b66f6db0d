from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.lab.evals.fake_tools import FakeEvalTools
from tests.ui.fakes import FakeClock
from workbench.core.chat import Message
from workbench.core.errors import ContextFullError, EvalError, ModelLoadError
from workbench.core.json_reader import read_json
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.scripted import Pace, Script, ScriptedHost, ScriptedModel
from workbench.lab.evals.pack import Check, EvalCase, EvalPack, PackProblem
from workbench.lab.evals.record import EvalRecord, beside
from workbench.lab.evals.report import as_csv, as_json, as_markdown
from workbench.lab.evals.run import EvalPlan, EvalRun
from workbench.lab.race.lane import LaneSpec


class Adviser:
    def __init__(self, fits: bool = True) -> None:
        self.fits = fits

    async def fit_together(self, models: Sequence[tuple[str, LoadSettings]]) -> bool:
        return self.fits


def model(name: str, *answers: str | Script, **more: Any) -> ScriptedModel:
    scripts = tuple(Script.of(each) if isinstance(each, str) else each for each in answers)
    entry = ModelEntry(name, "smol", name.upper(), f"/m/{name}", size_bytes=100)
    return ScriptedModel(entry, scripts, Pace(0, prefill_tps=0, decode_tps=0), **more)


def case(number: int, value: str = "yes", **more: Any) -> EvalCase:
    checks = (Check("contains", value),)
    return EvalCase(f"c{number}", (Message("user", f"Question {number}?"),), checks, **more)


PACK = EvalPack("mine", tuple(map(case, range(4))), digest="sha256:1")
GREEDY = Sampling(temperature=0.0)


@pytest.fixture
def tools() -> FakeEvalTools:
    return FakeEvalTools()


@pytest.fixture
def host() -> ScriptedHost:
    clock = FakeClock()
    failing = Script(("ye",), (), 0)
    models = [
        model("a", "yes", "yes", "no", "yes"),
        model("b", "yes", "no", "no", "no"),
        model("broken", "x", load_error=ModelLoadError("The file is truncated.")),
        model("failing", failing),
        model("full", Script(("x",), (), 0, ContextFullError("Too long.")), "yes", "yes", "yes"),
        model("long", "yes and much more than that"),
    ]
    return ScriptedHost(models, clock=clock, sleep=clock.sleep)


@pytest.fixture
def make(host: ScriptedHost, tools: FakeEvalTools) -> Callable[..., EvalRun]:
    def run(*refs: str, pack: EvalPack = PACK, samples: int = 1, fits: bool = True, **more: Any) -> EvalRun:
        specs = tuple(LaneSpec(ref, ref, LoadSettings(), GREEDY, **more) for ref in refs)
        return EvalRun(EvalPlan(pack, specs, samples, ("eval", "mine", *refs)), tools, host, Adviser(fits))

    return run


@pytest.mark.parametrize("fits", [True, False])
async def test_candidates_are_compared_case_by_case(
    make: Callable[..., EvalRun], host: ScriptedHost, tools: FakeEvalTools, fits: bool
) -> None:
    run = make("a", "b", fits=fits)
    await run.run()
    (record,) = tools.eval_runs.records
    assert [(score.passed, score.failed, score.invalid) for score in record.scores] == [(3, 1, 0), (1, 3, 0)]
    assert record.scores[0].interval == pytest.approx((0.3006, 0.9544), abs=1e-3)
    (pair,) = record.pairs
    assert (pair.split.cases, pair.split.only_a, pair.split.only_b, pair.split.verdict) == (4, 2, 0, "more")
    assert [lane.digest for lane in record.lanes] == ["sha256:a", "sha256:b"]
    assert (record.names, record.pack_digest, record.build) == (("A", "B"), "sha256:1", "workbench, local True")
    assert all(engine.closed for engine in host.opened)
    assert (run.done, run.total, run.phase) == (8, 8, "done")


async def test_the_same_answers_make_no_difference(make: Callable[..., EvalRun]) -> None:
    run = make("a", "a")
    await run.run()
    assert run.record.pairs[0].split.verdict == "same"
    assert run.record.names == ("smol A (1)", "smol A (2)")
    assert "no difference, they pass the same ones of 4 cases" in as_markdown(run.record)


async def test_a_model_that_cannot_be_opened_leaves_the_others(make: Callable[..., EvalRun]) -> None:
    run = make("a", "broken")
    await run.run()
    assert [error.message for error in run.failures] == ["The file is truncated."]
    assert [score.judged for score in run.record.scores] == [4, 0]
    assert "no case was judged for both" in as_markdown(run.record)


async def test_errors_in_a_row_end_a_candidate(make: Callable[..., EvalRun]) -> None:
    run = make("failing")
    await run.run()
    assert run.record.scores[0].invalid == 3
    assert run.record.lanes[0].error


async def test_a_prompt_that_does_not_fit_is_no_verdict(make: Callable[..., EvalRun]) -> None:
    run = make("full", "a")
    await run.run()
    score = run.record.scores[0]
    assert (score.passed, score.failed, score.invalid) == (3, 0, 1)
    assert run.record.pairs[0].split.cases == 3
    assert not run.failures


async def test_what_is_done_is_kept_when_it_is_stopped(make: Callable[..., EvalRun], tools: FakeEvalTools) -> None:
    run = make("a", "b")
    run._on_change = lambda: run.done == 3 and run.stop()
    await run.run()
    (record,) = tools.eval_runs.records
    assert record.interrupted
    assert run.done in (3, 4)
    assert "stopped after 2" in as_markdown(record)


async def test_more_than_half_of_the_samples_have_to_pass(make: Callable[..., EvalRun], host: ScriptedHost) -> None:
    pack = replace(PACK, cases=PACK.cases[:1])
    run = make("a", "b", pack=pack, samples=3)
    await run.run()
    (result,) = run.record.results
    assert [[sample.passed for sample in samples] for samples in result.answers] == [
        [True, True, False],
        [True, False, False],
    ]
    assert [result.passed(lane) for lane in range(2)] == [True, False]
    assert [request.sampling.seed for request in host.opened[0].requests] == [1, 2, 3]
    assert "At temperature 0 all samples of a case are the same." in run.record.notes


async def test_the_request_of_a_case(make: Callable[..., EvalRun], host: ScriptedHost) -> None:
    own = EvalCase("own", (Message("system", "Own."), Message("user", "x")), (Check("json"),), max_tokens=7)
    raw = EvalCase("raw", (Message("user", "x ="),), (Check("json"),), raw=True)
    example = (Message("user", "q"), Message("assistant", "a"))
    run = make("a", pack=EvalPack("p", (own, raw, case(1))), system="All.", opening=example)
    await run.run()
    first, second, third = host.opened[0].requests
    assert [message.content for message in first.messages] == ["Own.", "q", "a", "x"]
    assert [message.content for message in third.messages] == ["All.", "q", "a", "Question 1?"]
    assert (second.prompt, second.messages) == ("x =", ())
    assert [request.sampling.num_predict for request in (first, second, third)] == [7, 512, 512]


async def test_a_failure_says_that_the_answer_was_cut(make: Callable[..., EvalRun]) -> None:
    run = make("long", pack=EvalPack("p", (case(1, "that", max_tokens=2),)))
    await run.run()
    ((sample,),) = run.record.results[0].answers
    assert sample.problems == ('contains "that": "that" is not in it', "The answer was cut: raise max_tokens.")


async def test_choices_need_probabilities(make: Callable[..., EvalRun]) -> None:
    check = Check("choice", 0, choices=("a", "b"))
    run = make("a", pack=EvalPack("p", (EvalCase("c", (Message("user", "?"),), (check,)),)))
    await run.run()
    ((sample,),) = run.record.results[0].answers
    assert sample.passed is None
    assert "does not report" in sample.error


async def test_a_full_disk_loses_no_answer(make: Callable[..., EvalRun], tools: FakeEvalTools) -> None:
    tools.eval_runs.error = EvalError("The disk is full.")
    run = make("a")
    await run.run()
    assert run.unkept is tools.eval_runs.error
    assert run.record.scores[0].passed == 3


async def test_two_evaluations_beside_each_other(make: Callable[..., EvalRun]) -> None:
    first, second = make("a"), make("b", pack=replace(PACK, cases=PACK.cases[1:]))
    await first.run()
    await second.run()
    both = beside(first.record, second.record)
    assert (both.names, both.cases) == (("A", "B"), 3)
    assert [(score.passed, score.failed) for score in both.scores] == [(2, 1), (1, 2)]
    assert both.pairs[0].split.cases == 3
    with pytest.raises(EvalError, match="no case in common"):
        beside(first.record, replace(second.record, results=()))


def test_plans_that_make_no_sense(make: Callable[..., EvalRun]) -> None:
    for refs, more in ((("a",) * 9, {}), ((), {}), (("a",), {"samples": 0}), (("a",), {"pack": PACK.only(["x"])})):
        with pytest.raises(EvalError):
            make(*refs, **more)
    unchecked = replace(PACK, cases=(*PACK.cases, replace(case(9), checks=())), problems=(PackProblem(3, "x"),))
    assert make("a", pack=unchecked).plan.notes == ("1 case without checks left out.", "1 broken case left out.")


async def test_the_forms_of_a_result(make: Callable[..., EvalRun]) -> None:
    run = make("a", "b", pack=EvalPack("m|p", (case(1), case(2, answer="earlier"), case(3, "=1+1"))))
    await run.run()
    record = run.record
    document = as_json(record)
    assert json.loads(json.dumps(document))["lanes"][0]["passed"] == 2
    assert {"a", "b", "only_a", "only_b", "p_value", "verdict"} <= set(document["pairs"][0])
    assert {"model", "passed", "failed", "invalid", "rate", "interval"} <= set(document["lanes"][0])
    text = as_markdown(record)
    assert "| A | 2 | 1 | 0 | 67 % |" in text
    assert "- earlier answer:" in text
    rows = list(csv.DictReader(io.StringIO(as_csv(record))))
    assert [row["verdict"] for row in rows] == ["passed", "passed", "passed", "failed", "failed", "failed"]
    assert not any(value.startswith("=") for row in rows for value in row.values())
    again = read_json(EvalRecord, json.loads(json.dumps(asdict(record))), "the run")
    assert again.scores == record.scores
    assert again.pairs == record.pairs
