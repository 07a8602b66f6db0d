"""The values of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.core.tools import ToolCall

Speaker = Literal["system", "user", "assistant"]
"""The roles of the messages that are stored."""
Role = Literal["system", "user", "assistant", "tool"]
"""`tool`: the result of a call, for the model."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    reasoning: str = ""
    """The reasoning before the answer; shown separately, and passed to the template as `reasoning_content`."""
    calls: tuple[ToolCall, ...] = ()
    """The calls of tools in an answer."""
    call_id: str = ""
    """The id of the call whose result this is."""
    tool: str = ""
    """The name of the tool whose result this is."""


def without_empty_answers(messages: Sequence[Message]) -> tuple[Message, ...]:
    """A conversation as models take it: answers without a text are left out, and the questions around them are joined.

    Many templates and servers refuse an answer that is empty, such as one of thoughts alone, and two questions in a
    row.
    """
    kept: list[Message] = []
    left_out = False
    for message in messages:
        if message.role == "assistant" and not message.content.strip() and not message.calls:
            left_out = True
        elif left_out and message.role == "user" and kept and kept[-1].role == "user":
            kept[-1] = Message("user", f"{kept[-1].content}\n\n{message.content}")
            left_out = False
        else:
            kept.append(message)
            left_out = False
    return tuple(kept)
