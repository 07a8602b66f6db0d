"""OpenAI's API: chat completions, completions and the list of models.

The forms are those of platform.openai.com/docs/api-reference, with `reasoning_content` for thoughts as llama-server,
vLLM and DeepSeek send them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from uuid import uuid4

from workbench.core.alternatives import LikelyToken, TokenChoice
from workbench.core.chat import Message, Role
from workbench.core.engine import Request
from workbench.core.errors import WorkbenchError
from workbench.core.events import Finished, Token, Usage
from workbench.core.parameters import Value
from workbench.core.tools import ToolCall
from workbench.serve.body import Body
from workbench.serve.errors import ApiError, from_workbench, invalid
from workbench.serve.service import Piece, Served, Service, Whole
from workbench.serve.sse import data, merged
from workbench.serve.tools import Tools, read_calls, read_tools

MOST_LOGPROBS = 20
MOST_ANSWERS = 16
_ROLES: dict[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
_NUMBERS = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repeat_penalty", "typical_p")
_WHOLE = ("top_k", "seed", "repeat_last_n")
_EFFORTS = {"none": "off", "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
FINISH = {"stop": "stop", "length": "length", "context": "length", "cancelled": "stop"}


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request of a client, and the form in which it wants the answer."""

    requests: tuple[Request, ...]
    """One for each answer that is wanted."""
    stream: bool
    with_usage: bool
    chat: bool
    logprobs: bool
    id: str
    created: int


def read_messages(body: Body) -> tuple[Message, ...]:
    """The conversation; an ApiError where a role or a kind of content is not supported."""
    found: list[Message] = []
    names: dict[str, str] = {}
    for each in body.parts("messages"):
        role = _ROLES.get(each.text("role"))
        if role is None:
            raise invalid(
                f"{each.name('role')}: {each.text('role')!r} is none of the roles system, user, assistant and tool.",
                each.name("role"),
            )
        calls = read_calls(each) if role == "assistant" else ()
        names |= {call.id: call.name for call in calls}
        call_id = each.text("tool_call_id") if role == "tool" else ""
        tool = (names.get(call_id) or each.text("tool_name") or each.text("name")) if role == "tool" else ""
        content, thoughts = each.joined_text("content"), each.text("reasoning_content")
        found.append(Message(role, content, thoughts, calls, call_id, tool))
    if not found:
        raise invalid("messages must have at least one message.", "messages")
    return tuple(found)


def read_values(body: Body) -> dict[str, Value]:
    """The sampling parameters of a body, by their names here."""
    values: dict[str, Value] = {}
    for name in _NUMBERS:
        if (number := body.number(name)) is not None:
            values[name] = float(number)
    for name in _WHOLE:
        if (whole := body.whole(name)) is not None:
            values[name] = whole
    limit = body.whole("max_completion_tokens")
    limit = body.whole("max_tokens") if limit is None else limit
    if limit is not None:
        values["num_predict"] = limit
    if stop := body.texts("stop"):
        values["stop"] = stop
    if biases := body.raw("logit_bias"):
        if not isinstance(biases, dict):
            raise invalid("logit_bias must be an object of token ids.", "logit_bias")
        values["logit_bias"] = tuple(f"{token}={bias}" for token, bias in biases.items())
    if (effort := body.text("reasoning_effort")) in _EFFORTS:
        values["think"] = _EFFORTS[effort]
    return values | _read_format(body)


def _read_format(body: Body) -> dict[str, Value]:
    form = body.part("response_format")
    kind = form.text("type", "text")
    if kind == "text":
        return {}
    schema = form.raw("schema") if kind == "json_object" else form.part("json_schema").raw("schema")
    if kind not in ("json_object", "json_schema") or (kind == "json_schema" and not isinstance(schema, dict)):
        raise invalid(
            "response_format is text, json_object, or json_schema with a schema.", "response_format", "invalid_value"
        )
    return {"format": json.dumps(schema) if schema else "json"}


def read_chat(body: Body, service: Service) -> ApiRequest:
    """The body of `/v1/chat/completions`."""
    top = body.whole("top_logprobs") or 0
    wants = body.flag("logprobs") or top > 0
    return _asked(
        body, service, messages=read_messages(body), tools=read_tools(body), logprobs=max(top, 1) if wants else 0
    )


