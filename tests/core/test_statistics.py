from __future__ import annotations

import math
import random
from statistics import fmean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.statistics import (
    BOOTSTRAP_FROM,
    STUDENT_T,
    bootstrap_interval,
    compare,
    deviation,
    is_stable,
    student_interval,
)

SPEEDS = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("values", "half"),
    [((0, 1), 12.706 / 2), ((0, 1, 2), 4.303 / math.sqrt(3)), ((-1, 0, 1, 0, 0), 2.776 * math.sqrt(0.5 / 5))],
)
def test_an_interval_has_the_t_of_the_printed_tables(values, half):
    low, high = student_interval(values)
    assert (high - low) / 2 == pytest.approx(half, abs=1e-3)
    assert (high + low) / 2 == pytest.approx(fmean(values))


def test_every_number_of_pairs_below_the_bootstrap_has_its_t():
    assert len(STUDENT_T) == BOOTSTRAP_FROM - 2
    assert list(STUDENT_T) == sorted(STUDENT_T, reverse=True)


def test_one_value_has_no_spread():
    assert deviation([3.0]) == 0
    assert deviation([9.0, 11.0]) == pytest.approx(math.sqrt(2))


def test_the_bootstrap_is_the_same_for_the_same_values():
    values = [0.01, 0.02, -0.01, 0.03, 0.015, 0.02, 0.01, 0.0, 0.02, 0.05]
    assert bootstrap_interval(values) == bootstrap_interval(values)
    low, high = bootstrap_interval(values)
    assert min(values) <= low < median(values) < high <= max(values)


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_interval([0.5] * 12) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("values", "stable"),
    [([], False), ([5], False), ([100, 101.9], True), ([101.9, 100], True), ([100, 102.1], False), ([9, 5, 5], True)],
)
def test_two_successive_runs_within_two_per_cent_are_stable(values, stable):
    assert is_stable(values) is stable


@given(SPEEDS)
def test_a_thing_is_as_fast_as_itself(speeds):
    found = compare(speeds, speeds)
    assert found.ratio == 1
    assert found.ahead == 0
    assert found.verdict == ("equal" if len(speeds) >= 3 else "few")


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=2, max_size=9))
def test_swapping_the_two_turns_the_comparison_over(pairs):
    a, b = zip(*pairs, strict=True)
    forth, back = compare(a, b), compare(b, a)
    assert forth.ratio * back.ratio == pytest.approx(1)
    assert forth.low * back.high == pytest.approx(1)
    assert {forth.verdict, back.verdict} in ({"faster", "slower"}, {"equal"}, {"noisy"}, {"few"})


def test_a_clear_difference_is_a_sentence():
    a = [100.0, 101, 99, 100, 102, 98, 100, 101, 99, 100]
    found = compare(a, [speed * factor for speed, factor in zip(a, [1.03, 1.032] * 5, strict=True)])
    assert found.verdict == "faster"
    assert found.ahead == 10
    assert found.sentence("Q8_0", "Q4_0") == ("Q4_0 is 3.1 % faster than Q8_0, 95 % interval 3.0 to 3.2 %, 10 pairs")
    back = compare([speed * 1.25 for speed in a], a)
    assert back.sentence() == "B is 20.0 % slower than A, 95 % interval 20.0 to 20.0 %, 10 pairs"


def test_no_difference_is_said_with_its_bound():
    a = [100.0] * 10
    found = compare(a, [101, 99, 100.5, 99.5, 100, 101, 99, 100.2, 99.8, 100])
    assert found.verdict == "equal"
    assert found.sentence().startswith("no difference larger than ")
    assert found.sentence().endswith(" % seen, 10 pairs")
    assert 0 < found.bound < 0.015


def test_noise_is_called_noise():
    found = compare([100.0] * 8, [80, 125, 90, 111, 70, 140, 100, 101])
    assert found.verdict == "noisy"
    assert found.sentence().startswith("too noisy: the pairs differ by ")


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_pairs_prove_nothing(count):
    found = compare([100.0] * count, [200.0] * count)
    assert found.verdict == "few"
    assert found.sentence() == f"too few pairs to say: B / A was 2.000 ({count} pair{'s'[: count - 1]})"
    assert (found.low is None) == (count == 1)


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [-1.0])])
def test_what_are_no_pairs_is_refused(a, b):
    with pytest.raises(ValueError, match=r"equally|positive"):
        compare(a, b)


def drifting(count: int, rng: random.Random, effect: float = 0.0) -> tuple[list[float], list[float]]:
    """Speeds of pairs in ABBA order on a machine that drifts: AR(1), 2 %, rho 0.9, and 1 % noise of its own."""
    drift, rho = rng.gauss(0, 0.02), 0.9
    arms: dict[str, list[float]] = {"a": [], "b": []}
    for number in range(count):
        for arm in "ab" if number % 2 == 0 else "ba":
            drift = rho * drift + math.sqrt(1 - rho * rho) * rng.gauss(0, 0.02)
            arms[arm].append(100 * math.exp(drift + rng.gauss(0, 0.01) + (effect if arm == "b" else 0)))
    return arms["a"], arms["b"]


@pytest.mark.parametrize(("pairs", "trials"), [(5, 1500), (9, 1500), (10, 250), (15, 150)])
def test_slow_drift_is_seldom_taken_for_a_difference(pairs, trials):
    rng = random.Random(11)
    verdicts = [compare(*drifting(pairs, rng)).verdict for _ in range(trials)]
    assert sum(verdict in {"faster", "slower"} for verdict in verdicts) / trials < 0.07


def test_two_per_cent_are_found_in_ten_pairs():
    rng = random.Random(11)
    found = [compare(*drifting(10, rng, 0.02)).verdict for _ in range(150)]
    assert found.count("faster") / len(found) > 0.8
    assert "slower" not in found
