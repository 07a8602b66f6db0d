"""Figures of two distributions at every position, from their logits.

The definitions are those of llama.cpp's `tools/perplexity/perplexity.cpp`, without the coding of its files in 16 bits,
which makes a model differ from itself. Natural logarithms throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """The distributions of a block of rows. Its memory is used again for the next block: new pages cost as much."""

    def __init__(self, rows: int, size: int) -> None:
        self._shifted = np.empty((rows, size), np.float32)
        self._exp = np.empty((rows, size), np.float32)
        self._above = np.empty((rows, size), np.bool_)

    def of(self, logits: Floats) -> Softmax:
        """Take the distributions of at most as many rows."""
        count = len(logits)
        self.logits = logits
        self.shifted = np.subtract(logits, logits.max(1, keepdims=True), out=self._shifted[:count])
        self.exp = np.exp(self.shifted, out=self._exp[:count])
        self.sum = self.exp.sum(1)
        self.log_sum = np.log(self.sum)
        return self

    def logprob(self, ids: Ids) -> Floats:
        """The ln p of tokens, (rows,) or (rows, n)."""
        rows = np.arange(len(self.logits))
        if ids.ndim == 1:
            found: Floats = self.shifted[rows, ids] - self.log_sum
            return found
        several: Floats = self.shifted[rows[:, None], ids] - self.log_sum[:, None]
        return several

    def alternatives(self, targets: Ids, count: int) -> Alternatives:
        """The `count` likeliest tokens of each row, and the figures of the tokens that follow there."""
        ids = _likeliest(self.logits, count)
        reached = self.logits[np.arange(len(targets)), targets]
        above = np.greater(self.logits, reached[:, None], out=self._above[: len(targets)])
        # Row by row: along an axis, NumPy adds up integers.
        rank = np.array([np.count_nonzero(row) for row in above], np.int32)
        return Alternatives(-self.logprob(targets), rank, ids, self.logprob(ids))


def _likeliest(logits: Floats, count: int) -> Ids:
    """The tokens with the highest logits, the highest first; on ties the first one, as in llama.cpp."""
    rows, size = logits.shape
    count = min(count, size)
    groups = size // _GROUPS
    if groups > 4 * count:
        # The highest tokens are in the groups with the highest maxima.
        maxima = logits[:, : groups * _GROUPS].reshape(rows, _GROUPS, groups).max(1)
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


def _step(rows: Floats) -> int:
    return max(1, BLOCK_BYTES // int(rows[0].nbytes))


def _blocks(rows: Floats) -> Iterator[slice]:
    step = _step(rows)
    for start in range(0, len(rows), step):
        yield slice(start, start + step)


def compare(rows: Sequence[Floats], targets: Ids) -> tuple[Alternatives, tuple[Divergence, ...]]:
    """The figures of the first of several models, the reference, and of the others.

    `rows` are their logits at the same positions, `targets` the tokens that follow there.
    """
    reference, others = rows[0], rows[1:]
    found: list[Alternatives] = []
    compared: list[list[Divergence]] = [[] for _ in others]
    mine, other = (Softmax(_step(reference), reference.shape[1]) for _ in range(2))
    for block in _blocks(reference):
        wanted = targets[block]
        mine.of(reference[block])
        found.append(mine.alternatives(wanted, TOP))
        for each, logits in zip(compared, others, strict=True):
            other.of(logits[block])
            each.append(Divergence(other.alternatives(wanted, TOP), _divergence(mine, other)))
    return joined(found), tuple(joined(each) for each in compared)


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


def keep(rows: Floats, targets: Ids) -> Alternatives:
    """What is kept of a reference that cannot stay in memory: more of its likeliest tokens."""
    mine = Softmax(_step(rows), rows.shape[1])
    return joined([mine.of(rows[block]).alternatives(targets[block], KEPT_TOP) for block in _blocks(rows)])


def compare_kept(kept: Alternatives, rows: Floats, targets: Ids) -> Divergence:
    """The figures of a candidate against a reference of which only the likeliest tokens were kept.

    The divergence is a lower bound: all other tokens count as one, by the log sum inequality.
    """
    found = []
    other = Softmax(_step(rows), rows.shape[1])
    for block in _blocks(rows):
        other.of(rows[block])
        lp = kept.logprobs[block].astype(np.float64)
        lq = other.logprob(kept.ids[block]).astype(np.float64)
        p = np.exp(lp)
        rest_p, rest_q = (np.maximum(1 - np.exp(each).sum(1), 1e-12) for each in (lp, lq))
        kld = (p * (lp - lq)).sum(1) + rest_p * np.log(rest_p / rest_q)
        found.append(Divergence(other.alternatives(targets[block], TOP), np.maximum(kld, 0).astype(np.float32)))
    return joined(found)


def joined(parts: Sequence[Part]) -> Part:
    """The figures of neighbouring positions as one."""
    first = parts[0]
    if isinstance(first, Divergence):
        both = [each for each in parts if isinstance(each, Divergence)]
        own = joined([each.own for each in both])
        return Divergence(own, np.concatenate([each.kld for each in both]))
    values = {field.name: np.concatenate([getattr(each, field.name) for each in parts]) for field in fields(first)}
    return Alternatives(**values)
