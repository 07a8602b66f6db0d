"""The forms in which a conversation is given to a chat template that would refuse or drop a part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from workbench.core.chat import Message

Messages = tuple[Message, ...]
Change = Callable[[Messages], Messages]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A conversation as a template takes it."""

    messages: Messages
    notice: str = ""
    """What was changed, for the user; empty where nothing was, or only the place of the system prompt."""


def _later_system_to_user(messages: Messages) -> Messages:
    return messages[:1] + tuple(replace(each, role="user") if each.role == "system" else each for each in messages[1:])


def _neighbours_joined(messages: Messages) -> Messages:
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = _joined(joined[-1], message)
        else:
            joined.append(message)
    return tuple(joined)


def _answer_not_first(messages: Messages) -> Messages:
    first = 1 if messages and messages[0].role == "system" else 0
    if len(messages) <= first or messages[first].role != "assistant":
        return messages
    return (*messages[:first], Message("user", ""), *messages[first:])


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


def _one_message(messages: Messages) -> Messages:
    if len(messages) < 2:
        return messages
    return (Message("user", "\n\n".join(f"{each.role}: {each.content}" for each in messages)),)


_SAID: dict[Change, str] = {
    _later_system_to_user: "a system message after the beginning was sent as the user's",
    _neighbours_joined: "neighbouring messages of one role were joined",
    _answer_not_first: "an empty user message was put before the first answer",
    _one_message: "the conversation was sent as one message of the user",
}

CHANGES: tuple[tuple[Change, ...], ...] = (
    *(
        tuple(change for change in changes if change is not None)
        for changes in product(
            (None, _later_system_to_user),
            (None, _answer_not_first),
            (None, _neighbours_joined),
            (None, _system_to_user),
        )
    ),
    (_one_message,),
)
"""What is done to a conversation: from nothing to more and more, and last what every template takes."""


def arrange(messages: Sequence[Message], number: int) -> Arrangement:
    """`messages` with the changes `number` of `CHANGES`."""
    arranged, said = tuple(messages), []
    for change in CHANGES[number]:
        changed = change(arranged)
        if changed != arranged and change in _SAID:
            said.append(_SAID[change])
        arranged = changed
    notice = (
        f"The chat template of this model does not take these messages as they are: {', and '.join(said)}."
        if said
        else ""
    )
    return Arrangement(arranged, notice)
