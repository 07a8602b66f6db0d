"""Messages as Jinja templates read them: their forms, and the values of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from workbench.core.chat import Message, Role
from workbench.core.tools import ToolCall
from workbench.engine.thoughts import split_whole

HARMONY_START = "<|channel|>"

Place = Literal["field", "part", "block"]
ABSENT: Final = ("tools", "documents")
"""What a conversation here does not have."""


@dataclass(frozen=True, slots=True)
class MessageForm:
    """The form in which a template takes messages."""

    parts: frozenset[Role] = frozenset()
    """The roles whose contents are lists of parts."""
    thoughts: Place = "field"
    """Where the thoughts of an answer are: in a field of the message, in a part of its content, or in a block."""
    none: tuple[str, ...] = ABSENT
    """The variables that are None, for what is not there; the others are undefined, which some templates need."""


MESSAGE_FORMS = tuple(
    MessageForm(parts=parts, none=none)
    for none in (ABSENT, ABSENT[1:], ABSENT[:1], ())
    for parts in (frozenset[Role](), frozenset[Role]({"system", "user", "assistant"}))
)
"""In the order in which they are tried."""


def message_value(message: Message, form: MessageForm, *, as_text: bool = False) -> dict[str, object]:
    """A message as templates read it; the thoughts are under each name that a family has for them."""
    thoughts, content = message.reasoning, message.content
    if message.role == "assistant" and not thoughts and content.lstrip().startswith(HARMONY_START):
        # An answer that was kept with its channels: the template refuses it.
        thoughts, content = split_whole(content)
    value: dict[str, object] = {"role": message.role, "content": content}
    if message.calls:
        value["tool_calls"] = [_call_value(call, as_text=as_text) for call in message.calls]
    if message.role == "tool":
        value |= {"tool_call_id": message.call_id, "name": message.tool}
    if message.role == "assistant" and form.thoughts == "block":
        blocks = [{"type": "thoughts", "text": thoughts}] if thoughts else []
        return value | {"content": {"blocks": [*blocks, {"type": "response", "text": content}]}}
    if thoughts and form.thoughts == "part":
        return value | {"content": [{"type": "thinking", "thinking": thoughts}, {"type": "text", "text": content}]}
    if message.role in form.parts:
        value["content"] = [{"type": "text", "text": content}]
    names = ("reasoning_content", "thinking", "reasoning") if thoughts else ()
    return value | dict.fromkeys(names, thoughts)


def _call_value(call: ToolCall, *, as_text: bool) -> dict[str, object]:
    function = {"name": call.name, "arguments": call.arguments if as_text else call.values}
    return {"id": call.id, "type": "function", "function": function}
