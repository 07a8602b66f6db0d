"""Where a prompt leaves the tokens that are known already, and what caused it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.core.chat import Message

_TIME = re.compile(
    r"[0-9]{1,2}[:.][0-9]{2}|[0-9]{4}-[0-9]{2}|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2,4}|\b(19|20)[0-9]{2}\b"
    r"|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)[a-z]*\b",
    re.IGNORECASE,
)
"""Matches what may be a date or a time."""

_NEAR = 12
"""Characters around a difference that are searched for a date."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the tokens of a prompt were made of."""

    messages: tuple[Message, ...] = ()
    """The conversation; empty for raw text."""
    dropped: int = 0
    """Messages left out because the context is full."""
    template: tuple[object, ...] = ()
    """What identifies the template and its settings."""
    rendered: str = ""
    """The text of the prompt."""
    length: int = 0
    """The tokens of the prompt."""


def cause_of_change(before: Asked, after: Asked, answer: str, at: int) -> str:
    """Why two prompts differ from token `at` on; `answer` is what the model wrote after the first."""
    if not before.messages or not after.messages:
        return "another text"
    if before.template != after.template:
        return "another chat template, or another setting of thinking"
    if after.dropped > before.dropped:
        return "a dropped turn: the context is full"
    for one, other in zip(before.messages, after.messages, strict=False):
        if one != other:
            return _cause_of_edit(one, other)
    if at >= before.length:
        return _cause_in_answer(after.messages[len(before.messages) :], answer)
    if _is_time(before.rendered, after.rendered):
        return "a date or time in the chat template"
    return "the chat template writes earlier turns differently from the last one, such as without their thoughts"


def _cause_of_edit(before: Message, after: Message) -> str:
    if before.role == after.role == "system":
        dated = _is_time(before.content, after.content)
        return "a date or time in the system prompt" if dated else "another system prompt"
    if "system" in {before.role, after.role}:
        return "a system prompt that was added or removed"
    return "an edited message" if after.role == "user" else "another answer"


def _cause_in_answer(added: Sequence[Message], written: str) -> str:
    content, written = (added[0].content.strip() if added else ""), written.strip()
    # The last token of an answer that was cut off is not known.
    if content.startswith(written) and written:
        return "the text of the answer has other tokens than the model wrote"
    if content[: -(-len(content) // 2)] not in written:
        return "an edited answer"
    return "the chat template writes an answer differently from the model, such as without its thoughts"


def _is_time(before: str, after: str) -> bool:
    """Whether two texts differ first in something that may be a date or a time."""
    place = next((n for n, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), None)
    if place is None:
        return False
    near = slice(max(0, place - _NEAR), place + _NEAR)
    return all(_TIME.search(text[near]) for text in (before, after))
