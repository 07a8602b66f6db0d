"""The difference of two answers: by token where the vocabularies are the same, and by word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

_WORD = re.compile(r"\s+|\w+|[^\w\s]")


def first_divergence(reference: Sequence[int], other: Sequence[int], *, ended: bool = False) -> int | None:
    """The index of the first token of `other` that differs from `reference`; None where none does.

    Where the models themselves `ended` both, the end counts as a token: an answer that is the beginning of the other
    differs from it there.
    """
    for index, (mine, theirs) in enumerate(zip(reference, other, strict=False)):
        if mine != theirs:
            return index
    return min(len(reference), len(other)) if ended and len(reference) != len(other) else None


@dataclass(frozen=True, slots=True)
class TextDifference:
    """A part of a text, compared with a reference."""

    kind: Literal["same", "added", "missing"]
    """`missing` is text that only the reference has."""
    text: str


def word_difference(reference: str, text: str) -> tuple[TextDifference, ...]:
    """`text` in parts, compared with `reference` word by word; missing text stands before its replacement."""
    mine, theirs = _WORD.findall(reference), _WORD.findall(text)
    pieces = []
    for tag, begin, end, from_, to in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(TextDifference("same", "".join(theirs[from_:to])))
            continue
        if begin < end:
            pieces.append(TextDifference("missing", "".join(mine[begin:end])))
        if from_ < to:
            pieces.append(TextDifference("added", "".join(theirs[from_:to])))
    return tuple(pieces)
