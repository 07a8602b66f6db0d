"""The figures of a text, as llama-perplexity defines them, with intervals that hold for correlated tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.lab.quality.intervals import Interval, mean_intervals, share_interval

PERCENTILES = (99.9, 99.0, 95.0, 90.0, 50.0, 10.0, 5.0, 1.0)
"""Of the divergence, as llama-perplexity prints them."""

_FEW = 10
"""Up to so many values llama-perplexity prints no error."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """What one model gave for the tokens of one chunk, in the order of the text."""

    nll: Values
    """-ln p of each scored token."""
    best: NDArray[np.int32]
    """The most likely token at each position."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A candidate compared with the reference. The `_error` of a figure is llama-perplexity's ±."""

    scored: int
    ppl: float
    ppl_error: float
    ln_ratio: float
    """ln (PPL / PPL of the reference)."""
    ln_ratio_error: float
    correlation: float | None
    """Of the two ln PPL; None where one of them does not vary."""
    mean_kld: float
    mean_kld_error: float
    max_kld: float
    min_kld: float
    percentiles: tuple[float, ...]
    """The divergence at `PERCENTILES`."""
    mean_dp: float
    """Δp: the probability of the written token, minus that of the reference."""
    mean_dp_error: float
    rms_dp: float
    rms_dp_error: float
    max_dp: float
    min_dp: float
    same_top: float
    """The share of positions at which both have the same most likely token."""
    same_top_error: float
    first_flip: int | None
    """The first scored token at which they have not; None for none."""
    kld_interval: Interval | None = None
    """95 %, by the means of chunks or blocks; None for too few tokens."""
    ratio_interval: Interval | None = None
    """Of the ratio of the perplexities."""
    same_top_interval: Interval | None = None

    @property
    def ppl_ratio(self) -> float:
        """The perplexity as a multiple of the reference's."""
        return _exp(self.ln_ratio)

    def percentile(self, at: float) -> float:
        """The divergence at one of `PERCENTILES`."""
        return self.percentiles[PERCENTILES.index(at)]


def perplexity(nll: Values) -> tuple[float, float]:
    """The perplexity of a text, and llama-perplexity's ±."""
    value = _exp(nll.mean())
    return value, value * _error(nll)


def figures(reference: Sequence[TokenFigures], candidate: Sequence[TokenFigures], kld: Sequence[Values]) -> Figures:
    """The figures of the chunks that both have, at least one."""
    pairs = list(zip(reference, candidate, kld, strict=False))
    nll_b = np.concatenate([mine.nll for mine, _, _ in pairs])
    nll_q = np.concatenate([other.nll for _, other, _ in pairs])
    divergence = np.concatenate([each for _, _, each in pairs])
    same_of_chunks = [mine.best == other.best for mine, other, _ in pairs]
    same = np.concatenate(same_of_chunks)
    change = np.exp(-nll_q) - np.exp(-nll_b)
    count = len(nll_q)
    ppl, ppl_error = perplexity(nll_q)
    error_b, error_q = _error(nll_b), _error(nll_q)
    spare = max(1, count - 1)
    covariance = ((nll_q * nll_b).mean() - nll_q.mean() * nll_b.mean()) / spare
    squares = change**2
    rms = math.sqrt(squares.mean())
    share = float(same.mean())
    flips = np.flatnonzero(~same)
    found = mean_intervals([np.stack([each, other.nll - mine.nll], axis=1) for mine, other, each in pairs])
    return Figures(
        scored=count,
        ppl=ppl,
        ppl_error=ppl_error,
        ln_ratio=float(nll_q.mean() - nll_b.mean()),
        ln_ratio_error=math.sqrt(max(0.0, error_q**2 + error_b**2 - 2 * covariance)),
        correlation=float(covariance / (error_q * error_b)) if error_q and error_b else None,
        mean_kld=float(divergence.mean()),
        mean_kld_error=_error(divergence),
        max_kld=float(divergence.max()),
        min_kld=float(divergence.min()),
        percentiles=tuple(float(value) for value in np.percentile(divergence, PERCENTILES)),
        mean_dp=float(change.mean()),
        mean_dp_error=_error(change),
        rms_dp=rms,
        rms_dp_error=0.5 / rms * _error(squares) if rms else 0.0,
        max_dp=float(change.max()),
        min_dp=float(change.min()),
        same_top=share,
        same_top_error=math.sqrt(share * (1 - share) / spare),
        first_flip=int(flips[0]) if len(flips) else None,
        kld_interval=None if found is None else (max(0.0, found[0][0]), found[0][1]),
        ratio_interval=None if found is None else (_exp(found[1][0]), _exp(found[1][1])),
        same_top_interval=share_interval(same_of_chunks),
    )


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _error(values: Values) -> float:
    """The standard error of the mean of independent values, as llama-perplexity computes it."""
    if len(values) <= _FEW:
        return 0.0
    return math.sqrt(max(0.0, float((values**2).mean() - values.mean() ** 2)) / (len(values) - 1))
