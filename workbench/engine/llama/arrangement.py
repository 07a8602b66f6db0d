"""The forms in which a conversation is given to a chat template that would refuse or drop a part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from workbench.core.chat import Message

Messages = tuple[Message, ...]
Change = Callable[[Messages], Messages]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A conversation as a template takes it."""

    messages: Messages


def _system_to_user(messages: Messages) -> Messages:
    """The system prompt before the first question, or in its place where there is nothing else."""
    if not messages or messages[0].role != "system":
        return messages
    system, *rest = messages
    if not rest:
        return (replace(system, role="user"),)
    if rest[0].role != "user":
        return messages
    return (_joined(replace(system, role="user"), rest[0]), *rest[1:])


def _joined(one: Message, other: Message) -> Message:
    """The text of both, with a blank line between them."""
    content, reasoning = (
        "\n\n".join(filter(None, texts)) for texts in ((one.content, other.content), (one.reasoning, other.reasoning))
    )
    return Message(one.role, content, reasoning)


CHANGES: tuple[tuple[Change, ...], ...] = ((), (_system_to_user,))
"""What is done to a conversation, from nothing to more and more."""


def arrange(messages: Sequence[Message], number: int) -> Arrangement:
    """`messages` with the changes `number` of `CHANGES`."""
    arranged = tuple(messages)
    for change in CHANGES[number]:
        arranged = change(arranged)
    return Arrangement(arranged)