def read_completion(body: Body, service: Service) -> ApiRequest:
    """The body of `/v1/completions`."""
    prompt = body.texts("prompt")
    if len(prompt) != 1:
        raise invalid("prompt must be one string.", "prompt")
    if body.flag("echo"):
        raise invalid("echo is not supported.", "echo")
    return _asked(body, service, prompt=prompt[0], logprobs=body.whole("logprobs") or 0)


def _asked(
    body: Body,
    service: Service,
    *,
    messages: tuple[Message, ...] = (),
    prompt: str | None = None,
    tools: Tools = Tools(),  # noqa: B008 - immutable
    logprobs: int,
) -> ApiRequest:
    count = 1 if (given := body.whole("n")) is None else given
    if not 1 <= count <= MOST_ANSWERS:
        raise invalid(f"n must be from 1 to {MOST_ANSWERS}.", "n", "invalid_value")
    if not 0 <= logprobs <= MOST_LOGPROBS:
        raise invalid(f"At most {MOST_LOGPROBS} log-probabilities are given for a token.", "top_logprobs")
    try:
        request = service.request(
            {**read_values(body), **(tools.values or {})},
            messages=messages,
            prompt=prompt,
            tools=tools.offered,
            alternatives=logprobs,
        )
    except WorkbenchError as error:
        raise from_workbench(error) from None
    with_usage = body.part("stream_options").flag("include_usage")
    kind = "chatcmpl" if prompt is None else "cmpl"
    identity = f"{kind}-{uuid4().hex}"
    return ApiRequest(
        _varied(request, count),
        body.flag("stream"),
        with_usage,
        prompt is None,
        logprobs > 0,
        identity,
        int(time.time()),
    )


def _varied(request: Request, count: int) -> tuple[Request, ...]:
    """Requests for different answers: those after the first have other seeds."""
    seed = request.sampling.seed
    return tuple(
        request if seed < 0 or not index else replace(request, sampling=replace(request.sampling, seed=seed + index))
        for index in range(count)
    )


async def whole_answer(asked: ApiRequest, service: Service, served: Sequence[Served]) -> dict[str, object]:
    """The answers as one document."""
    pairs = zip(asked.requests, served, strict=True)
    answers = [asyncio.ensure_future(service.whole(request, each)) for request, each in pairs]
    try:
        found = await asyncio.gather(*answers)
    finally:
        for each in answers:
            each.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
    choices = [_choice(index, each, asked) for index, each in enumerate(found)]
    return _document(asked, service, choices, "chat.completion") | {
        "usage": usage_of(*(each.end.usage for each in found))
    }


def _choice(index: int, found: Whole, asked: ApiRequest) -> dict[str, object]:
    choice: dict[str, object] = {"index": index, "finish_reason": _finish(found.end, len(found.calls))}
    choice["logprobs"] = _logprobs(found.choices, asked) if asked.logprobs else None
    if not asked.chat:
        return choice | {"text": found.text}
    message: dict[str, object] = {"role": "assistant", "content": found.text}
    if found.thoughts:
        message["reasoning_content"] = found.thoughts
    if found.calls:
        message |= {"content": found.text or None, "tool_calls": [call_document(call) for call in found.calls]}
    return choice | {"message": message}


