"""Figures of two distributions at every position, from their logits.

The definitions are those of llama.cpp's `tools/perplexity/perplexity.cpp`, without the coding of its files in 16 bits,
which makes a model differ from itself. Natural logarithms throughout.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from workbench.lab.quality.logits import Floats, Ids

TOP = 10
"""Tokens that are kept with their probabilities at each position."""

KEPT_TOP = 256
"""The same of a reference that is no longer in memory when the other model is computed."""

BLOCK_BYTES = 2**19
"""Rows that are computed together: what a processor's cache holds beside the results."""

THREADS = min(4, os.cpu_count() or 1)
"""The models do not compute meanwhile."""
LEAST_ROWS = 16
"""Rows that are worth a thread."""

_GROUPS = 64
"""The vocabulary is cut into groups of so many tokens, whose maxima find the likeliest ones."""


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One model's distribution at each position."""

    nll: Floats
    """-ln p of the token that follows."""
    rank: Ids
    """How many tokens are likelier than that one."""
    ids: Ids
    """The likeliest tokens, (positions, `TOP`), the likeliest first."""
    logprobs: Floats
    """Their ln p."""

    @property
    def best(self) -> Ids:
        """The most likely token."""
        found: Ids = self.ids[:, 0]
        return found

    def cut(self, part: slice) -> Alternatives:
        """Some of the positions."""
        return Alternatives(self.nll[part], self.rank[part], self.ids[part], self.logprobs[part])


@dataclass(frozen=True, slots=True)
class Divergence:
    """A candidate's distribution at each position, compared with the reference's."""

    own: Alternatives
    kld: Floats
    """The Kullback-Leibler divergence of the candidate from the reference, in nats."""


Part = TypeVar("Part", Alternatives, Divergence)


