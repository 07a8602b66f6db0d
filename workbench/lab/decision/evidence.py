"""What is known of the contenders of one base model, and comparisons of two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

import numpy as np

from workbench.core.bench import BenchMachine, BenchTest
from workbench.core.models import ModelEntry
from workbench.core.proportions import PairedCases
from workbench.core.statistics import (
    BOOTSTRAP_FROM,
    NOISY_CV,
    Comparison,
    bootstrap_interval,
    student_interval,
)
from workbench.lab.decision.contender import Contender, Figure
from workbench.lab.quality.figures import Values
from workbench.lab.quality.intervals import mean_intervals

SETTLED_PAIRS = 10
"""Pairs after which two speeds without a difference count as equal."""

WIDER = 1.2
"""How much wider than 95 % an interval has to be, since both speed and divergence may name a winner.

The 98.75 % quantile over the 97.5 % one, of Student's t with 7 degrees of freedom: false winners of both together stay
within 5 %.
"""

_LARGEST_LOG = 700.0
"""`exp` is finite up to here."""

CaseKey = tuple[str, str]
"""The id of a case, and its question."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A figure of B compared with that of A: their ratio, or for a divergence their difference B - A."""

    value: float
    interval: tuple[float, float]
    none: float
    """The value of no difference: 1 for a ratio, 0 for a difference."""
    settled: bool = False
    """Whether enough was measured to take two without a difference for equal."""

    @property
    def sign(self) -> int:
        """1 where B surely has the larger figure, -1 where it has the smaller one, 0 where nobody can tell."""
        place, low, high, none = self.value, *self.interval, self.none
        if none:
            place, low, high, none = (math.log(each) if each > 0 else -math.inf for each in (place, low, high, none))
        low, high = place - WIDER * (place - low), place + WIDER * (high - place)
        return int(low > none) - int(high < none)


@dataclass(frozen=True, slots=True)
class QualitySource:
    """The text that all divergences are from."""

    reference: str
    """The key of the reference."""
    text: str
    text_sha256: str
    n_ctx: int
    depth: int
    skip: int
    """Tokens at the beginning of the text that are not scored."""
    options: tuple[str, ...]
    """The arguments of `workbench quality` that name the text."""


@dataclass(frozen=True, slots=True)
class EvalSource:
    """The prompts that all rates are from."""

    pack: str
    """As it was named on the command line."""
    name: str
    digest: str
    cases: int
    samples: int = 1
    system: str = ""
    settings: tuple[tuple[str, object], ...] = ()
    """The sampling parameters that differ from the defaults."""


@dataclass
class Evidence:
    """Everything that is known of one base model on this machine."""

    model: str
    machine: BenchMachine
    contenders: tuple[Contender, ...] = ()
    """The largest file first."""
    test: BenchTest | None = None
    """What all speeds are from; None before the first."""
    quality: QualitySource | None = None
    evals: EvalSource | None = None
    n_ctx: int = 0
    """The context that memory is estimated for; 0 for the default of the model."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""
    entries: Mapping[str, ModelEntry] = field(default_factory=dict)
    """The models by the paths of their files."""
    runs: Mapping[str, str] = field(default_factory=dict)
    """By key: the run that the speed is from."""
    duels: Mapping[tuple[str, str], Comparison] = field(default_factory=dict)
    """By two keys: their comparison in pairs."""
    divergences: dict[str, Sequence[Values]] = field(default_factory=dict)
    """By key: the divergence of every token, by chunks."""
    cases: dict[str, Mapping[CaseKey, bool]] = field(default_factory=dict)
    """By key: the verdict on every case."""
    _klds: dict[tuple[str, str], Gap | None] = field(default_factory=dict)

    def of(self, key: str) -> Contender:
        """The contender with a key."""
        return next(each for each in self.contenders if each.key == key)

    def speed_gap(self, a: Contender, b: Contender) -> Gap | None:
        """The ratio of the speeds; None where one is unknown.

        Pairs that ran side by side count, else the intervals: those of different runs are widened by `NOISY_CV`, since
        the machine may have been another one in between.
        """
        for first, second in ((a, b), (b, a)):
            found = self.duels.get((first.key, second.key))
            if found is not None and found.low is not None and found.high is not None and found.verdict != "few":
                ends = (found.low, found.high)
                ratio = found.ratio
                if first is b:
                    ratio, ends = 1 / ratio, (1 / found.high, 1 / found.low)
                return Gap(ratio, ends, 1.0, found.pairs >= SETTLED_PAIRS)
        mine, other = a.figure("speed"), b.figure("speed")
        if mine is None or other is None:
            return None
        drift = 1.0 if self.runs.get(a.key) == self.runs.get(b.key) else 1 + NOISY_CV
        low = max(0.0, other.low) / mine.high / drift
        high = math.inf if mine.low <= 0 else other.high / mine.low * drift
        return Gap(other.value / mine.value, (low, high), 1.0)

    def kld_gap(self, a: Contender, b: Contender) -> Gap | None:
        """The difference of the mean divergences, token by token on the same text; None where one is unknown."""
        if (a.key, b.key) not in self._klds:
            self._klds[a.key, b.key] = self._kld_gap(a, b)
        return self._klds[a.key, b.key]

    def _kld_gap(self, a: Contender, b: Contender) -> Gap | None:
        mine, other = a.figure("kld"), b.figure("kld")
        if mine is None or other is None:
            return None
        difference = other.value - mine.value
        if a.is_reference or b.is_reference:
            # The divergence of the reference from itself is 0, not measured.
            return Gap(difference, (other.low - mine.high, other.high - mine.low), 0.0)
        pairs = zip(self.divergences[a.key], self.divergences[b.key], strict=False)
        chunks = [(theirs - own)[:, None] for own, theirs in pairs if len(own) == len(theirs)]
        found = mean_intervals(chunks) if chunks else None
        if found is None:
            return Gap(difference, (-math.inf, math.inf), 0.0)
        return Gap(float(np.concatenate(chunks).mean()), found[0], 0.0)

    def split(self, a: Contender, b: Contender) -> PairedCases | None:
        """Two contenders on the prompts that were judged for both; None where there are none."""
        mine, other = self.cases.get(a.key, {}), self.cases.get(b.key, {})
        both = [(mine[case], other[case]) for case in mine if case in other]
        return PairedCases(len(both), both.count((True, False)), both.count((False, True))) if both else None


def speed_figure(speeds: Sequence[float]) -> Figure:
    """The speed of repetitions: their geometric mean with Student's interval, from `BOOTSTRAP_FROM` on their median."""
    logs = [math.log(speed) for speed in speeds]
    if len(logs) >= BOOTSTRAP_FROM:
        low, high = bootstrap_interval(logs)
        return Figure(median(speeds), (math.exp(low), math.exp(high)))
    if len(logs) < 2:
        return Figure(speeds[0])
    low, high = (math.exp(min(end, _LARGEST_LOG)) for end in student_interval(logs))
    return Figure(math.exp(fmean(logs)), (low, high))
