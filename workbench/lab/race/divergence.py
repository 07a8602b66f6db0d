"""The difference of two answers: by token where the vocabularies are the same, and by word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import Match, SequenceMatcher
from typing import Literal

from typing_extensions import override

MOST_PAIRS = 10_000_000
"""Pairs of equal words that are looked at to compare two texts: about a second."""
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


class _Matcher(SequenceMatcher[str]):
    """Looks at `MOST_PAIRS` pairs of equal words: texts that repeat the same words would take hours.

    After that it matches only the beginnings and the ends of what is left.
    """

    a: Sequence[str]
    b: Sequence[str]
    b2j: dict[str, list[int]]
    _pairs = 0

    @override
    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        ahi, bhi = len(self.a) if ahi is None else ahi, len(self.b) if bhi is None else bhi
        self._pairs += sum(len(self.b2j.get(word, ())) for word in self.a[alo:ahi])
        if self._pairs <= MOST_PAIRS:
            return super().find_longest_match(alo, ahi, blo, bhi)
        shorter = min(ahi - alo, bhi - blo)
        if begin := next((n for n in range(shorter) if self.a[alo + n] != self.b[blo + n]), shorter):
            return Match(alo, blo, begin)
        end = next((n for n in range(shorter) if self.a[ahi - 1 - n] != self.b[bhi - 1 - n]), shorter)
        return Match(ahi - end, bhi - end, end)


def word_difference(reference: str, text: str) -> tuple[TextDifference, ...]:
    """`text` in parts, compared with `reference` word by word; missing text stands before its replacement.

    Very long texts are compared line by line.
    """
    mine, theirs = _WORD.findall(reference), _WORD.findall(text)
    counts = Counter(theirs)
    if sum(number * counts[word] for word, number in Counter(mine).items()) > MOST_PAIRS:
        mine, theirs = reference.splitlines(keepends=True), text.splitlines(keepends=True)
    pieces = []
    for tag, begin, end, from_, to in _Matcher(None, mine, theirs, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(TextDifference("same", "".join(theirs[from_:to])))
            continue
        if begin < end:
            pieces.append(TextDifference("missing", "".join(mine[begin:end])))
        if from_ < to:
            pieces.append(TextDifference("added", "".join(theirs[from_:to])))
    return tuple(pieces)
