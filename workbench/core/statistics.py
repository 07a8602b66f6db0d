"""Statistics for a few timings that are neither normal nor independent.

Two cases are compared in pairs that ran side by side, on the logarithm of their ratio: slow drift, such as a clock
that falls with heat, is the same for both of a pair and cancels out. Below `BOOTSTRAP_FROM` pairs the interval is
Student's t around the mean; from there on it is that of the median, by a smoothed bootstrap with a fixed seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, median, stdev
from typing import Literal

CONFIDENCE = 0.95

BOOTSTRAP_FROM = 10
"""Pairs from which the interval is that of the median."""

RESAMPLES = 2000
SEED = 20_260_101

FEWEST_PAIRS = 3
"""Pairs below which nothing is concluded."""

NOISY_CV = 0.05
"""The spread of the ratios, as a fraction, above which a comparison without a result is called noisy."""

STABLE = 0.02
"""Two successive warm-up runs that differ by less than this fraction are stable."""

STUDENT_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060)
"""The 97.5 % quantiles of Student's t with 1 to 8 degrees of freedom, for 2 to 9 pairs.

Source: NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2.
"""

Verdict = Literal["faster", "slower", "equal", "noisy", "few"]


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample (n - 1); 0 where there are fewer than two values."""
    return stdev(values) if len(values) > 1 else 0.0


def is_stable(values: Sequence[float]) -> bool:
    """Whether the last two values differ by less than `STABLE`, as a fraction of the smaller one."""
    if len(values) < 2:
        return False
    low, high = sorted(values[-2:])
    return low > 0 and high / low - 1 < STABLE


def student_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of 2 to 9 values, by Student's t."""
    half = STUDENT_T[len(values) - 2] * deviation(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % percentile interval of the median by a smoothed bootstrap; the same for the same values.

    Without smoothing, the median of an odd number of values jumps from one of them to the next, and the interval is
    too narrow: at 15 pairs it would find a difference between equals in 9 of 100 comparisons instead of in 5.
    """
    return _bootstrap(tuple(values))


@lru_cache(maxsize=64)
def _bootstrap(values: tuple[float, ...]) -> tuple[float, float]:
    # A screen asks again for every paint.
    count = len(values)
    width = deviation(values) / math.sqrt(count)
    drawn = [values[index] + width * noise for index, noise in _draws(count)]
    found = sorted(median(drawn[start : start + count]) for start in range(0, len(drawn), count))
    cut = math.floor((1 - CONFIDENCE) / 2 * RESAMPLES)
    return found[cut], found[-1 - cut]


@lru_cache(maxsize=4)
def _draws(count: int) -> tuple[tuple[int, float], ...]:
    """Which of `count` values each resample draws, and noise of the standard normal distribution."""
    rng = random.Random(SEED)
    drawn = rng.choices(range(count), k=count * RESAMPLES)
    return tuple((index, rng.gauss(0, 1)) for index in drawn)


@dataclass(frozen=True, slots=True)
class Comparison:
    """B compared with A in pairs. Ratios are of speeds: above 1, B is faster."""

    ratio: float
    low: float | None
    """The lower end of the interval; None where there are too few pairs for one."""
    high: float | None
    pairs: int
    ahead: int
    """Pairs in which B was faster."""
    cv: float | None
    """The spread of the ratios, as a fraction."""
    verdict: Verdict

    @property
    def bound(self) -> float | None:
        """The largest difference inside the interval, as a fraction."""
        if self.low is None or self.high is None:
            return None
        return max(abs(self.low - 1), abs(self.high - 1))

    def sentence(self, a: str = "A", b: str = "B") -> str:
        """The verdict in words, with names for the two."""
        count = f"{self.pairs} pair{'' if self.pairs == 1 else 's'}"
        if self.low is None or self.high is None or self.verdict == "few":
            return f"too few pairs to say: {b} / {a} was {self.ratio:.3f} ({count})"
        if self.verdict in {"faster", "slower"}:
            low, high = sorted((abs(self.low - 1), abs(self.high - 1)))
            return (
                f"{b} is {abs(self.ratio - 1) * 100:.1f} % {self.verdict} than {a}, "
                f"95 % interval {low * 100:.1f} to {high * 100:.1f} %, {count}"
            )
        if self.verdict == "noisy":
            ends = f"{(self.low - 1) * 100:+.1f} to {(self.high - 1) * 100:+.1f} %"
            return (
                f"too noisy: the pairs differ by {(self.cv or 0) * 100:.1f} %, 95 % interval {ends}, {count}; "
                "close other programs or fix the clocks"
            )
        return f"no difference larger than {(self.bound or 0) * 100:.1f} % seen, {count}"


def compare(speeds_a: Sequence[float], speeds_b: Sequence[float]) -> Comparison:
    """Compare B with A, from the speeds of each in the same pairs.

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
    centre = fmean(logs) if count < BOOTSTRAP_FROM else median(logs)
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
