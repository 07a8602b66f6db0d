from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from tests.lab.decision.made import contender, evidence, klds
from workbench.core.errors import ParameterError
from workbench.core.statistics import compare
from workbench.lab.decision.constraints import Constraint, Constraints, parse_constraint
from workbench.lab.decision.contender import Contender, Figure
from workbench.lab.decision.decide import decide, pairable, preference
from workbench.lab.decision.estimate import with_estimates
from workbench.lab.decision.evidence import Evidence, speed_figure


def three() -> tuple[Contender, ...]:
    return contender("a", 20, 0.0, size=300), contender("b", 40, 0.004, size=150), contender("c", 50, 0.06, size=100)


def test_the_least_divergence_of_what_meets_the_constraints_is_chosen() -> None:
    answer = decide(evidence(*three()), Constraints(min_speed=30))
    assert (answer.verdict, answer.chosen, answer.rival, answer.need) == ("choice", "b", "c", None)
    assert answer.sentence == "Qb: 40 tokens/s, 300.0 MiB, KLD 0.004; Qc is 25 % faster and has KLD 0.06."
    assert decide(evidence(*three()), Constraints(max_gb=0.2)).chosen == "c"


def test_where_only_quality_is_limited_the_fastest_is_chosen() -> None:
    answer = decide(evidence(*three()), Constraints(max_kld=0.01))
    assert (answer.chosen, answer.prefer) == ("b", "speed")
    assert "Qa, the reference, is 50 % slower" in answer.sentence
    assert preference(Constraints(max_kld=0.01, min_speed=3), "auto") == "quality"
    assert decide(evidence(*three()), Constraints(), "size").chosen == "c"


def test_what_the_user_loses_of_the_own_prompts_is_counted() -> None:
    made = evidence(*three())
    made.cases = {"b": {(f"{n}", ""): True for n in range(40)}, "c": {(f"{n}", ""): n > 1 for n in range(40)}}
    answer = decide(made, Constraints(min_speed=30))
    assert "Qc is 25 % faster and has KLD 0.06 and loses 2 of your 40 prompts, which may be chance." in answer.sentence
    made.cases["c"] = {(f"{n}", ""): n > 9 for n in range(40)}
    assert decide(made, Constraints(min_speed=30)).sentence.endswith("loses 10 of your 40 prompts.")
    made.cases["c"] = made.cases["b"]
    assert "passes the same of your 40 prompts" in decide(made, Constraints(min_speed=30)).sentence


def test_no_winner_is_named_where_intervals_overlap() -> None:
    a, b = contender("a", 40, 0.01, spread=0.1), contender("b", 41, 0.01, spread=0.1)
    answer = decide(evidence(a, b), Constraints())
    assert answer.verdict == "unsure"
    assert "cannot be told apart" in answer.sentence
    assert answer.need is not None
    assert answer.need.kind == "pairs"
    assert set(answer.need.contenders) == {"a", "b"}


def test_equal_divergence_is_settled_by_a_sure_speed() -> None:
    a, b = contender("a", 40, 0.01), contender("b", 50, 0.01)
    answer = decide(evidence(a, b), Constraints())
    assert (answer.verdict, answer.chosen) == ("choice", "b")
    assert "no sure difference in divergence from Qa" in answer.sentence


def test_a_large_difference_that_is_not_sure_is_measured_instead_of_passed_over() -> None:
    a, b = contender("a", 20, 0.0, size=300), contender("b", Figure(60, (15, 240)), 0.01)
    answer = decide(evidence(a, b), Constraints(max_kld=0.1))
    assert (answer.verdict, answer.chosen, answer.rival) == ("unsure", "b", "a")
    assert answer.need is not None
    assert answer.need.kind == "pairs"
    a, b = contender("a", 20, 0.010), contender("b", 40, 0.016)
    made = evidence(a, b)
    made.divergences = {"a": klds(0.01, 1, wide=1.5), "b": klds(0.016, 2, wide=1.5)}
    answer = decide(made, Constraints())
    assert answer.need is not None
    assert (answer.verdict, answer.need.kind) == ("unsure", "quality")


def test_enough_pairs_without_a_difference_settle_it_by_size() -> None:
    a, b = contender("a", 40, 0.01, size=200), contender("b", 40, 0.01, size=100)
    rng = random.Random(2)
    speeds = [rng.uniform(39, 41) for _ in range(12)]
    made = evidence(a, b, duels={("a", "b"): compare(speeds, [each * rng.uniform(0.995, 1.005) for each in speeds])})
    answer = decide(made, Constraints())
    assert (answer.verdict, answer.chosen) == ("choice", "b")
    made.duels = {("a", "b"): compare(speeds, [each * 1.1 * rng.uniform(0.995, 1.005) for each in speeds])}
    assert decide(made, Constraints()).chosen == "b"
    made.duels = {("b", "a"): compare(speeds, [each * 1.1 * rng.uniform(0.995, 1.005) for each in speeds])}
    answer = decide(made, Constraints())
    assert (answer.verdict, answer.chosen) == ("choice", "a")


def test_speeds_of_different_runs_need_a_larger_difference() -> None:
    a, b = contender("a", 40, 0.01, spread=0.01), contender("b", 42, 0.01, spread=0.01)
    assert decide(evidence(a, b), Constraints()).verdict == "choice"
    assert decide(evidence(a, b, runs={"a": "one", "b": "two"}), Constraints()).verdict == "unsure"


