from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.proportions import (
    LEVEL,
    MOST_MORE,
    PairedCases,
    chance,
    fewest_successes,
    holm_levels,
    more_votes,
    two_sided,
    wilson,
)

SIZES = (5, 6, 7, 8, 9, 10, 12, 15, 16, 20, 25, 30, 40, 50, 64, 100)


def test_the_fewest_right_votes_of_abx() -> None:
    assert [fewest_successes(n) for n in SIZES] == [5, 6, 7, 7, 8, 9, 10, 12, 12, 15, 18, 20, 26, 32, 40, 59]
    assert [fewest_successes(n) for n in range(5)] == [None] * 5


def test_the_fewest_votes_of_a_preference() -> None:
    sizes = (6, 7, 8, 9, 10, 12, 15, 16, 20, 25, 30, 40, 50, 100)
    assert [fewest_successes(n, LEVEL / 2) for n in sizes] == [6, 7, 8, 8, 9, 10, 12, 13, 15, 18, 21, 27, 33, 61]
    assert fewest_successes(5, LEVEL / 2) is None


@pytest.mark.parametrize(
    ("right", "votes", "expected"),
    [(5, 5, 0.0312), (7, 8, 0.0352), (9, 10, 0.0107), (12, 16, 0.0384), (15, 20, 0.0207), (32, 50, 0.0325)],
)
def test_the_exact_binomial(right: int, votes: int, expected: float) -> None:
    assert chance(right, votes) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [
        (0, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (1, 7, 0.0703), (1, 8, 0.0391), (2, 10, 0.0386),
        (3, 12, 0.0352), (5, 15, 0.0414), (10, 21, 0.0708), (10, 25, 0.0167),
    ],
)  # fmt: skip
def test_the_exact_mcnemar(only_a: int, only_b: int, expected: float) -> None:
    assert PairedCases(100, only_a, only_b).p_value == pytest.approx(expected, abs=5e-5)
    assert PairedCases(100, only_b, only_a).p_value == two_sided(only_a, only_b)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(17, 20, 0.6396, 0.9476), (13, 16, 0.5699, 0.9341), (20, 20, 0.8389, 1.0), (0, 20, 0.0, 0.1611)],
)
def test_the_interval_of_wilson(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_no_trials_have_no_interval() -> None:
    assert wilson(0, 0) is None


def test_the_intervals_cover_95_percent() -> None:
    # The coverage for one rate and size swings; its mean over both is that of the method.
    rng, covered, tried = random.Random(1), 0, 2500
    for _ in range(tried):
        rate, trials = rng.uniform(0.05, 0.95), rng.randrange(20, 120)
        low, high = wilson(sum(rng.random() < rate for _ in range(trials)), trials) or (0.0, 0.0)
        covered += low <= rate <= high
    assert 0.93 < covered / tried < 0.97


def test_false_verdicts_between_equals_are_within_the_level() -> None:
    rng, tried, false = random.Random(2), 2000, 0
    for _ in range(tried):
        only = [0, 0]
        for _ in range(60):
            one, other = rng.random() < 0.7, rng.random() < 0.7
            only[other] += one != other
        false += PairedCases(60, *only).verdict in ("a", "b")
    assert false / tried <= LEVEL


def test_false_verdicts_of_three_pairs_together_are_within_the_level() -> None:
    rng, tried, false = random.Random(3), 1000, 0
    for _ in range(tried):
        passed = [[rng.random() < 0.6 for _ in range(40)] for _ in range(3)]
        pairs = []
        for a, b in ((0, 1), (0, 2), (1, 2)):
            split = list(zip(passed[a], passed[b], strict=True))
            pairs.append(PairedCases(40, sum(x > y for x, y in split), sum(x < y for x, y in split)))
        levels = holm_levels([pair.p_value for pair in pairs])
        false += any(pair.p_value <= level for pair, level in zip(pairs, levels, strict=True))
    assert false / tried <= LEVEL


def test_the_levels_of_several_tests() -> None:
    assert holm_levels([0.01]) == (0.05,)
    assert holm_levels([0.04, 0.001, 0.03]) == pytest.approx((0.025, 0.05 / 3, 0.025))
    assert holm_levels([0.02, 0.001, 0.04]) == pytest.approx((0.025, 0.05 / 3, 0.05))
    assert holm_levels([]) == ()


def test_votes_that_are_missing() -> None:
    assert chance(9, 12) == pytest.approx(0.073, abs=5e-4)
    assert more_votes(9, 12) == 4
    assert more_votes(10, 12) == 0
    assert more_votes(6, 12) is None
    assert more_votes(501, 1000) is None


def test_cases_that_are_missing() -> None:
    pair = PairedCases(40, 2, 7)
    assert (pair.verdict, pair.more) == ("more", 35)
    assert PairedCases(75, 4, 13).verdict == "b"
    assert "not enough cases to tell, 35 more" in pair.sentence("Q8_0", "Q4_K_M")
    hopeless = PairedCases(1000, 51, 50)
    assert hopeless.more is None
    assert f"more than {MOST_MORE:,}" in hopeless.sentence()


def test_verdicts_in_words() -> None:
    assert "no difference, they pass the same ones of 12 cases" in PairedCases(12, 0, 0).sentence()
    assert "no difference seen" in PairedCases(12, 2, 2).sentence()
    assert PairedCases(30, 9, 1).sentence("Q8_0", "Q2_K").startswith("Q8_0 is better than Q2_K: 9 only Q8_0")
    assert "no case was judged for both" in PairedCases(0, 0, 0).sentence()
    assert PairedCases(0, 0, 0).verdict == "more"


@settings(max_examples=15)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200))
def test_more_cases_do_tell(only_a: int, only_b: int, both: int) -> None:
    pair = PairedCases(only_a + only_b + both, only_a, only_b)
    assert 0 < pair.p_value <= 1
    assert pair.sentence()
    if pair.more is not None:
        total = pair.cases + pair.more
        low, high = sorted((only_a, only_b))
        assert two_sided(high * total // pair.cases, -(-low * total // pair.cases)) <= LEVEL
