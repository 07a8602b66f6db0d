"""The record of a blind test: what was shown, the votes, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.core.proportions import LEVEL, chance, more_votes, two_sided
from workbench.lab.evals.record import EvalLane

BlindKind = Literal["abx", "preference"]
Choice = Literal["first", "second", "neither"]
"""A vote: the answer shown first, or second; `neither` in a preference alone."""


@dataclass(frozen=True, slots=True)
class BlindTrial:
    """One question to the person."""

    question: str
    texts: tuple[str, str]
    """The answers of A and of B."""
    first: int
    """Which of the two is shown first: 0 for A, 1 for B."""
    x: int | None = None
    """Which model wrote X: 0 for A, 1 for B; None in a preference."""
    x_text: str = ""
    vote: Choice | None = None

    @property
    def shown(self) -> tuple[str, ...]:
        """The texts in the order in which they are shown, X last."""
        pair = self.texts[self.first], self.texts[1 - self.first]
        return pair if self.x is None else (*pair, self.x_text)

    @property
    def chosen(self) -> int | None:
        """The model of the vote: 0 for A, 1 for B; None for none."""
        return {"first": self.first, "second": 1 - self.first}.get(self.vote or "")


@dataclass(frozen=True, slots=True)
class BlindRecord:
    """A blind test."""

    id: str
    """Sorts by time; names the test."""
    at: str
    """When it began: UTC, ISO 8601."""
    kind: BlindKind
    lanes: tuple[EvalLane, EvalLane]
    """A and B."""
    trials: tuple[BlindTrial, ...]
    """As many as were fixed beforehand, without those that were left out."""
    left_out: tuple[str, ...] = ()
    """Why trials were left out."""
    build: str = ""

    @property
    def voted(self) -> tuple[BlindTrial, ...]:
        """The trials with a vote."""
        return tuple(trial for trial in self.trials if trial.vote is not None)

    @property
    def is_complete(self) -> bool:
        """Whether every trial has a vote."""
        return len(self.voted) == len(self.trials)

    @property
    def right(self) -> int:
        """Votes that named the model that wrote X."""
        return sum(trial.chosen == trial.x for trial in self.voted)

    @property
    def preferred(self) -> tuple[int, int]:
        """Votes for A and for B."""
        chosen = [trial.chosen for trial in self.voted]
        return chosen.count(0), chosen.count(1)

    @property
    def p_value(self) -> float:
        """The probability of votes at least as uneven by chance: exact, one-sided in an ABX test."""
        return chance(self.right, len(self.voted)) if self.kind == "abx" else two_sided(*self.preferred)

    @property
    def known(self) -> str:
        """What the votes say so far, without the names."""
        votes = len(self.voted)
        if not votes:
            return f"No vote yet, {len(self.trials)} to come."
        by_chance = f"chance would do this in {100 * self.p_value:.0f} %"
        if self.kind == "preference":
            high, low = sorted(self.preferred, reverse=True)
            neither = votes - high - low
            return f"{high} to {low}" + (f", {neither} for neither" if neither else "") + f": {by_chance}."
        more = more_votes(self.right, votes)
        needed = f"; {more} more would settle it" if more else ""
        return f"{self.right} of {votes}: {by_chance}{needed}."

    @property
    def verdict(self) -> str:
        """The result, with the names."""
        names = [lane.label for lane in self.lanes]
        if names[0] == names[1]:
            names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
        early = "" if self.is_complete else f" Stopped after {len(self.voted)} of {len(self.trials)} trials."
        level = f"p {self.p_value:.3f}"
        if self.kind == "preference":
            a, b = self.preferred
            split = f"{a} votes for {names[0]}, {b} for {names[1]} ({level})"
            tells = (
                f"{names[0] if a > b else names[1]} is preferred" if self.p_value <= LEVEL else "No preference shown"
            )
            return f"{tells}: {split}.{early}"
        tells = "can be told apart" if self.p_value <= LEVEL else "were not told apart"
        return f"{names[0]} and {names[1]} {tells}: {self.right} of {len(self.voted)} right ({level}).{early}"

    @property
    def models(self) -> tuple[str, ...]:
        """The labels of A and B."""
        return tuple(lane.label for lane in self.lanes)
