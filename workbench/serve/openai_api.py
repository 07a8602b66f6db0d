"""OpenAI's API: chat completions, completions and the list of models.

The forms are those of platform.openai.com/docs/api-reference, with `reasoning_content` for thoughts as llama-server,
vLLM and DeepSeek send them.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from uuid import uuid4

from workbench.core.alternatives import LikelyToken, TokenChoice
from workbench.core.chat import Message, Role
from workbench.core.engine import Request
from workbench.core.errors import WorkbenchError
from workbench.core.events import Token, Usage
from workbench.core.parameters import Value
from workbench.serve.body import Body
from workbench.serve.errors import ApiError, from_workbench, invalid
from workbench.serve.service import Served, Service
from workbench.serve.sse import data

MOST_LOGPROBS = 20
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_NUMBERS = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repeat_penalty", "typical_p")
_WHOLE = ("top_k", "seed", "repeat_last_n")
_EFFORTS = {"none": "off", "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
FINISH = {"stop": "stop", "length": "length", "context": "length", "cancelled": "stop"}


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request of a client, and the form in which it wants the answer."""

    request: Request
    stream: bool
    with_usage: bool
    chat: bool
    logprobs: bool
    id: str
    created: int


def read_messages(body: Body) -> tuple[Message, ...]:
    """The conversation; an ApiError where a role or a kind of content is not supported."""
    found = []
    for each in body.parts("messages"):
        role = _ROLES.get(each.text("role"))
        if role is None:
            raise invalid(
                f"{each.name('role')}: {each.text('role')!r} is not supported; roles are system, user and assistant.",
                each.name("role"),
            )
        if each.raw("tool_calls"):
            raise invalid("Tool calls are not supported.", each.name("tool_calls"))
        found.append(Message(role, each.joined_text("content"), each.text("reasoning_content")))
    if not found:
        raise invalid("messages must have at least one message.", "messages")
    return tuple(found)


def refuse_tools(body: Body) -> None:
    """Raise an ApiError where an answer may have to call a tool."""
    if body.parts("tools") and body.raw("tool_choice") != "none":
        raise invalid("Tools are not supported here: the answer could not call one.", "tools", "unsupported_value")


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
    refuse_tools(body)
    top = body.whole("top_logprobs") or 0
    wants = body.flag("logprobs") or top > 0
    return _asked(body, service, messages=read_messages(body), logprobs=max(top, 1) if wants else 0)


def read_completion(body: Body, service: Service) -> ApiRequest:
    """The body of `/v1/completions`."""
    prompt = body.texts("prompt")
    if len(prompt) != 1:
        raise invalid("prompt must be one string.", "prompt")
    if body.flag("echo"):
        raise invalid("echo is not supported.", "echo")
    return _asked(body, service, prompt=prompt[0], logprobs=body.whole("logprobs") or 0)


def _asked(
    body: Body, service: Service, *, messages: tuple[Message, ...] = (), prompt: str | None = None, logprobs: int
) -> ApiRequest:
    if (body.whole("n") or 1) != 1:
        raise invalid("n must be 1: ask again for another answer.", "n", "unsupported_value")
    if not 0 <= logprobs <= MOST_LOGPROBS:
        raise invalid(f"At most {MOST_LOGPROBS} log-probabilities are given for a token.", "top_logprobs")
    try:
        request = service.request(read_values(body), messages=messages, prompt=prompt, alternatives=logprobs)
    except WorkbenchError as error:
        raise from_workbench(error) from None
    with_usage = body.part("stream_options").flag("include_usage")
    kind = "chatcmpl" if prompt is None else "cmpl"
    identity = f"{kind}-{uuid4().hex}"
    return ApiRequest(
        request, body.flag("stream"), with_usage, prompt is None, logprobs > 0, identity, int(time.time())
    )


async def whole_answer(asked: ApiRequest, service: Service, served: Served) -> dict[str, object]:
    """The answer as one document."""
    found = await service.whole(asked.request, served)
    choice: dict[str, object] = {"index": 0, "finish_reason": FINISH[found.end.reason]}
    choice["logprobs"] = _logprobs(found.choices, asked) if asked.logprobs else None
    if asked.chat:
        message: dict[str, object] = {"role": "assistant", "content": found.text}
        choice["message"] = message | ({"reasoning_content": found.thoughts} if found.thoughts else {})
    else:
        choice["text"] = found.text
    return _document(asked, service, [choice], "chat.completion") | {"usage": usage_of(found.end.usage)}


async def streamed_answer(asked: ApiRequest, service: Service, served: Served) -> AsyncIterator[str]:
    """The answer as server-sent events; an error after the first of them is an event too."""
    if asked.chat:
        yield data(_chunk(asked, service, {"role": "assistant", "content": ""}))
    try:
        async with aclosing(service.answer(asked.request, served)) as events:
            async for event in events:
                if isinstance(event, Token):
                    if event.text or event.choices:
                        delta = _delta(event.text, event.kind, asked)
                        yield data(_chunk(asked, service, delta, logprobs=event.choices))
                    continue
                for text, kind in ((event.thoughts, "reasoning"), (event.text, event.kind)):
                    if text:
                        yield data(_chunk(asked, service, _delta(text, kind, asked)))
                yield data(_chunk(asked, service, {}, finish=FINISH[event.reason]))
                if asked.with_usage:
                    yield data(_document(asked, service, [], _CHUNK) | {"usage": usage_of(event.usage)})
    except ApiError as error:
        yield data(error.document)
        return
    yield "data: [DONE]\n\n"


_CHUNK = "chat.completion.chunk"


def _delta(text: str, kind: str, asked: ApiRequest) -> dict[str, object]:
    if not asked.chat:
        return {"text": text}
    return {"content" if kind == "answer" else "reasoning_content": text}


def _chunk(
    asked: ApiRequest,
    service: Service,
    delta: dict[str, object],
    *,
    finish: str | None = None,
    logprobs: Sequence[TokenChoice] = (),
) -> dict[str, object]:
    choice: dict[str, object] = {"index": 0, "finish_reason": finish}
    choice["logprobs"] = _logprobs(logprobs, asked) if asked.logprobs and logprobs else None
    choice |= {"delta": delta} if asked.chat else {"text": "", **delta}
    return _document(asked, service, [choice], _CHUNK)


def _document(asked: ApiRequest, service: Service, choices: Sequence[object], kind: str) -> dict[str, object]:
    kind = kind if asked.chat else "text_completion"
    return {
        "id": asked.id, "object": kind, "created": asked.created, "model": service.name, "choices": list(choices),
        "system_fingerprint": service.engine.info.backend,
    }  # fmt: skip


def usage_of(usage: Usage) -> dict[str, object]:
    """Counts of tokens."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
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
