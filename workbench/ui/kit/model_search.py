"""The search for models by a few letters: words in any order, letters left out, punctuation ignored."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workbench.core.models import ModelEntry

MOST_SKIPPED = 3
"""Letters that may be left out between two letters of a word."""
SHORTEST_SKIPPING = 3
"""A word has to have so many letters before any may be left out."""
_LETTERS = re.compile(r"[^\W_]+")

_Target = tuple[str, frozenset[int]]
"""The letters and digits of a text, and the offsets at which its words begin."""


def _target(text: str) -> _Target:
    joined, starts = "", []
    for match in _LETTERS.finditer(text.casefold()):
        starts.append(len(joined))
        joined += match[0]
    return joined, frozenset(starts)


def _words(query: str) -> list[str]:
    return [_target(word)[0] for word in query.split()]


def _score(words: Sequence[str], target: _Target) -> int:
    """How well a text matches all words; 0 where it does not.

    A word counts most where it begins a word of the text, less elsewhere, and least with letters left out. Of equally
    good texts the shorter one wins.
    """
    letters, starts = target
    worst = 4
    for word in words:
        place = letters.find(word)
        if place < 0:
            if not _with_gaps(word, letters, starts):
                return 0
            worst = 1
        elif worst > 2 and (place in starts or not word or _begins_later(word, letters, starts, place)):
            worst = 3
        elif worst > 2:
            worst = 2
    return max(1, worst * 1000 - len(letters)) if words else 0


def _begins_later(word: str, letters: str, starts: frozenset[int], place: int) -> bool:
    """Whether a word that is found inside one of the text begins another one behind it."""
    while (place := letters.find(word, place + 1)) >= 0:
        if place in starts:
            return True
    return False


def _with_gaps(word: str, letters: str, starts: frozenset[int]) -> bool:
    """Whether the letters of `word` follow each other in `letters`, from the start of a word on and close together."""
    if len(word) < SHORTEST_SKIPPING or not set(word) <= set(letters):
        return False
    places = {place for place in starts if letters[place] == word[0]}
    for letter in word[1:]:
        reach = (after for place in places for after in range(place + 1, place + 2 + MOST_SKIPPED))
        places = {after for after in reach if after < len(letters) and letters[after] == letter}
    return bool(places)


def _model_targets(model: ModelEntry) -> tuple[_Target, _Target]:
    places = " ".join(f"{place.source} {place.name}" for place in model.places) or model.source
    more = f"{model.name} {model.quant or ''} {model.architecture or ''} {model.tensor_quant or ''} {places}"
    return _target(model.label), _target(more)


class ModelSearch:
    """Scores models for a query that is typed letter by letter.

    What a search reads of a model is prepared once, and a query that only grows is put to the models alone that
    matched before.
    """

    def __init__(self) -> None:
        self._targets: dict[str, tuple[ModelEntry, _Target, _Target]] = {}
        self._query = ""
        self._models: Sequence[ModelEntry] = ()
        self._matches: Sequence[tuple[ModelEntry, _Target, _Target]] = ()

    def scores(self, query: str, models: Sequence[ModelEntry]) -> dict[str, int]:
        """How well each model matches all words of `query`, by reference; those that do not are left out.

        The label of a model counts twice as much as its architecture, its types and its places.
        """
        grows = models is self._models and _only_narrows(self._query, query)
        if not grows and len(self._targets) > 2 * len(models):
            self._targets.clear()
        words = _words(query)
        scores = {}
        matches = []
        for entry in self._matches if grows else map(self._with_targets, models):
            if score := 2 * _score(words, entry[1]) or _score(words, entry[2]):
                scores[entry[0].ref] = score
                matches.append(entry)
        self._query, self._models, self._matches = query, models, matches
        return scores

    def _with_targets(self, model: ModelEntry) -> tuple[ModelEntry, _Target, _Target]:
        known = self._targets.get(model.ref)
        if known is None or known[0] is not model:
            known = self._targets[model.ref] = model, *_model_targets(model)
        return known


def _only_narrows(before: str, after: str) -> bool:
    """Whether all that matches the query `after` matches the query `before`, from which it was typed on."""
    words = before.split()
    if not words or not after.startswith(before):
        return False
    # A word may match with gaps once it is long enough, where its beginning did not match at all.
    return len(_target(words[-1])[0]) >= SHORTEST_SKIPPING or after[len(before) :][:1].isspace()
