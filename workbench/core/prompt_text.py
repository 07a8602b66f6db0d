"""What was typed into a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Range = tuple[int, int]
"""A part of a text, from its first character to the one after its last."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """A text that was typed, and what of it was pasted."""

    text: str
    """All of it."""
    pastes: tuple[Range, ...] = ()
    """The long pastes in it, which the prompt shows as chips; in their order, and apart from one another."""

    @classmethod
    def of(cls, text: str, ranges: Sequence[object]) -> PromptText:
        """A text with the pastes that somebody says it has; without any, where they cannot be in it."""
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
    """Keeps what the user typed. A full disk is no error."""

    async def recall(self) -> Sequence[PromptText]:
        """The prompts of earlier sessions, oldest first."""

    async def keep(self, prompt: PromptText) -> None:
        """Keep a prompt that was sent."""

    async def keep_draft(self, prompt: PromptText) -> None:
        """Keep what is in the prompt now; nothing, where it is empty."""

    async def lost_drafts(self) -> Sequence[PromptText]:
        """What was in the prompts of programs that are gone, the newest last. They are told once."""
