"""How often the intervals of quality hold the true value, and how often a verdict is false, in simulated texts.

The tokens of a text are like their neighbours, and chunks differ from each other. In the text of `docs/quality.md` the
autocorrelation of the divergences is 0.17, 0.10 and 0.06 at lags 1, 2 and 4, and the means of chunks of 255 tokens vary
by 15 % (Q4_K_M): the rows `real`. No model is needed, and no time is measured.

    python -m benchmarks.quality_intervals [--rounds 2000]
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Bar, Samples, finish, parser, print_table
from workbench.core.proportions import LEVEL, PairedCases, chance, holm_levels, wilson
from workbench.lab.quality.intervals import leaves_out, mean_intervals, share_interval

TEXTS = {"independent": (0.0, 0.0), "neighbours": (0.75, 0.0), "real": (0.75, 0.18), "strong": (0.95, 0.25)}
"""The correlation of neighbours in the slow part of a token, and the deviation of chunks as a share of a token's."""

CHUNKS = (3, 4, 8, 24, 60)
LENGTH = 255
SLOW = 0.22
"""The share of a token's variance that neighbours have in common."""

SPREAD = 0.84
"""Of the logarithms of divergences: the mean is 1.4 times the median."""

SHARES = (0.67, 0.87, 0.96)
CONFIDENCE = NormalDist().inv_cdf(0.99)

Texts = NDArray[np.float64]


def correlated(texts: int, count: int, length: int, neighbours: float, chunks: float, seed: int = 3) -> Texts:
    """Standard normal tokens of the shape (tokens, chunks, texts): a slow AR(1) in noise, and an effect of chunks."""
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((length, count, texts))
    slow = rng.standard_normal((count, texts))
    for at in range(length):
        slow = neighbours * slow + math.sqrt(1 - neighbours**2) * rng.standard_normal(slow.shape)
        found[at] = math.sqrt(SLOW) * slow + math.sqrt(1 - SLOW) * found[at]
    found += chunks * rng.standard_normal((count, texts))
    found /= math.sqrt(1 + chunks**2)
    return found


def covered_means(tokens: Texts) -> float:
    """How often the interval holds the mean of skewed values, such as divergences."""
    intervals = mean_intervals(list(np.exp(SPREAD * tokens).transpose(1, 0, 2))) or []
    true = math.exp(SPREAD**2 / 2)
    return float(np.mean([low <= true <= high for low, high in intervals]))


def covered_shares(tokens: Texts, share: float) -> float:
    """How often the interval holds the share of tokens that have a property."""
    same = tokens < NormalDist().inv_cdf(share)
    intervals = [share_interval(list(text)) for text in np.ascontiguousarray(same.T)]
    return float(np.mean([found is not None and found[0] <= share <= found[1] for found in intervals]))


def false_differences(tokens: Texts) -> float:
    """How often a difference between equals is stated."""
    intervals = mean_intervals(list(tokens.transpose(1, 0, 2))) or []
    return float(np.mean([leaves_out(found, 0) for found in intervals]))


def false_pair(rng: random.Random) -> bool:
    """Two candidates that pass seven of ten cases, on 60 cases."""
    passed = [(rng.random() < 0.7, rng.random() < 0.7) for _ in range(60)]
    return PairedCases(60, passed.count((True, False)), passed.count((False, True))).verdict in ("a", "b")


def false_among_three(rng: random.Random) -> bool:
    """Three candidates that pass six of ten cases, on 40 cases: a difference anywhere."""
    passed = [[rng.random() < 0.6 for _ in range(40)] for _ in range(3)]
    pairs = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        split = list(zip(passed[a], passed[b], strict=True))
        pairs.append(PairedCases(40, split.count((True, False)), split.count((False, True))).p_value)
    return any(p <= level for p, level in zip(pairs, holm_levels(pairs), strict=True))


def false_hearing(rng: random.Random) -> bool:
    """Sixteen guesses of a blind test."""
    return chance(sum(rng.random() < 0.5 for _ in range(16)), 16) <= LEVEL


def upper(share: float, count: int) -> float:
    """Below which the true share is with a confidence of 99 %, by Wilson's score."""
    square = CONFIDENCE**2 / count
    centre, half = share + square / 2, CONFIDENCE * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return (centre + half) / (1 + square)


def main() -> int:
    """Simulate, and print."""
    rounds = parser(__doc__, rounds=2000).parse_args().rounds
    rows, found = [], []
    for name, (neighbours, chunks) in TEXTS.items():
        for count in CHUNKS:
            tokens = correlated(rounds, count, LENGTH, neighbours, chunks)
            covered = [covered_means(tokens), *(covered_shares(tokens, share) for share in SHARES)]
            found += covered
            rows.append((name, str(count), *(f"{100 * each:.1f}" for each in covered)))
    print_table(("text", "chunks", "mean KLD", *(f"same top {100 * share:.0f} %" for share in SHARES)), rows)

    rng, tried = random.Random(5), 10 * rounds
    verdicts: dict[str, tuple[float, int]] = {
        f"perplexity, {count} chunks": (false_differences(correlated(tried, count, 40, 0.75, 0.18)), tried)
        for count in (3, 8, 24)
    }
    draws: dict[str, Callable[[random.Random], bool]] = {
        "evaluation, two candidates": false_pair,
        "evaluation, three candidates": false_among_three,
        "blind test": false_hearing,
    }
    verdicts |= {what: (sum(draw(rng) for _ in range(tried)) / tried, tried) for what, draw in draws.items()}
    shown = [
        (what, f"{100 * share:.2f} %", f"{100 * upper(share, count):.2f} %")
        for what, (share, count) in verdicts.items()
    ]
    print_table(("verdict between equals", "false", "at most, 99 % sure"), shown)
    low, high = wilson(round(0.95 * rounds), rounds) or (0.0, 1.0)
    print(f"Of {rounds} texts each; a coverage of 95 % is seen as {100 * low:.1f} to {100 * high:.1f} %.")
    bars = [
        Bar("lowest coverage of a 95 % interval", 100 * min(found), 93.0, at_least=True, unit="%"),
        Bar("highest coverage of a 95 % interval", 100 * max(found), 97.0, unit="%"),
        *(Bar(f"false verdicts: {what}", 100 * upper(*each), 100 * LEVEL, unit="%") for what, each in verdicts.items()),
    ]
    return finish("quality_intervals", bars, {"coverage": Samples({"coverage %": [100 * each for each in found]})})


if __name__ == "__main__":
    sys.exit(main())
