"""95 % intervals of means over the tokens of a text, which are not independent.

Tokens correlate with their neighbours, and texts differ from chunk to chunk: the error of independent tokens, as
llama-perplexity prints it, is too small by 1.2 to 1.9. The means of long blocks are nearly independent and nearly
normal, so that Student's t holds for them (Schmeiser 1982, batch means): whole chunks where there are `BLOCKS` of them,
else equal parts of chunks. Few long blocks are better than many short ones, whose means correlate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCKS = 8
"""Blocks that are wanted: from so many chunks on, each is a block."""

BLOCK = 32
"""The shortest block, in tokens; chunks that are much shorter are joined."""

FEWEST_BLOCKS = 5
"""Blocks below which there is no interval."""

FEWEST_TOKENS = FEWEST_BLOCKS * BLOCK
TOO_FEW = f"too few tokens for an interval: it takes {FEWEST_TOKENS}"

_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

_USUAL_EFFECT = 2.0
"""How much more a share varies than one of independent tokens, where all are alike and it cannot be estimated."""

Interval = tuple[float, float]


def mean_intervals(chunks: Sequence[NDArray[np.float64]]) -> list[Interval] | None:
    """The intervals of the means of several values, which every token has: arrays of the shape (tokens, values).

    None where there are too few tokens.
    """
    blocks = _block_means(chunks)
    if blocks is None:
        return None
    centre = np.concatenate(chunks).mean(0)
    half = student_quantile(len(blocks) - 1) * np.sqrt(blocks.var(0, ddof=1) / len(blocks))
    return list(zip((centre - half).tolist(), (centre + half).tolist(), strict=True))


def share_interval(chunks: Sequence[NDArray[np.bool_]]) -> Interval | None:
    """The interval of the share of tokens that have a property; None where there are too few tokens.

    Wilson's score with Student's quantile, for as many independent tokens as would vary like the blocks do (Korn and
    Graubard 1998): near 0 and 1 the means of blocks are far from normal.
    """
    blocks = _block_means(chunks)
    if blocks is None:
        return None
    share, count = float(np.concatenate(chunks).mean()), sum(map(len, chunks))
    alone = share * (1 - share) / count
    effect = float(blocks.var(ddof=1)) / len(blocks) / alone if alone else _USUAL_EFFECT
    square = student_quantile(len(blocks) - 1) ** 2 * max(effect, 1 / _USUAL_EFFECT) / count
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def _block_means(chunks: Sequence[NDArray[np.generic]]) -> NDArray[np.float64] | None:
    """The means of blocks; None where there are too few."""
    shortest = min(map(len, chunks))
    joined = max(1, round(BLOCK / shortest))
    whole = [np.concatenate(chunks[at : at + joined]) for at in range(0, len(chunks) - joined + 1, joined)]
    parts = max(1, min(-(-BLOCKS // max(1, len(whole))), shortest // BLOCK))
    means = [part.mean(0) for chunk in whole for part in np.array_split(chunk, parts)]
    return np.stack(means) if len(means) >= FEWEST_BLOCKS else None


def student_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with 3 or more degrees of freedom.

    By the expansion in Abramowitz and Stegun, 26.7.5; the error is below 0.006.
    """
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )
