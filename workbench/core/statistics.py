"""Statistics for a few timings that are neither normal nor independent.

Two things are compared by pairs that were run side by side, on the logarithm of their ratio: what drifts slowly, such
as a clock that falls with heat, is the same for both of a pair and drops out. Below `BOOTSTRAP_FROM` pairs the interval
is Student's, around the mean; from there on it is that of the median, by a smoothed bootstrap with a fixed seed.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CONFIDENCE = 0.95

BOOTSTRAP_FROM = 10
"""Pairs from which the interval is that of the median."""

RESAMPLES = 2000
SEED = 20_260_101

FEWEST_PAIRS = 3
"""Pairs below which nothing is concluded."""

NOISY_CV = 0.05
"""The spread of the ratios, as a fraction, from which a comparison without a result is put down to noise."""

STABLE = 0.02
"""Two successive warm-up runs that differ by less than this fraction are stable."""

Verdict = Literal["faster", "slower", "equal", "noisy", "few"]


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("There is no mean of nothing.")
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample (n - 1); 0 where there are fewer than two values."""
    if len(values) < 2:
        return 0.0
    middle = mean(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones.

    Raises:
        ValueError: There are no values.
    """
    return statistics.median(values)


def variation(values: Sequence[float]) -> float | None:
    """The coefficient of variation: deviation / mean; None where that says nothing."""
    if len(values) < 2 or mean(values) == 0:
        return None
    return deviation(values) / abs(mean(values))


def is_stable(values: Sequence[float], tolerance: float = STABLE) -> bool:
    """Whether the last two values differ by less than `tolerance`, as a fraction of the smaller one."""
    if len(values) < 2:
        return False
    low, high = sorted(values[-2:])
    return low > 0 and high / low - 1 < tolerance


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    found = d
    for step in range(1, 1000):
        for factor in (
            step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step)),
            -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1)),
        ):
            d = 1 + factor * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + factor / c
            c = c if abs(c) > tiny else tiny
            found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return found


def _beta_share(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _beta_fraction(x, a, b) / a
    return 1 - math.exp(log_front) * _beta_fraction(1 - x, b, a) / b


def student_share(t: float, freedom: float) -> float:
    """The probability that Student's t with `freedom` degrees of freedom is at most `t`."""
    tail = _beta_share(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return 1 - tail if t > 0 else tail


def student_quantile(share: float, freedom: float) -> float:
    """The t that Student's distribution stays below with probability `share`.

    Raises:
        ValueError: `share` does not lie between 0 and 1, or `freedom` is not positive.
    """
    if not 0 < share < 1 or freedom <= 0:
        raise ValueError(f"There is no quantile {share} of Student's t with {freedom} degrees of freedom.")
    if share < 0.5:
        return -student_quantile(1 - share, freedom)
    low, high = 0.0, 1.0
    while student_share(high, freedom) < share:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if student_share(middle, freedom) < share:
            low = middle
        else:
            high = middle
    return high


def student_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of the mean by Student's t.

    Raises:
        ValueError: There are fewer than two values.
    """
    if len(values) < 2:
        raise ValueError("An interval needs two values.")
    middle, freedom = mean(values), len(values) - 1
    half = student_quantile((1 + confidence) / 2, freedom) * deviation(values) / math.sqrt(len(values))
    return middle - half, middle + half


def bootstrap_interval(
    values: Sequence[float], *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """The percentile interval of the median by a smoothed bootstrap; the same for the same values.

    Without smoothing, the median of an odd number of values jumps from one of them to the next, and the interval is
    too narrow: at 15 pairs it would find a difference between equals in 9 of 100 comparisons instead of in 5.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("There is no interval of nothing.")
    count = len(values)
    rng = random.Random(seed)
    width = deviation(values) / math.sqrt(count)
    drawn = [value + rng.gauss(0, width) for value in rng.choices(values, k=count * resamples)]
    upper, lower = count // 2, (count - 1) // 2
    rows = (sorted(drawn[start : start + count]) for start in range(0, len(drawn), count))
    found = sorted((row[lower] + row[upper]) / 2 for row in rows)
    cut = math.floor((1 - confidence) / 2 * resamples)
    return found[cut], found[-1 - cut]


@dataclass(frozen=True, slots=True)
class Comparison:
    """B against A, from pairs. Ratios are of speeds: above 1, B is the faster one."""

    ratio: float
    low: float | None
    """The lower end of the interval; None where there are too few pairs for one."""
    high: float | None
    pairs: int
    ahead: int
    """Pairs in which B was the faster one."""
    cv: float | None
    """The spread of the ratios, as a fraction."""
    verdict: Verdict

    @property
    def detectable(self) -> float | None:
        """The difference, as a fraction, that so many pairs of this noise would have shown."""
        if self.low is None or self.high is None:
            return None
        return math.sqrt(self.high / self.low) - 1

    @property
    def bound(self) -> float | None:
        """No difference larger than this fraction is in the interval."""
        if self.low is None or self.high is None:
            return None
        return max(abs(self.low - 1), abs(self.high - 1))

    def sentence(self, a: str = "A", b: str = "B") -> str:
        """The verdict in words.

        Args:
            a: What A is called.
            b: What B is called.
        """
        count = f"{self.pairs} pair{'' if self.pairs == 1 else 's'}"
        if self.low is None or self.high is None or self.verdict == "few":
            return f"too few pairs to say: {b} / {a} was {self.ratio:.3f} ({count})"
        ends = f"{_percent(self.low)} to {_percent(self.high)} %"
        if self.verdict in {"faster", "slower"}:
            low, high = sorted((abs(self.low - 1), abs(self.high - 1)))
            return (
                f"{b} is {abs(self.ratio - 1) * 100:.1f} % {self.verdict} than {a}, "
                f"95 % interval {low * 100:.1f} to {high * 100:.1f} %, {count}"
            )
        if self.verdict == "noisy":
            return (
                f"too noisy: the pairs differ by {(self.cv or 0) * 100:.1f} %, 95 % interval {ends}, {count}; "
                "close other programs or fix the clocks"
            )
        return f"no difference larger than {(self.bound or 0) * 100:.1f} % seen, {count}"


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f}"


def compare(speeds_a: Sequence[float], speeds_b: Sequence[float]) -> Comparison:
    """B against A from speeds that belong together pair by pair.

    Raises:
        ValueError: There are no pairs, one side is longer, or a speed is not positive.
    """
    if not speeds_a or len(speeds_a) != len(speeds_b):
        raise ValueError("Both sides need equally many speeds, and at least one.")
    if min(*speeds_a, *speeds_b) <= 0:
        raise ValueError("A speed has to be positive.")
    logs = [math.log(b / a) for a, b in zip(speeds_a, speeds_b, strict=True)]
    count = len(logs)
    low = high = None
    if count >= BOOTSTRAP_FROM:
        low, high = bootstrap_interval(logs)
    elif count >= 2:
        low, high = student_interval(logs)
    centre = mean(logs) if count < BOOTSTRAP_FROM else median(logs)
    spread = deviation(logs) if count >= 2 else None
    return Comparison(
        ratio=math.exp(centre),
        low=None if low is None else math.exp(low),
        high=None if high is None else math.exp(high),
        pairs=count,
        ahead=sum(value > 0 for value in logs),
        cv=spread,
        verdict=_verdict(count, low, high, spread),
    )


def _verdict(count: int, low: float | None, high: float | None, spread: float | None) -> Verdict:
    if count < FEWEST_PAIRS or low is None or high is None:
        return "few"
    if low > 0:
        return "faster"
    if high < 0:
        return "slower"
    return "noisy" if spread is not None and spread > NOISY_CV else "equal"
