"""Text typed into the prompt, and the port that keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Range = tuple[int, int]
"""A part of a text: its first character, and the one after its last."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """A typed text, and the pasted parts of it."""

    text: str
    pastes: tuple[Range, ...] = ()
    """The long pastes, which the prompt shows as chips; in order, without overlap."""

    @classmethod
    def of(cls, text: str, ranges: Sequence[object]) -> PromptText:
        """A text with the stored ranges of its pastes; without pastes where the ranges do not fit."""
        pastes = []
        end = 0
        for each in ranges:
            match each:
                case [int(start), int(stop)] if end <= start < stop <= len(text):
                    pastes.append((start, stop))
                    end = stop
                case _:
                    return cls(text)
        return cls(text, tuple(pastes))


class PromptBook(Protocol):
    """Stores what the user typed. What cannot be written raises a TargetError; what was stored before is kept."""

    async def recall(self) -> Sequence[PromptText]:
        """The prompts of earlier sessions, oldest first."""

    async def keep(self, prompt: PromptText) -> None:
        """Store a sent prompt."""

    async def keep_draft(self, prompt: PromptText) -> None:
        """Store the current text of the prompt; nothing if it is empty."""

    async def lost_drafts(self) -> Sequence[PromptText]:
        """The unsent texts of programs that have died, newest last; each is returned once, and is kept as a prompt."""
