"""Drafts without a model (prompt lookup): what followed the last tokens where they occurred before.

As llama.cpp's `ngram-simple` (`common/ngram-map.cpp`), the latest occurrence counts. Its last 12 tokens and drafts of
48 suit long repetitions on a GPU; here the n-grams are shorter, and so are the drafts.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from workbench.core.cancel import CancelToken
from workbench.engine.llama.runtime import Clock

SIZE = 3
"""Tokens that have to occur again: fewer are found more often, and predict less."""


class NgramDrafter:
    """Drafts the continuation of one growing sequence of tokens."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._after: dict[tuple[int, ...], int] = {}
        """The place after the latest occurrence of each n-gram, but for the one at the end."""
        self._seen = size

    def draft(
        self, job: Clock, tokens: Sequence[int], most: int, cancel: CancelToken
    ) -> Generator[None, None, list[int]]:
        """`tokens` begin with those of the call before. A draft that reaches their end repeats itself."""
        yield from ()
        size, after = self._size, self._after
        for end in range(self._seen, len(tokens)):
            after[tuple(tokens[end - size : end])] = end
        self._seen = max(self._seen, len(tokens))
        place = after.get(tuple(tokens[-size:])) if len(tokens) > size else None
        if place is None:
            return []
        draft = list(tokens[place : place + most])
        period = len(tokens) - place
        while len(draft) < most:
            draft.append(draft[-period])
        return draft
