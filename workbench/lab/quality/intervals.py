"""95 % intervals of means over the tokens of a text, which are not independent.

Tokens correlate with their neighbours, and texts differ from chunk to chunk: the error of independent tokens, as
llama-perplexity prints it, is too small by 1.2 to 1.9. The means of chunks have both in them, and are nearly
independent and nearly normal: Student's t holds for them (Schmeiser 1982, batch means). Parts of one chunk share what
sets it apart from other texts, so that their spread does not show it: one chunk alone has no interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from workbench.core.statistics import STUDENT_T

BLOCK = 32
"""Tokens of the shortest block, about; chunks that are much shorter are joined."""

FEWEST_BLOCKS = 3
"""Blocks below which there is no interval: with two, Student's quantile is 12.7."""

MOST_BLOCKS = 20
"""From twice as many chunks on, so many groups of neighbours: a subject may go on over several chunks."""

TOO_FEW = f"it takes {FEWEST_BLOCKS} chunks, as the tokens of one chunk do not show how much texts differ"

_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

_USUAL_EFFECT = 2.0
"""How much more a share varies than one of independent tokens, where all are alike and it cannot be estimated."""

_LEAST_EFFECT = 0.05
"""The least that is believed: the means of a few chunks may be nearly equal by chance."""

WIDER = 1.1
"""How much wider an interval has to leave a value out before a difference is stated: fewer than 5 % are then false."""

Interval = tuple[float, float]


def mean_intervals(chunks: Sequence[NDArray[np.float64]]) -> list[Interval] | None:
    """The intervals of the means of several values, which every token has: arrays of the shape (tokens, values).

    None where there are too few chunks.
    """
    blocks = _block_means(chunks)
    if blocks is None:
        return None
    centre = np.concatenate(chunks).mean(0)
    half = student_quantile(len(blocks) - 1) * np.sqrt(blocks.var(0, ddof=1) / len(blocks))
    return list(zip((centre - half).tolist(), (centre + half).tolist(), strict=True))


def share_interval(chunks: Sequence[NDArray[np.bool_]]) -> Interval | None:
    """The interval of the share of tokens that have a property; None where there are too few chunks.

    Wilson's score with Student's quantile, for as many independent tokens as would vary like the blocks do (Korn and
    Graubard 1998): near 0 and 1 the means of blocks are far from normal.
    """
    blocks = _block_means(chunks)
    if blocks is None:
        return None
    share, count = float(np.concatenate(chunks).mean()), sum(map(len, chunks))
    alone = share * (1 - share) / count
    effect = float(blocks.var(ddof=1)) / len(blocks) / alone if alone else _USUAL_EFFECT
    square = student_quantile(len(blocks) - 1) ** 2 * max(effect, _LEAST_EFFECT) / count
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def leaves_out(interval: Interval, value: float) -> bool:
    """Whether an interval that is `WIDER` leaves a value out."""
    low, high = interval
    middle, half = (low + high) / 2, WIDER * (high - low) / 2
    return abs(value - middle) > half


def _block_means(chunks: Sequence[NDArray[np.generic]]) -> NDArray[np.float64] | None:
    """The means of blocks; None where there are too few."""
    joined = max(1, round(BLOCK / max(1, min(map(len, chunks)))))
    blocks = len(chunks) // joined
    if blocks < FEWEST_BLOCKS:
        return None
    if blocks >= 2 * MOST_BLOCKS:
        blocks = MOST_BLOCKS
    ends = np.linspace(0, len(chunks), blocks + 1).round().astype(int).tolist()
    return np.stack([np.concatenate(chunks[start:end]).mean(0) for start, end in pairwise(ends)])


def student_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t.

    By a table up to 8 degrees of freedom, then by the expansion in Abramowitz and Stegun, 26.7.5, within 0.001.
    """
    if freedom <= len(STUDENT_T):
        return STUDENT_T[freedom - 1]
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
