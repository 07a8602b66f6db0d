"""Shades behind the words of an answer that were unlikely when they were written.

Markdown changes the text that a model wrote: each word of the drawn lines is looked for in that text, a little after
the word before. A word that is not found there has no shade.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from textual.content import Content, Span

from workbench.core.alternatives import ChoiceLog

SHADES = {
    "turn--unlikely-1": "background: $warning 14%;",
    "turn--unlikely-2": "background: $warning 26%;",
    "turn--unlikely-3": "background: $warning 42%;",
    "turn--unlikely-4": "background: $warning 42%; text-style: underline;",
}
"""The style of each level of unlikeliness."""
_STYLES = ("", *SHADES)
_WORDS = re.compile(r"\w+|[^\w\s]")
_AHEAD, _NEAR = 120, 6
"""How far on a word, and a single mark, may be: characters of markup in between."""


class TokenShades:
    """The shades of one answer, whose log may grow."""

    def __init__(self, log: ChoiceLog) -> None:
        self.log = log
        self._text = ""
        self._levels = bytearray()
        self._taken = 0
        self._starts = [0]
        """For each line, where its words begin to be looked for."""

    def over(self, lines: Sequence[Content], start: int = 0) -> list[Content]:
        """The lines from `start` on, with their shades; those before have been shaded already."""
        self._take()
        start = min(start, len(self._starts) - 1)
        del self._starts[start + 1 :]
        at, found = self._starts[start], []
        for line in lines[start:]:
            shaded, at = self._shaded(line, at)
            found.append(shaded)
            self._starts.append(at)
        return found

    def _take(self) -> None:
        pieces = self.log.pieces
        if len(pieces) < self._taken:
            self._text, self._taken, self._starts = "", 0, [0]
            self._levels.clear()
        for text, level in pieces[self._taken :]:
            self._text += text
            self._levels += bytes([level]) * len(text)
        self._taken = len(pieces)

    def _shaded(self, line: Content, at: int) -> tuple[Content, int]:
        spans = []
        for word in _WORDS.finditer(line.plain):
            text, begin = word[0], word.start()
            place = self._text.find(text, at, at + len(text) + (_AHEAD if text[0].isalnum() else _NEAR))
            if place < 0:
                continue
            at = place + len(text)
            for level, run in groupby(range(place, at), self._levels.__getitem__):
                size = len(list(run))
                if level:
                    spans.append(Span(begin, begin + size, _STYLES[level]))
                begin += size
        return (line.add_spans(spans) if spans else line), at