def call_document(call: ToolCall) -> dict[str, object]:
    """A call in OpenAI's form."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _finish(end: Finished, calls: int) -> str:
    return "tool_calls" if calls and end.reason == "stop" else FINISH[end.reason]


async def streamed_answer(asked: ApiRequest, service: Service, served: Sequence[Served]) -> AsyncGenerator[str]:
    """The answers as server-sent events; an error after the first of them is an event too."""
    chunks = [_Chunks(index, asked, service) for index in range(len(served))]
    for each in chunks if asked.chat else ():
        yield each.chunk({"role": "assistant", "content": ""})
    ends: list[Usage] = []
    answers = [service.answer(request, each) for request, each in zip(asked.requests, served, strict=True)]
    try:
        async with aclosing(merged(answers)) as events:
            async for index, event in events:
                for text in chunks[index].of(event):
                    yield text
                if isinstance(event, Finished):
                    ends.append(event.usage)
        if asked.with_usage:
            yield data(_document(asked, service, [], _CHUNK) | {"usage": usage_of(*ends)})
    except ApiError as error:
        yield data(error.document)
        return
    yield "data: [DONE]\n\n"


_CHUNK = "chat.completion.chunk"


class _Chunks:
    """The events of one choice."""

    def __init__(self, index: int, asked: ApiRequest, service: Service) -> None:
        self._index = index
        self._asked = asked
        self._service = service
        self._calls = 0

    def of(self, event: Piece) -> Iterator[str]:
        """The chunks of one piece of the answer."""
        if isinstance(event, ToolCall):
            number, whole = self._calls, call_document(event)
            self._calls += 1
            opened = whole | {"index": number, "function": {"name": event.name, "arguments": ""}}
            yield self.chunk({"tool_calls": [opened]})
            yield self.chunk({"tool_calls": [{"index": number, "function": {"arguments": event.arguments}}]})
        elif isinstance(event, Token):
            if event.text or event.choices:
                yield self.chunk(self._delta(event.text, event.kind), logprobs=event.choices)
        else:
            for text, kind in ((event.thoughts, "reasoning"), (event.text, event.kind)):
                if text:
                    yield self.chunk(self._delta(text, kind))
            yield self.chunk({}, finish=_finish(event, self._calls))

    def chunk(
        self, delta: dict[str, object], *, finish: str | None = None, logprobs: Sequence[TokenChoice] = ()
    ) -> str:
        """One chunk."""
        asked = self._asked
        choice: dict[str, object] = {"index": self._index, "finish_reason": finish}
        choice["logprobs"] = _logprobs(logprobs, asked) if asked.logprobs and logprobs else None
        choice |= {"delta": delta} if asked.chat else {"text": "", **delta}
        return data(_document(asked, self._service, [choice], _CHUNK))

    def _delta(self, text: str, kind: str) -> dict[str, object]:
        if not self._asked.chat:
            return {"text": text}
        return {"content" if kind == "answer" else "reasoning_content": text}


def _document(asked: ApiRequest, service: Service, choices: Sequence[object], kind: str) -> dict[str, object]:
    kind = kind if asked.chat else "text_completion"
    return {
        "id": asked.id, "object": kind, "created": asked.created, "model": service.name, "choices": list(choices),
        "system_fingerprint": service.engine.info.backend,
    }  # fmt: skip


def usage_of(*answers: Usage) -> dict[str, object]:
    """Counts of tokens; of several answers to one prompt, its tokens count once."""
    prompt, written = answers[0].prompt_tokens, sum(each.completion_tokens for each in answers)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": answers[0].cached_tokens or 0},
    }


def _logprobs(choices: Sequence[TokenChoice], asked: ApiRequest) -> dict[str, object]:
    if asked.chat:
        rows = [_likely(each.written) | {"top_logprobs": [_likely(one) for one in each.likeliest]} for each in choices]
        return {"content": rows}
    return {
        "tokens": [_text(each.written) for each in choices],
        "token_logprobs": [each.written.logprob for each in choices],
        "top_logprobs": [{_text(one): one.logprob for one in each.likeliest} for each in choices],
    }


def _likely(token: LikelyToken) -> dict[str, object]:
    return {"token": _text(token), "logprob": token.logprob, "bytes": list(token.data)}


def _text(token: LikelyToken) -> str:
    return token.name or token.data.decode("utf-8", "replace")


def models(service: Service) -> dict[str, object]:
    """`/v1/models`."""
    return {"object": "list", "data": [model(service)]}


def model(service: Service) -> dict[str, object]:
    """One entry of it."""
    entry = service.engine.info.model
    return {
        "id": service.name, "object": "model", "created": service.created, "owned_by": "workbench",
        "max_model_len": service.n_ctx,
        "meta": {"n_ctx_train": entry.context_length, "n_params": entry.parameters, "size": entry.size_bytes},
    }  # fmt: skip