class Softmax:
    """The distributions of some rows of logits, (positions, vocabulary), and of the tokens that follow there.

    `take` computes them block by block, with memory that the next block uses again: new pages cost as much.
    """

    def __init__(self, logits: Floats, targets: Ids) -> None:
        rows, size = logits.shape
        step = max(1, min(rows, BLOCK_BYTES // (4 * size)))
        self.blocks = [slice(start, start + step) for start in range(0, rows, step)]
        self._logits = logits
        self._targets = targets
        self._shifted = np.empty((step, size), np.float32)
        self._exp = np.empty((step, size), np.float32)
        self._above = np.empty((step, size), np.bool_)
        self._maxima = np.empty((rows, size // _GROUPS), np.float32)
        self._top = np.empty(rows, np.float32)
        self._log_sum = np.empty(rows, np.float32)
        self._nll = np.empty(rows, np.float32)
        self._rank = np.empty(rows, np.int32)

    def take(self, block: slice) -> None:
        """Compute a block; its `shifted` logits, their `exp`, `sum` and `log_sum` are kept until the next one."""
        logits, targets = self._logits[block], self._targets[block]
        count, groups = len(logits), self._maxima.shape[1]
        grouped = logits[:, : groups * _GROUPS].reshape(count, _GROUPS, groups)
        # One pass gives the highest logit and where the likeliest tokens are.
        maxima = grouped.max(1, out=self._maxima[block])
        rest = logits[:, groups * _GROUPS :].max(1, initial=-np.inf)
        top = np.maximum(maxima.max(1, initial=-np.inf), rest, out=self._top[block])
        self.shifted = np.subtract(logits, top[:, None], out=self._shifted[:count])
        self.exp = np.exp(self.shifted, out=self._exp[:count])
        self.sum = self.exp.sum(1)
        self.log_sum = np.log(self.sum, out=self._log_sum[block])
        rows = np.arange(count)
        self._nll[block] = self.log_sum - self.shifted[rows, targets]
        above = np.greater(logits, logits[rows, targets][:, None], out=self._above[:count])
        # Row by row: along an axis, NumPy adds up integers.
        self._rank[block] = [np.count_nonzero(row) for row in above]

    def logprob(self, ids: Ids) -> Floats:
        """The ln p of tokens, (positions, n), when all blocks are computed."""
        chosen = np.take_along_axis(self._logits, ids, axis=1)
        found: Floats = chosen - self._top[:, None] - self._log_sum[:, None]
        return found

    def alternatives(self, count: int) -> Alternatives:
        """The `count` likeliest tokens of each position, when all blocks are computed."""
        ids = _likeliest(self._logits, self._maxima, count)
        return Alternatives(self._nll, self._rank, ids, self.logprob(ids))


def _likeliest(logits: Floats, maxima: Floats, count: int) -> Ids:
    """The tokens with the highest logits, the highest first; on ties the first one, as in llama.cpp."""
    rows, size = logits.shape
    count, groups = min(count, size), maxima.shape[1]
    if groups > 4 * count:
        # The highest tokens are in the groups with the highest maxima.
        chosen = np.argpartition(maxima, -count, axis=1)[:, -count:]
        ids = (chosen[:, None, :] + groups * np.arange(_GROUPS)[None, :, None]).reshape(rows, -1)
        rest = np.broadcast_to(np.arange(groups * _GROUPS, size), (rows, size - groups * _GROUPS))
        ids = np.concatenate([ids, rest], axis=1)
    else:
        ids = np.broadcast_to(np.arange(size), (rows, size))
    values = np.take_along_axis(logits, ids, axis=1)
    part = np.argpartition(values, -count, axis=1)[:, -count:]
    ids, values = np.take_along_axis(ids, part, axis=1), np.take_along_axis(values, part, axis=1)
    order = np.lexsort((ids, -values), axis=1)
    found: Ids = np.take_along_axis(ids, order, axis=1).astype(np.int32)
    return found


def compare(rows: Sequence[Floats], targets: Ids) -> tuple[Alternatives, tuple[Divergence, ...]]:
    """The figures of the first of several models, the reference, and of the others, with several threads.

    `rows` are their logits at the same positions, `targets` the tokens that follow there.
    """
    count = len(targets)
    size = max(LEAST_ROWS, -(-count // THREADS))
    parts = [slice(start, start + size) for start in range(0, count, size)]
    with ThreadPoolExecutor(len(parts)) as threads:
        found = list(threads.map(lambda part: _compare([each[part] for each in rows], targets[part]), parts))
    others = zip(*(each for _, each in found), strict=True)
    return joined([reference for reference, _ in found]), tuple(joined(each) for each in others)


def _compare(rows: Sequence[Floats], targets: Ids) -> tuple[Alternatives, tuple[Divergence, ...]]:
    mine, *others = [Softmax(each, targets) for each in rows]
    kld = [np.empty(len(targets), np.float32) for _ in others]
    for block in mine.blocks:
        mine.take(block)
        for each, other in zip(kld, others, strict=True):
            other.take(block)
            each[block] = _divergence(mine, other)
    pairs = zip(others, kld, strict=True)
    return mine.alternatives(TOP), tuple(Divergence(other.alternatives(TOP), each) for other, each in pairs)


def _divergence(mine: Softmax, other: Softmax) -> Floats:
    """The sum of p (ln p - ln q), where the p add up to 1; overwrites `other.exp`."""
    terms = other.exp
    with np.errstate(invalid="ignore"):
        np.subtract(mine.shifted, other.shifted, out=terms)
        sums = np.einsum("ij,ij->i", terms, mine.exp)
    if np.isnan(sums).any():
        # Where both models exclude a token with a logit of -inf: 0 ln 0 is 0.
        terms[mine.exp == 0] = 0
        sums = np.einsum("ij,ij->i", terms, mine.exp)
    found: Floats = sums / mine.sum + (other.log_sum - mine.log_sum)
    return found


def keep(rows: Floats, targets: Ids, count: int = KEPT_TOP) -> Alternatives:
    """The `count` likeliest tokens of one model; as many as a reference needs that cannot stay in memory."""
    return _taken(rows, targets).alternatives(count)


def _taken(rows: Floats, targets: Ids) -> Softmax:
    found = Softmax(rows, targets)
    for block in found.blocks:
        found.take(block)
    return found


def compare_kept(kept: Alternatives, rows: Floats, targets: Ids) -> Divergence:
    """The figures of a candidate against a reference of which only the likeliest tokens were kept.

    The divergence is a lower bound: all other tokens count as one, by the log sum inequality.
    """
    other = _taken(rows, targets)
    lp = kept.logprobs.astype(np.float64)
    lq = other.logprob(kept.ids).astype(np.float64)
    p = np.exp(lp)
    rest_p, rest_q = (np.maximum(1 - np.exp(each).sum(1), 1e-12) for each in (lp, lq))
    kld = (p * (lp - lq)).sum(1) + rest_p * np.log(rest_p / rest_q)
    return Divergence(other.alternatives(TOP), np.maximum(kld, 0).astype(np.float32))


def joined(parts: Sequence[Part]) -> Part:
    """The figures of neighbouring positions as one."""
    first = parts[0]
    if isinstance(first, Divergence):
        both = [each for each in parts if isinstance(each, Divergence)]
        own = joined([each.own for each in both])
        return Divergence(own, np.concatenate([each.kld for each in both]))
    values = {field.name: np.concatenate([getattr(each, field.name) for each in parts]) for field in fields(first)}
    return Alternatives(**values)