def test_a_constraint_inside_the_interval_is_unsure_and_is_measured_again() -> None:
    answer = decide(evidence(*three()), Constraints(min_speed=39.9))
    assert (answer.verdict, answer.chosen) == ("unsure", "c")
    assert "Qb may meet ≥ 39.9 tokens/s, it has 40 tokens/s, 95 % interval 39.2 to 40.8" in answer.sentence
    assert "Until then Qc: 50 tokens/s" in answer.sentence
    assert answer.need is not None
    assert (answer.need.kind, answer.need.contenders) == ("bench", ("b",))


def test_a_single_repetition_meets_nothing() -> None:
    one = contender("a", Figure(40.0), 0.0)
    answer = decide(evidence(one), Constraints(min_speed=10))
    assert answer.verdict == "unsure"
    assert "from a single repetition" in answer.sentence


def test_what_is_not_known_of_a_possible_winner_is_to_be_measured() -> None:
    a, b, c = three()
    answer = decide(evidence(a, replace(b, kld=None), c), Constraints(min_speed=30))
    assert answer.verdict == "unsure"
    assert "the divergence of Qb is not measured" in answer.sentence
    assert answer.need is not None
    assert (answer.need.kind, answer.need.contenders) == ("quality", ("b",))
    asked = decide(evidence(a, b, c), Constraints(min_pass=90))
    assert asked.need is not None
    assert (asked.need.kind, asked.need.contenders) == ("eval", ("a", "b", "c"))


def test_a_variant_without_any_measurement_blocks_no_choice_but_is_offered() -> None:
    a, b, c = three()
    answer = decide(evidence(a, b, c, contender("d", size=80)), Constraints(min_speed=30))
    assert (answer.verdict, answer.chosen) == ("choice", "b")
    assert answer.need is not None
    assert (answer.need.kind, answer.need.contenders) == ("bench", ("d",))


def test_one_measurement_alone_is_no_choice() -> None:
    made = evidence(contender("a", 20, 0.0, size=300), contender("b", size=100))
    answer = decide(made, Constraints())
    assert (answer.verdict, answer.chosen) == ("unsure", "a")
    assert answer.need is not None
    assert answer.need.contenders == ("b",)
    assert decide(evidence(contender("a", 20, 0.0)), Constraints()).verdict == "choice"


def test_nothing_measured_says_what_to_run_first() -> None:
    answer = decide(evidence(contender("a"), contender("b")), Constraints(min_speed=3))
    assert answer.verdict == "nothing"
    assert "bench it first" in answer.sentence
    assert answer.need is not None
    assert (answer.need.kind, answer.need.contenders) == ("bench", ("a", "b"))


def test_the_hardest_constraint_is_named_with_what_is_missing() -> None:
    answer = decide(evidence(*three()), Constraints(min_speed=60))
    assert answer.verdict == "none"
    assert answer.sentence == "Nothing meets ≥ 60 tokens/s: Qc comes nearest with 50 tokens/s, 17 % too little."
    answer = decide(evidence(*three()), Constraints(min_speed=45, max_kld=0.01))
    assert "The hardest is ≥ 45 tokens/s: 2 of 3 miss it, Qb comes nearest with 40 tokens/s, 11 % too little." in (
        answer.sentence
    )
    assert "100 % too much" not in answer.sentence
    answer = decide(evidence(*three()), Constraints(min_context=16384))
    assert "Nothing meets ≥ 16,384 tokens" in answer.sentence


def test_an_estimate_can_fail_a_constraint_but_not_meet_it() -> None:
    a, b, c = with_estimates([*three()[:2], contender("c", size=75)])
    assert c.speed is not None
    assert c.speed.estimated
    assert c.speed.value == pytest.approx(80)
    assert Constraint("speed", 40).state(c) == "unknown"
    assert Constraint("speed", 400).state(c) == "failed"
    assert c.figure("speed") is None
    assert c.kld is None
    assert decide(evidence(a, b, contender("c", size=75)), Constraints(min_speed=400)).verdict == "none"


def test_equals_have_a_winner_in_at_most_one_of_twenty_cases() -> None:
    rng = random.Random(7)
    trials, winners = 60, 0
    for trial in range(trials):
        speeds = [[rng.gauss(40, 1) for _ in range(5)] for _ in range(3)]
        same = [klds(0.01, 3 * trial + number, chunks=6, length=128) for number in range(3)]
        contenders = [
            contender(key, speed_figure(values), Figure(float(np.mean(tokens))))
            for key, values, tokens in zip("abc", speeds, same, strict=True)
        ]
        made: Evidence = evidence(*contenders)
        made.divergences = dict(zip("abc", same, strict=True))
        winners += decide(made, Constraints()).verdict == "choice"
    assert winners <= 0.05 * trials


def test_only_what_one_run_can_compare_is_compared_in_pairs() -> None:
    a, b = contender("a"), contender("b")
    with_k = replace(a, settings=replace(a.settings, type_k="q8_0"))
    with_both = replace(with_k, settings=replace(with_k.settings, type_v="q8_0"))
    assert pairable(a, b)
    assert pairable(a, with_k)
    assert not pairable(a, with_both)
    assert not pairable(with_k, b)


@pytest.mark.parametrize(("name", "text", "value"), [
    ("min_speed", " 12.5 ", 12.5), ("min_pass", "90 %", 90.0), ("min_context", "8192", 8192), ("max_kld", "", None),
])  # fmt: skip
def test_constraints_are_read(name: str, text: str, value: float | None) -> None:
    assert parse_constraint(name, text) == value


@pytest.mark.parametrize(("name", "text"), [
    ("min_speed", "-1"), ("min_speed", "nan"), ("min_speed", "inf"), ("min_pass", "101"), ("max_kld", "small"),
    ("min_context", "8.5"), ("min_context", "1e999"),
])  # fmt: skip
def test_wrong_constraints_are_refused(name: str, text: str) -> None:
    with pytest.raises(ParameterError):
        parse_constraint(name, text)
