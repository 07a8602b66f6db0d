"""Where two answers part: token by token where the vocabularies are the same, word by word where they are not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

_WORD = re.compile(r"\s+|\w+|[^\w\s]")


def first_divergence(reference: Sequence[int], other: Sequence[int], *, ended: bool = False) -> int | None:
    """The index of the first token of `other` that is not that of `reference`; None where there is none.

    Args:
        reference: Token ids of the one answer.
        other: Token ids of the other.
        ended: Whether both ended of their own accord. Then the end is a token like any other, and an answer that is
            the beginning of the other one leaves it there.
    """
    shorter = min(len(reference), len(other))
    for index in range(shorter):
        if reference[index] != other[index]:
            return index
    return shorter if ended and len(reference) != len(other) else None


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text, against a reference."""

    kind: Literal["same", "added", "missing"]
    """`missing` is text of the reference that is not there."""
    text: str


def word_difference(reference: str, text: str) -> tuple[Piece, ...]:
    """`text` in pieces, word by word against `reference`; what is missing stands before what came in its place."""
    mine, theirs = _WORD.findall(reference), _WORD.findall(text)
    pieces = []
    for tag, begin, end, from_, to in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(Piece("same", "".join(theirs[from_:to])))
            continue
        if begin < end:
            pieces.append(Piece("missing", "".join(mine[begin:end])))
        if from_ < to:
            pieces.append(Piece("added", "".join(theirs[from_:to])))
    return tuple(pieces)
