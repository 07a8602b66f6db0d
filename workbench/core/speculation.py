"""Speculative decoding: the values of the load parameter `speculation`, and the figures of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

OFF = "off"
NGRAM = "ngram"
MOST_DRAFTED = 64
"""Drafted tokens in one step at most."""


def draft_model(speculation: str) -> str:
    """The reference of the draft model that a value of the parameter names; empty where it names none."""
    return "" if speculation in (OFF, NGRAM) else speculation


@dataclass(frozen=True, slots=True)
class SpeculationFigures:
    """What drafting gained in one answer, as llama.cpp counts it."""

    draft_n: int = 0
    """Tokens that were drafted and verified."""
    draft_n_accepted: int = 0
    """Those that the model itself chose; its own token after them does not count."""
    steps: int = 0
    """Steps that verified a draft."""
    accepted_by_position: tuple[int, ...] = ()
    """At each place of a draft, the steps whose draft was accepted at least up to there."""

    @property
    def acceptance(self) -> float | None:
        """Accepted tokens / drafted tokens; None where none were drafted."""
        return self.draft_n_accepted / self.draft_n if self.draft_n else None

    @property
    def mean_length(self) -> float | None:
        """Tokens written in a step with a draft; None where there was none."""
        return 1 + self.draft_n_accepted / self.steps if self.steps else None

    @property
    def by_position(self) -> tuple[float, ...]:
        """The share of the steps that accepted a draft at least up to each place."""
        return tuple(count / self.steps for count in self.accepted_by_position)

    @property
    def document(self) -> dict[str, Any]:
        """The fields of `--json`."""
        names = ("draft_n", "draft_n_accepted", "acceptance", "steps", "mean_length", "by_position")
        return {name: getattr(self, name) for name in names}

    def plus(self, other: SpeculationFigures) -> SpeculationFigures:
        """The figures of both."""
        places = zip_longest(self.accepted_by_position, other.accepted_by_position, fillvalue=0)
        return SpeculationFigures(
            self.draft_n + other.draft_n,
            self.draft_n_accepted + other.draft_n_accepted,
            self.steps + other.steps,
            tuple(map(sum, places)),
        )

    def with_step(self, drafted: int, accepted: int) -> SpeculationFigures:
        """These, and one more step that verified a draft."""
        step = tuple(int(place < accepted) for place in range(drafted))
        return self.plus(SpeculationFigures(drafted, accepted, 1, step))
