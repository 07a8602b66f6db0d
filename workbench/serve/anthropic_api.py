"""Anthropic's API: `/v1/messages` and the count of tokens (docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from uuid import uuid4

from workbench.core.chat import Message, Role
from workbench.core.engine import Request
from workbench.core.errors import WorkbenchError
from workbench.core.events import Finished, TokenKind, Usage
from workbench.core.parameters import Value
from workbench.core.tools import ToolCall
from workbench.serve.body import Body
from workbench.serve.errors import ApiError, from_workbench, invalid
from workbench.serve.service import Served, Service
from workbench.serve.sse import data
from workbench.serve.tools import read_anthropic_tools

_REASONS = {"stop": "end_turn", "length": "max_tokens", "context": "max_tokens", "cancelled": "end_turn"}
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
          413: "request_too_large", 503: "overloaded_error"}  # fmt: skip


def error_document(error: ApiError) -> dict[str, object]:
    """An error in Anthropic's form."""
    return {"type": "error", "error": {"type": _KINDS.get(error.status, "api_error"), "message": error.message}}


def read(body: Body, service: Service) -> Request:
    """The body of `/v1/messages`."""
    tools = read_anthropic_tools(body)
    messages = [Message("system", system)] if (system := body.joined_text("system")) else []
    names: dict[str, str] = {}
    for each in body.parts("messages"):
        if (role := each.text("role")) not in ("user", "assistant"):
            raise invalid(f"{each.name('role')} must be user or assistant.", each.name("role"))
        messages += _messages(each, "user" if role == "user" else "assistant", names)
    if not body.parts("messages"):
        raise invalid("messages must have at least one message.", "messages")
    try:
        values = {**_values(body), **(tools.values or {})}
        return service.request(values, messages=tuple(messages), tools=tools.offered)
    except WorkbenchError as error:
        raise from_workbench(error) from None


def _messages(message: Body, role: Role, names: dict[str, str]) -> Iterator[Message]:
    """The results of calls in a message, then its text with the calls; `names` has the tools by their calls."""
    if not isinstance(message.raw("content"), list):
        yield Message(role, message.joined_text("content"))
        return
    texts, thoughts, calls = [], [], []
    for block in message.parts("content"):
        match block.text("type", "text"):
            case "text":
                texts.append(block.text("text"))
            case "thinking":
                thoughts.append(block.text("thinking"))
            case "tool_use":
                given = json.dumps(block.part("input").values, ensure_ascii=False)
                calls.append(ToolCall(block.text("name"), given, block.text("id")))
                names[block.text("id")] = block.text("name")
            case "tool_result":
                call = block.text("tool_use_id")
                yield Message("tool", block.joined_text("content"), call_id=call, tool=names.get(call, ""))
            case "redacted_thinking":
                pass
            case kind:
                raise invalid(f"{block.name('type')}: this model takes no {kind!r}, only text.", block.name("type"))
    if texts or calls:
        yield Message(role, "".join(texts), "".join(thoughts), tuple(calls))


def _values(body: Body) -> dict[str, Value]:
    thinking = body.part("thinking")
    found: dict[str, Value | None] = {
        "num_predict": body.whole("max_tokens"),
        "temperature": body.number("temperature"),
        "top_p": body.number("top_p"),
        "top_k": body.whole("top_k"),
        "stop": body.texts("stop_sequences") or None,
        "think": {"enabled": "on", "disabled": "off"}.get(thinking.text("type")),
        "think_budget": thinking.whole("budget_tokens"),
    }
    return {name: value for name, value in found.items() if value is not None}


async def whole_answer(request: Request, service: Service, served: Served) -> dict[str, object]:
    """The answer as one document."""
    found = await service.whole(request, served)
    thoughts = [{"type": "thinking", "thinking": found.thoughts, "signature": ""}] if found.thoughts else []
    calls = [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.values} for call in found.calls]
    text = [{"type": "text", "text": found.text}] if found.text or not calls else []
    content: list[object] = [*thoughts, *text, *calls]
    return _message(service, content) | {
        "stop_reason": _reason(found.end, len(calls)),
        "usage": _usage(found.end.usage),
    }


def _reason(end: Finished, calls: int) -> str:
    return "tool_use" if calls and end.reason == "stop" else _REASONS[end.reason]


def _message(service: Service, content: list[object]) -> dict[str, object]:
    return {
        "id": f"msg_{uuid4().hex}", "type": "message", "role": "assistant", "model": service.name, "content": content,
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0},
    }  # fmt: skip


async def streamed_answer(request: Request, service: Service, served: Served) -> AsyncGenerator[str]:
    """The answer as named events."""
    blocks = _Blocks()
    yield _event("message_start", message=_message(service, []))
    try:
        async with aclosing(service.answer(request, served)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    for chunk in (*blocks.add(event.thoughts, "reasoning"), *blocks.add(event.text, event.kind)):
                        yield chunk
                    for chunk in blocks.end():
                        yield chunk
                    reason = {"stop_reason": _reason(event, served.calls), "stop_sequence": None}
                    yield _event("message_delta", delta=reason, usage=_usage(event.usage))
                elif isinstance(event, ToolCall):
                    for chunk in blocks.call(event):
                        yield chunk
                else:
                    for chunk in blocks.add(event.text, event.kind):
                        yield chunk
    except ApiError as error:
        yield data(error_document(error), "error")
        return
    yield _event("message_stop")


class _Blocks:
    """The blocks of a message, one after the other: of thoughts and of text."""

    def __init__(self) -> None:
        self._index = -1
        self._kind = ""

    def add(self, text: str, kind: TokenKind) -> Iterator[str]:
        """Add text to the block of its kind."""
        if not text:
            return
        field = "text" if kind == "answer" else "thinking"
        if kind != self._kind:
            yield from self.end()
            self._index, self._kind = self._index + 1, kind
            yield _event("content_block_start", index=self._index, content_block={"type": field, field: ""})
        yield _event("content_block_delta", index=self._index, delta={"type": f"{field}_delta", field: text})

    def call(self, call: ToolCall) -> Iterator[str]:
        """A block of its own."""
        yield from self.end()
        self._index += 1
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        yield _event("content_block_start", index=self._index, content_block=block)
        delta = {"type": "input_json_delta", "partial_json": call.arguments}
        yield _event("content_block_delta", index=self._index, delta=delta)
        yield _event("content_block_stop", index=self._index)

    def end(self) -> Iterator[str]:
        """End the block."""
        if self._kind:
            self._kind = ""
            yield _event("content_block_stop", index=self._index)


def _event(name: str, **values: object) -> str:
    return data({"type": name, **values}, name)


def _usage(usage: Usage) -> dict[str, object]:
    return {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}


async def count_tokens(request: Request, service: Service) -> dict[str, object]:
    """The tokens of a conversation."""
    try:
        return {"input_tokens": len(await service.engine.tokens(request))}
    except WorkbenchError as error:
        raise from_workbench(error) from None
