"""95 % intervals of means over the tokens of a text, which are not independent.

Tokens correlate with their neighbours, and texts differ from chunk to chunk: the error of independent tokens, as
llama-perplexity prints it, is too small by 1.2 to 1.9. Whole chunks are drawn where there are enough of them, else
moving blocks of `BLOCK` tokens inside the chunks (Künsch 1989).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CHUNKS = 20
"""Chunks from which whole ones are drawn."""

BLOCK = 32
"""The length of a block, in tokens."""

SHORTEST_BLOCK = 8
"""The same of a short text."""

FEWEST_BLOCKS = 4
"""Blocks below which there is no interval."""

RESAMPLES = 2000
SEED = 20_260_101

_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

Interval = tuple[float, float]


def mean_intervals(chunks: list[NDArray[np.float64]], resamples: int = RESAMPLES) -> list[Interval] | None:
    """The intervals of the means of several values, which every token has: arrays of the shape (tokens, values).

    The same for the same values; None where there are too few tokens.
    """
    means, drawn = _blocks(chunks)
    if drawn < FEWEST_BLOCKS:
        return None
    centre = np.concatenate(chunks).mean(0)
    rng = np.random.default_rng(SEED)
    found = np.empty((resamples, means.shape[1]))
    for index in range(resamples):
        found[index] = means[rng.integers(0, len(means), drawn)].mean(0)
    ends = np.percentile(found, [2.5, 97.5], axis=0)
    # A percentile interval of few blocks is too narrow: as one by the normal distribution with n instead of n - 1.
    wider = student_quantile(drawn - 1) / _Z * math.sqrt(drawn / (drawn - 1))
    low, high = centre + (ends - found.mean(0)) * wider
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _blocks(chunks: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], int]:
    """The means of all blocks that can be drawn, and how many make one resample."""
    if len(chunks) >= CHUNKS:
        return np.stack([chunk.mean(0) for chunk in chunks]), len(chunks)
    total = sum(map(len, chunks))
    length = min(BLOCK, max(SHORTEST_BLOCK, total // SHORTEST_BLOCK), *map(len, chunks))
    found = []
    for chunk in chunks:
        sums = np.concatenate([np.zeros((1, chunk.shape[1])), chunk.cumsum(0)])
        found.append((sums[length:] - sums[:-length]) / length)
    return np.concatenate(found), total // length


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
