"""The part of Ollama's API that clients need: tags, ps, show, chat, generate and version (ollama's docs/api.md)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import WorkbenchError
from workbench.core.events import Finished
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import PARAMETERS, SAMPLING_NAMES, Value, check_value
from workbench.core.tools import ToolCall
from workbench.serve.body import Body
from workbench.serve.errors import ApiError, from_workbench
from workbench.serve.openai_api import read_messages
from workbench.serve.service import Served, Service
from workbench.serve.tools import read_tools

VERSION = "0.12.6"
"""The version of Ollama whose API this is; clients compare it."""
PING = {
    True: '{"message": {"role": "assistant", "content": ""}, "done": false}\n',
    False: '{"response": "", "done": false}\n',
}
"""A line without text, of a chat or of a completion."""
_REASONS = {"stop": "stop", "length": "length", "context": "length", "cancelled": "stop"}


def read(body: Body, service: Service, *, chat: bool) -> Request:
    """The body of `/api/chat` or `/api/generate`. Load options, such as num_ctx, do not load the model again."""
    tools = read_tools(body)
    values: dict[str, Value] = {}
    options = body.part("options")
    try:
        for name in SAMPLING_NAMES & PARAMETERS.keys():
            if (value := options.raw(name)) is not None:
                values[name] = check_value(name, value)
        if (form := body.raw("format")) not in (None, ""):
            values["format"] = json.dumps(form) if isinstance(form, dict) else body.text("format")
        think = body.raw("think")
        if think is not None:
            values["think"] = ("on" if think else "off") if isinstance(think, bool) else body.text("think")
        if chat:
            values |= tools.values or {}
            return service.request(values, messages=read_messages(body), tools=tools.offered)
        if body.flag("raw"):
            return service.request(values, prompt=body.text("prompt"))
        system = (Message("system", body.text("system")),) if body.text("system") else ()
        return service.request(values, messages=(*system, Message("user", body.text("prompt"))))
    except WorkbenchError as error:
        raise from_workbench(error) from None


def loads(body: Body, *, chat: bool) -> bool:
    """Whether a request asks nothing: clients load, or unload, a model with one."""
    return not body.raw("messages" if chat else "prompt")


def loaded(service: Service, *, chat: bool) -> dict[str, object]:
    """The answer to such a request."""
    return _line(service, "", "", chat=chat) | {"done": True, "done_reason": "load"}


def _line(
    service: Service, text: str, thoughts: str, calls: Sequence[ToolCall] = (), *, chat: bool
) -> dict[str, object]:
    extra: dict[str, object] = {"thinking": thoughts} if thoughts else {}
    if calls:
        extra["tool_calls"] = [{"function": {"name": call.name, "arguments": call.values}} for call in calls]
    body = {"message": {"role": "assistant", "content": text, **extra}} if chat else {"response": text, **extra}
    return {"model": service.name, "created_at": datetime.now(UTC).isoformat(), **body, "done": False}


def _last(line: dict[str, object], end: Finished, metrics: AnswerMetrics, began_ns: int) -> dict[str, object]:
    computed = end.usage.prompt_tokens - (end.usage.cached_tokens or 0)
    return line | {
        "done": True,
        "done_reason": _REASONS[end.reason],
        "total_duration": time.perf_counter_ns() - began_ns,
        "load_duration": 0,
        "prompt_eval_count": end.usage.prompt_tokens,
        "prompt_eval_duration": round(1e9 * computed / metrics.prefill_tps) if metrics.prefill_tps else 0,
        "eval_count": end.usage.completion_tokens,
        "eval_duration": round(1e9 * end.usage.completion_tokens / metrics.decode_tps) if metrics.decode_tps else 0,
    }


async def whole_answer(request: Request, service: Service, served: Served, *, chat: bool) -> dict[str, object]:
    """The answer as one document."""
    began = time.perf_counter_ns()
    found = await service.whole(request, served)
    return _last(_line(service, found.text, found.thoughts, found.calls, chat=chat), found.end, served.metrics, began)


async def streamed_answer(request: Request, service: Service, served: Served, *, chat: bool) -> AsyncGenerator[str]:
    """The answer as lines of JSON; an error is a line too."""
    began = time.perf_counter_ns()
    try:
        async with aclosing(service.answer(request, served)) as events:
            async for event in events:
                if isinstance(event, ToolCall):
                    yield json.dumps(_line(service, "", "", (event,), chat=chat)) + "\n"
                    continue
                thoughts = event.text if event.kind == "reasoning" else ""
                text = "" if thoughts else event.text
                if not isinstance(event, Finished):
                    if event.text:
                        yield json.dumps(_line(service, text, thoughts, chat=chat)) + "\n"
                    continue
                line = _line(service, text, event.thoughts + thoughts, chat=chat)
                yield json.dumps(_last(line, event, served.metrics, began)) + "\n"
    except ApiError as error:
        yield json.dumps({"error": error.message}) + "\n"


def version() -> dict[str, object]:
    """`/api/version`."""
    return {"version": VERSION}


def _details(service: Service) -> dict[str, object]:
    entry = service.engine.info.model
    size = f"{entry.parameters / 1e9:.1f}B" if entry.parameters else ""
    family = entry.architecture or ""
    return {
        "parent_model": "", "format": "gguf", "family": family, "families": [family], "parameter_size": size,
        "quantization_level": entry.quant or "",
    }  # fmt: skip


def tags(service: Service) -> dict[str, object]:
    """`/api/tags`, and `/api/ps`."""
    entry = service.engine.info.model
    started = datetime.fromtimestamp(service.created, UTC).isoformat()
    row = {
        "name": service.name, "model": service.name, "modified_at": started, "size": entry.size_bytes or 0,
        "digest": hashlib.sha256(service.name.encode()).hexdigest(), "details": _details(service),
        "expires_at": "2318-01-01T00:00:00Z", "size_vram": 0, "context_length": service.n_ctx,
    }  # fmt: skip
    return {"models": [row]}


def show(service: Service, *, tools: bool) -> dict[str, object]:
    """`/api/show`."""
    entry = service.engine.info.model
    family = entry.architecture or "unknown"
    changed = [
        f'{name} "{value}"' if isinstance(value, str) else f"{name} {value}"
        for name in sorted(SAMPLING_NAMES)
        if not isinstance(value := getattr(service.model.sampling, name), tuple)
        and PARAMETERS[name].in_modelfile
        and value != PARAMETERS[name].default
    ]
    return {
        "modelfile": f"FROM {service.name}\n",
        "parameters": "\n".join(changed),
        "template": "{{ .Prompt }}",
        "details": _details(service),
        "model_info": {
            "general.architecture": family,
            "general.parameter_count": entry.parameters or 0,
            f"{family}.context_length": service.n_ctx,
        },
        "capabilities": ["completion", *(["tools"] if tools else [])],
        "modified_at": datetime.fromtimestamp(service.created, UTC).isoformat(),
    }
