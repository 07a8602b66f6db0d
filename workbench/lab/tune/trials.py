"""What is known of each way that a tuning has tried: its runs, its speed beside today's, or why it was not run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from workbench.core.bench import BenchSettings, BenchTest, Sample

State = Literal["today", "measured", "best", "no room", "refused", "failed"]
"""`no room`: it does not fit, or not the limits; `refused`: llama.cpp does not load it; `failed`: it broke off."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One way, as it is shown and kept."""

    lever: str
    """The lever that led to it; empty for today's settings."""
    settings: BenchSettings
    changes: tuple[str, ...]
    """What differs from today's settings, in words."""
    state: State
    reason: str = ""
    """Why it was not run, or what is known of it beside its speed."""
    speed: float | None = None
    """The median of its short runs, in tokens/s."""
    ratio: float | None = None
    """Its speed to today's, by short runs side by side."""
    runs: int = 0
    disturbed: int = 0
    """Runs that something disturbed."""


@dataclass
class Tried:
    """One way while it is tried."""

    lever: str
    settings: BenchSettings
    reason: str = ""
    state: State = "measured"
    log_ratio: float = 0.0
    """The logarithm of its speed to today's; 0 before it was run."""
    samples: list[Sample] = field(default_factory=list)

    def speed(self, work: BenchTest) -> float | None:
        """The median of the speeds, in tokens/s."""
        known = [speed_of(sample, work) for sample in self.samples]
        return median(known) if known else None

    def trial(self, work: BenchTest, changes: Iterable[str], price: str = "") -> Trial:
        """What is known by now; `price` is what it costs beside its speed, in words."""
        ran = bool(self.samples)
        disturbed = sum(bool(sample.disturbed) for sample in self.samples)
        ratio = math.exp(self.log_ratio) if ran else None
        return Trial(
            self.lever, self.settings, tuple(changes), self.state, self.reason or price, self.speed(work), ratio,
            len(self.samples), disturbed,
        )  # fmt: skip


def speed_of(sample: Sample, work: BenchTest) -> float:
    """The speed of a run in tokens/s."""
    return work.tokens * 1e9 / sample.time.ns


TRIM = 0.2
"""The share of the ratios that is left out at each end: a run that a neighbour disturbed says nothing."""
FEWEST_TRIMMED = 6
"""Ratios from which the standard error is that of the trimmed mean."""


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much a way is ahead of another in runs side by side, as logarithms of ratios."""

    mean: float
    """The trimmed mean; of three the median."""
    error: float
    """Its standard error, from the winsorized variance (Yuen 1974)."""
    count: int

    @classmethod
    def of(cls, ahead: Sequence[float]) -> Lead:
        """That of the logarithms of one or more ratios."""
        count = len(ahead)
        cut = max(int(TRIM * count), int(count > 2))
        ranked = sorted(ahead)
        inner = ranked[cut : count - cut]
        mean = math.fsum(inner) / len(inner)
        if count < FEWEST_TRIMMED:
            return cls(mean, _deviation(ranked) / math.sqrt(count), count)
        pulled = [inner[0]] * cut + inner + [inner[-1]] * cut
        return cls(mean, _deviation(pulled) / (1 - 2 * cut / count) / math.sqrt(count), count)


def pooled_spread(each_ahead: Iterable[Sequence[float]]) -> float:
    """The standard deviation of one ratio, from the logarithms of those of several ways; infinite where each has one.

    The few ratios of one way say little of how uncertain its lead is.
    """
    leads = [lead for lead in map(Lead.of, filter(None, each_ahead)) if lead.count > 1]
    freedom = sum(lead.count - 1 for lead in leads)
    if not freedom:
        return math.inf
    return math.sqrt(math.fsum((lead.count - 1) * lead.count * lead.error**2 for lead in leads) / freedom)


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((each - mean) ** 2 for each in values) / max(1, len(values) - 1))
