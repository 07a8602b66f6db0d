"""Statistics of counts: exact tests of votes and of paired cases, intervals of rates, and how many more would tell.

The tests assume that the number of cases was fixed beforehand: whoever looks after each case and stops at the first
verdict finds a difference between equals more often than `LEVEL` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

LEVEL = 0.05
"""The share of false verdicts between equals, at most."""
_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

MOST_MORE = 1000
"""Further cases beyond which none are asked for."""
_EXACTLY, _STEP = 100, 10
"""The first so many further cases are tried one by one, more of them in steps."""


def chance(successes: int, trials: int) -> float:
    """The probability of at least so many successes in trials that succeed half of the time; exact."""
    if successes <= 0:
        return 1.0
    term = found = math.comb(trials, successes)
    for count in range(successes, trials):
        term = term * (trials - count) // (count + 1)
        found += term
    share: float = found / 2**trials
    return share


def two_sided(one: int, other: int) -> float:
    """The exact p-value of a sign test of two counts; 1 where both are 0."""
    return min(1.0, 2 * chance(max(one, other), one + other))


def wilson(successes: int, trials: int) -> tuple[float, float] | None:
    """The 95 % interval of a rate by Wilson's score; None without trials.

    Source: E. B. Wilson (1927), Journal of the American Statistical Association 22, 209.
    """
    if not trials:
        return None
    rate, square = successes / trials, _Z * _Z / trials
    centre = rate + square / 2
    half = _Z * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials))
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    return (0.0 if successes == 0 else low, 1.0 if successes == trials else high)


def fewest_successes(trials: int, level: float = LEVEL) -> int | None:
    """The fewest successes that chance gives with a probability of at most `level`; None where all are not enough."""
    found = None
    for successes in range(trials, trials // 2, -1):
        if chance(successes, trials) > level:
            break
        found = successes
    return found


def _more(trials: int, tells: Callable[[int], bool]) -> int | None:
    """The fewest further trials after which a test tells; None where that takes more than `MOST_MORE`."""
    tried = [*range(1, _EXACTLY + 1), *range(_EXACTLY + _STEP, MOST_MORE + 1, _STEP)]
    return next((more for more in tried if tells(trials + more)), None)


def more_votes(right: int, votes: int) -> int | None:
    """How many more votes would settle that `right` of `votes` is better than chance, at the same rate of right ones.

    0 where it is settled; None where it takes more than `MOST_MORE`, or where half of them or fewer are right.
    """
    if 2 * right <= votes:
        return None
    if chance(right, votes) <= LEVEL:
        return 0
    return _more(votes, lambda total: chance(right * total // votes, total) <= LEVEL)


def holm_levels(p_values: Sequence[float]) -> tuple[float, ...]:
    """The level for each of several tests, so that all their false verdicts together stay within `LEVEL`.

    Source: S. Holm (1979), Scandinavian Journal of Statistics 6, 65.
    """
    levels = [LEVEL] * len(p_values)
    refused = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        levels[index] = refused or LEVEL / (len(p_values) - rank)
        if p_values[index] > levels[index]:
            refused = levels[index]
    return tuple(levels)


PairVerdict = Literal["a", "b", "same", "more"]
"""Which is better; `same`: neither passed a case that the other failed; `more`: not enough cases to tell."""


@dataclass(frozen=True, slots=True)
class PairedCases:
    """Two candidates on the same cases, compared by McNemar's exact test."""

    cases: int
    """Cases that were judged for both."""
    only_a: int
    """Cases that A passed and B failed."""
    only_b: int
    level: float = LEVEL

    @property
    def p_value(self) -> float:
        """The probability of a split at least as uneven between equals, exact and two-sided."""
        return two_sided(self.only_a, self.only_b)

    @property
    def verdict(self) -> PairVerdict:
        """What the test says."""
        if self.p_value <= self.level:
            return "a" if self.only_a > self.only_b else "b"
        return "same" if self.cases and not self.only_a + self.only_b else "more"

    @property
    def more(self) -> int | None:
        """How many more cases would tell, if the candidates go on to differ as they did; None for no number."""
        low, high = sorted((self.only_a, self.only_b))
        if self.verdict != "more" or low == high:
            return None
        cases = self.cases
        return _more(cases, lambda total: two_sided(high * total // cases, -(-low * total // cases)) <= self.level)

    def sentence(self, a: str = "A", b: str = "B") -> str:
        """The verdict in words, with names for the two."""
        cases = f"{self.cases} case{'' if self.cases == 1 else 's'}"
        if not self.cases:
            return f"{a} and {b}: no case was judged for both."
        if self.verdict == "same":
            return f"{a} and {b}: no difference, they pass the same ones of {cases}."
        split = f"{self.only_a} only {a} passes, {self.only_b} only {b} (p {self.p_value:.3f}, {cases})"
        if self.verdict != "more":
            better, worse = (a, b) if self.verdict == "a" else (b, a)
            return f"{better} is better than {worse}: {split}."
        if self.only_a == self.only_b:
            return f"{a} and {b}: no difference seen, {split}."
        needed = f"more than {MOST_MORE:,}" if self.more is None else f"{self.more}"
        return f"{a} and {b}: not enough cases to tell, {needed} more like these would: {split}."
