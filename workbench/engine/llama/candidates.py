"""Candidates of the next token: a sampler chain gets the few tokens that it may keep, not the whole vocabulary."""

from __future__ import annotations

import ctypes
from typing import TypeAlias

import numpy as np

from workbench.engine.llama import native
from workbench.engine.llama.native import Pointer, api

MOST_KEPT = 256
"""To look for more of the likeliest tokens takes as long as a sampler chain with the whole vocabulary."""
_GROUPS_PER_TOKEN = 4
"""With fewer groups, more tokens than those looked for reach the threshold: 1.15 times as many with 4."""

Logits: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float32]]
Rows: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Tokens: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int32]]
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""`llama_token_data`."""


def grouped(logits: Logits, count: int) -> Rows:
    """A view of the logits in columns, the groups in which `likeliest` looks for `count` tokens; the rest is left out.

    It has no rows where the vocabulary is too small for groups.
    """
    groups = count * _GROUPS_PER_TOKEN
    rows = logits.size // groups
    return logits[: rows * groups].reshape(rows, groups)


def likeliest(logits: Logits, groups: Rows) -> Tokens | None:
    """The ids, ascending, of all tokens that reach a threshold, among them as many of the likeliest as looked for.

    None where the whole vocabulary is as good: it is small, or it has logits that are no numbers.
    """
    rows, columns = groups.shape
    if not rows:
        return None
    maxima = np.maximum.reduce(groups)
    # Each maximum is another token, so enough tokens reach the maximum of this rank.
    place = columns - columns // _GROUPS_PER_TOKEN
    maxima.partition(place)
    found = (logits >= maxima[place]).nonzero()[0]
    return found if found.size >= columns - place else None


def logits_at(address: int, n_vocab: int) -> Logits:
    """The logits at an address, without a copy."""
    return np.ctypeslib.as_array((ctypes.c_float * n_vocab).from_address(address))


def logits_of(ctx: Pointer, output: int, n_vocab: int) -> Logits:
    """Those at the index `output` of the batch that `ctx` has decoded last, until the next one; -1 is the end."""
    return logits_at(native.logits_address(ctx, output), n_vocab)


class Candidates:
    """A native array of candidates, filled anew for each token. `apply` is `llama_sampler_apply`."""

    def __init__(self, n_vocab: int, apply: Pointer) -> None:
        self._apply = apply
        kept = np.empty(n_vocab, _CANDIDATE)
        # The views hold on to the memory that the native array points at.
        self._ids, self._logits = kept["id"], kept["logit"]
        self._data = kept.ctypes.data_as(ctypes.POINTER(api.llama_token_data))
        self._array = api.llama_token_data_array(self._data, n_vocab, -1, False)
        self._pointer = ctypes.pointer(self._array)

    def choose(self, chain: Pointer, ids: Tokens, logits: Logits) -> int:
        """The token out of `ids` that the chain selects, by their `logits`."""
        count, array = ids.size, self._array
        self._ids[:count] = ids
        self._logits[:count] = logits
        # A sampler may have moved the beginning of the array.
        array.data, array.size, array.selected, array.sorted = self._data, count, -1, False
        self._apply(chain, self._pointer)
        return int(array.data[array.selected].id)
