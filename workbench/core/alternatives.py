"""What a model could have written in place of each token of an answer, with the probabilities before sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHOWN = 10
"""The likeliest tokens that are asked for at each place."""
UNLIKELY = (0.5, 0.2, 0.05, 0.01)
"""Probabilities below which a written token is on the next level of unlikeliness."""


@dataclass(frozen=True, slots=True)
class LikelyToken:
    """A token with its probability."""

    data: bytes
    """Its bytes; empty for a control token."""
    logprob: float
    """The natural logarithm of its probability."""
    name: str = ""
    """The name of a control token."""


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """The token that was written at a place, and the likeliest ones there."""

    written: LikelyToken
    likeliest: tuple[LikelyToken, ...] = ()
    """The likeliest first; the written one may be among them. Empty where they are unknown."""

    @property
    def level(self) -> int:
        """How unlikely the written token was: 0 to 4."""
        return unlikeliness(self.written.logprob)


def unlikeliness(logprob: float) -> int:
    """The number of probabilities of `UNLIKELY` that are higher."""
    return sum(logprob < math.log(limit) for limit in UNLIKELY)


class ChoiceLog:
    """The choices behind one answer; `beginning` is what a continued one has, text or thoughts that are not `shown`."""

    def __init__(self, beginning: str = "", *, shown: bool = True) -> None:
        self.choices: list[TokenChoice] = []
        self.pieces: list[tuple[str, int]] = [(beginning, 0)] if beginning and shown else []
        """The text of the answer without its thoughts, in pieces with the level of the least likely token of each."""
        self.beginning = beginning
        self._level = 0
        self._recorded = False

    def __bool__(self) -> bool:
        return self._recorded

    def add(self, text: str, choices: tuple[TokenChoice, ...] = (), *, shown: bool = True) -> None:
        """Add the text of some tokens; it may be empty where it comes with a later one. Thoughts are not `shown`."""
        self.choices += choices
        self._recorded = self._recorded or bool(choices)
        self._level = max(self._level, *(choice.level for choice in choices), 0)
        if text:
            if shown:
                self.pieces.append((text, self._level))
            self._level = 0

    def recast(self) -> None:
        """The text so far turns out to be thoughts."""
        self.pieces.clear()
