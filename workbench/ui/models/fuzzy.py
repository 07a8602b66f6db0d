"""Finding by a few letters: words in any order, letters left out, dots and dashes forgotten."""

from __future__ import annotations

import re
from functools import lru_cache

GAP = 3
"""Letters that may be left out between two letters of a word."""
_LETTERS = re.compile(r"[^\W_]+")


@lru_cache(maxsize=8192)
def _parts(text: str) -> tuple[str, frozenset[int]]:
    """The letters and digits of a text, and where its words begin."""
    joined, starts = "", []
    for match in _LETTERS.finditer(text.casefold()):
        starts.append(len(joined))
        joined += match[0]
    return joined, frozenset(starts)


def found(query: str, text: str) -> int:
    """How well `text` has all words of `query`; 0 where it has not.

    A word is best found where a word of the text begins, then anywhere, and last with letters left out.
    """
    letters, starts = _parts(text)
    scores = [_score("".join(_LETTERS.findall(word.casefold())), letters, starts) for word in query.split()]
    return max(1, min(scores) * 1000 - len(letters)) if scores and all(scores) else 0


def _score(word: str, letters: str, starts: frozenset[int]) -> int:
    if not word:
        return 3
    place = letters.find(word)
    anywhere = place >= 0
    while place >= 0:
        if place in starts:
            return 3
        place = letters.find(word, place + 1)
    if anywhere:
        return 2
    return 1 if _with_gaps(word, letters, starts) else 0


def _with_gaps(word: str, letters: str, starts: frozenset[int]) -> bool:
    """Whether the letters of `word` stand in `letters` in order, from the start of a word on and close together."""
    if len(word) < 3 or not set(word) <= set(letters):
        return False
    places = {place for place in starts if letters[place] == word[0]}
    for letter in word[1:]:
        reach = (after for place in places for after in range(place + 1, place + 2 + GAP))
        places = {after for after in reach if after < len(letters) and letters[after] == letter}
    return bool(places)
