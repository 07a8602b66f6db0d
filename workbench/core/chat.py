"""The values of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    reasoning: str = ""
    """The reasoning before the answer; shown separately, and passed to the template as `reasoning_content`."""


def without_empty_answers(messages: Sequence[Message]) -> tuple[Message, ...]:
    """A conversation as models take it: answers without a text are left out, and the questions around them are joined.

    Many templates and servers refuse an answer that is empty, such as one of thoughts alone, and two questions in a
    row.
    """
    kept: list[Message] = []
    left_out = False
    for message in messages:
        if message.role == "assistant" and not message.content.strip():
            left_out = True
        elif left_out and message.role == "user" and kept and kept[-1].role == "user":
            kept[-1] = Message("user", f"{kept[-1].content}\n\n{message.content}")
            left_out = False
        else:
            kept.append(message)
            left_out = False
    return tuple(kept)
