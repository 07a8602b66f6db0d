from __future__ import annotations

from dataclasses import replace

import pytest

from tests.lab.decision.made import contender, evidence
from workbench.core.bench import BenchSettings, BenchTest
from workbench.core.errors import DecisionError
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.decision.contender import Need
from workbench.lab.decision.evidence import EvalSource, QualitySource
from workbench.lab.decision.plans import commands_of, plans_of
from workbench.lab.evals.run import EvalPlan
from workbench.lab.quality.plan import QualityPlan, ScoredText

A, B = contender("a", size=300), contender("b", size=100)
K = replace(contender("k", path="/m/b.gguf"), ref="ref-b", settings=BenchSettings(type_k="q8_0"))
TEXT = ScoredText("book.txt", "words", ("--text", "book.txt"))


def test_the_bench_runs_each_way_in_the_test_of_the_others() -> None:
    made = evidence(A, B, K, test=BenchTest(n_gen=32, n_depth=512))
    first, second = plans_of(Need("bench", ("a", "b", "k")), made)
    assert isinstance(first, BenchPlan)
    assert commands_of(Need("bench", ("a", "b", "k")), made) == [
        "workbench bench ref-a ref-b -p 0 -n 32 -d 512",
        "workbench bench ref-b -p 0 -n 32 -d 512 -ctk q8_0",
    ]
    assert [case.test.label for case in first.grid.cases()] == ["tg32 @ d512"] * 2
    assert isinstance(second, BenchPlan)
    assert second.repetitions == 5


def test_what_was_too_wide_is_repeated_more_often() -> None:
    made = evidence(contender("a", 40.0))
    assert commands_of(Need("bench", ("a",)), made) == ["workbench bench ref-a -p 0 -r 20"]


def test_pairs_are_two_files_or_two_values() -> None:
    made = evidence(A, B, K)
    assert commands_of(Need("pairs", ("a", "b")), made) == ["workbench bench ref-a ref-b -p 0 --pairs 20"]
    assert commands_of(Need("pairs", ("b", "k")), made) == ["workbench bench ref-b -p 0 -ctk f16,q8_0 --pairs 20"]
    for keys in (("a", "b"), ("b", "k")):
        (plan,) = plans_of(Need("pairs", keys), made)
        assert isinstance(plan, BenchPlan)
        plan.check()


def test_quality_is_measured_from_the_largest_file_on_a_text_that_is_named() -> None:
    made, need = evidence(A, B, K), Need("quality", ("a", "b", "k"))
    assert commands_of(need, made) == ["workbench quality ref-a ref-b ref-b,type_k=q8_0 --text FILE"]
    assert plans_of(need, made) == []
    (plan,) = plans_of(need, made, TEXT)
    assert isinstance(plan, QualityPlan)
    assert [spec.ref for spec in plan.candidates] == ["ref-b", "ref-b"]
    assert plan.candidates[1].settings.type_k == "q8_0"
    assert plan.command == (
        "quality", "ref-a", "ref-b", "ref-b,type_k=q8_0", "--text", "book.txt", "--ctx", "512"
    )  # fmt: skip


def test_a_new_text_is_for_all_that_were_measured() -> None:
    source = QualitySource("a", "old.txt", "sha", 256, 0, 0, ("--text", "old.txt"))
    made = evidence(A, contender("b", 3.0, 0.1), contender("c"), quality=source)
    (plan,) = plans_of(Need("quality", ("c",)), made, TEXT)
    assert isinstance(plan, QualityPlan)
    assert [spec.ref for spec in plan.candidates] == ["ref-c", "ref-b"]
    assert plan.n_ctx == 256
    assert commands_of(Need("quality", ("c",)), made) == ["workbench quality ref-a ref-c --text old.txt"]


def test_a_single_file_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(DecisionError, match="one file"):
        plans_of(Need("quality", ("a",)), evidence(A), TEXT)


def test_prompts_are_asked_as_the_others_were() -> None:
    need = Need("eval", ("a", "k"))
    (plan,) = plans_of(need, evidence(A, K))
    assert isinstance(plan, EvalPlan)
    assert [spec.sampling.temperature for spec in plan.candidates] == [0.0, 0.0]
    assert plan.candidates[1].load.type_k == "q8_0"
    source = EvalSource("structured", "Structured", "sha256:old", 20, 3, "Be brief.")
    assert commands_of(need, evidence(A, K, evals=source)) == [
        "workbench eval structured ref-a --samples 3 --system 'Be brief.'",
        "workbench eval structured ref-b --samples 3 --system 'Be brief.' --set type_k=q8_0",
    ]
    with pytest.raises(DecisionError, match="has changed since"):
        plans_of(need, evidence(A, K, evals=source))
