"""LM Studio's local server, as https://lmstudio.ai/docs/developer describes it (0.4).

What is here: the v1 REST API (`/api/v1/models`, `…/load`, `…/unload`, `/api/v1/chat` with its named events), the older
v0 one (`/api/v0/models`, `/api/v0/chat/completions` with `stats`, `model_info` and `runtime`), and the
OpenAI-compatible one under `/v1`. A question to a model that is not loaded loads it; `ttl`, in seconds, says for how
long. With a token set, every request needs it.

Reasoning is in `delta.reasoning_content`. Express, on which it runs, says so in a header. A path that there is not
is answered with 200 and an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.servers.script import AnswerBrokenError, Exchange, Plan, Script, StreamEndsError
from tests.servers.serving import ScriptedServer, plain_json

CREATED = 1_787_220_000
RUNTIME = {"name": "llama.cpp-linux-x86_64-avx2", "version": "2.3.0", "supported_formats": ["gguf"]}
STOP_REASONS = {"stop": "eosFound", "length": "maxPredictedTokensReached"}
DEFAULT_TTL = 3600.0
LOAD_SECONDS = 1.25


@dataclass
class StudioModel:
    """A model that is downloaded."""

    key: str
    publisher: str = "lmstudio-community"
    display_name: str = "SmolLM2 135M Instruct"
    arch: str | None = "llama"
    kind: str = "llm"
    quantization: str = "Q4_K_M"
    bits: int = 4
    size: int = 105_454_432
    params: str | None = "135M"
    most_context: int = 8192
    reasons: bool = False
    instances: dict[str, dict[str, object]] = field(default_factory=dict)
    """By id, with which settings it is loaded."""


class StudioServer(ScriptedServer):
    """LM Studio.

    Args:
        script: What it says and does.
        models: What is downloaded.
    """

    def __init__(self, script: Script | None = None, models: Sequence[StudioModel] = ()) -> None:
        super().__init__(script)
        listed = models or (
            StudioModel("smollm2-135m-instruct"),
            StudioModel("qwen/qwen3-0.6b", "qwen", "Qwen3 0.6B", "qwen3", quantization="Q8_0", bits=8, reasons=True),
            StudioModel("text-embedding-nomic-embed-text-v1.5", "nomic-ai", "Nomic Embed Text v1.5", None, "embedding"),
        )
        self.models = {model.key: model for model in listed}
        self.ttls: dict[str, float] = {}
        """By instance, after how many seconds without a question it is unloaded."""

    def routes(self) -> list[Route]:
        return [
            Route("/api/v1/models", self._models_v1),
            Route("/api/v1/models/load", self._load, methods=["POST"]),
            Route("/api/v1/models/unload", self._unload, methods=["POST"]),
            Route("/api/v1/chat", self._chat_v1, methods=["POST"]),
            Route("/api/v0/models", self._models_v0),
            Route("/api/v0/models/{key:path}", self._model_v0),
            Route("/api/v0/chat/completions", self._chat_v0, methods=["POST"]),
            Route("/v1/models", self._models_openai),
            Route("/v1/chat/completions", self._chat_openai, methods=["POST"]),
        ]

    def refusal(self) -> Response:
        message = "An LM Studio API token is required to make requests to this server, but none was provided."
        return _json({"error": {"message": message, "type": "invalid_request", "param": None,
                                "code": "invalid_api_key"}}, 401)  # fmt: skip

    async def not_found(self, request: Request) -> Response:
        return _json({"error": f"Unexpected endpoint or method. ({request.method} {request.url.path})"}, 200)

    # Models

    async def _models_v1(self, request: Request) -> Response:
        listed = []
        for model in self.models.values():
            entry: dict[str, object] = {"type": model.kind, "publisher": model.publisher, "key": model.key,
                                        "display_name": model.display_name}  # fmt: skip
            if model.kind == "llm":
                entry["architecture"] = model.arch
            entry |= {
                "quantization": {"name": model.quantization, "bits_per_weight": model.bits}, "size_bytes": model.size,
                "params_string": model.params,
                "loaded_instances": [{"id": name, "config": config} for name, config in model.instances.items()],
                "max_context_length": model.most_context, "format": "gguf",
            }  # fmt: skip
            if model.kind == "llm":
                reasoning = {"allowed_options": ["off", "on"], "default": "on"} if model.reasons else None
                entry["capabilities"] = {"vision": False, "trained_for_tool_use": False} | (
                    {"reasoning": reasoning} if reasoning else {}
                )
                entry["description"] = None
            listed.append(entry | {"variants": [f"{model.key}@{model.quantization.lower()}"],
                                   "selected_variant": f"{model.key}@{model.quantization.lower()}"})  # fmt: skip
        return _json({"models": listed})

    async def _models_v0(self, request: Request) -> Response:
        return _json({"object": "list", "data": [_entry_v0(model) for model in self.models.values()]})

    async def _model_v0(self, request: Request) -> Response:
        model = self.models.get(request.path_params["key"])
        return _json(_entry_v0(model)) if model else _unknown(request.path_params["key"])

    async def _models_openai(self, request: Request) -> Response:
        data = [{"id": key, "object": "model", "owned_by": "organization_owner"} for key in self.models]
        return _json({"object": "list", "data": data})

    async def _load(self, request: Request) -> Response:
        body = await self.body_of(request)
        model = self.models.get(str(body.get("model")))
        if model is None:
            return _unknown(str(body.get("model")))
        instance = model.key if model.key not in model.instances else f"{model.key}:{len(model.instances) + 1}"
        config = self._config(body)
        model.instances[instance] = config
        answer = {"type": model.kind, "instance_id": instance, "load_time_seconds": LOAD_SECONDS, "status": "loaded"}
        return _json(answer | ({"load_config": config} if body.get("echo_load_config") else {}))

    def _config(self, body: dict[str, object]) -> dict[str, object]:
        return {
            "context_length": body.get("context_length") or self.script.context,
            "eval_batch_size": body.get("eval_batch_size") or 512, "parallel": 4,
            "flash_attention": body.get("flash_attention", True), "num_experts": body.get("num_experts") or 0,
            "offload_kv_cache_to_gpu": body.get("offload_kv_cache_to_gpu", True),
        }  # fmt: skip

    async def _unload(self, request: Request) -> Response:
        instance = (await self.body_of(request)).get("instance_id")
        for model in self.models.values():
            if model.instances.pop(str(instance), None) is not None:
                return _json({"instance_id": instance})
        return _json({"error": {"type": "model_not_found", "message": f'No loaded instance "{instance}".'}}, 404)

    # Answers

    async def _chat_openai(self, request: Request) -> Response:
        return await self._completed(await self.body_of(request), stats=False)

    async def _chat_v0(self, request: Request) -> Response:
        return await self._completed(await self.body_of(request), stats=True)

    async def _completed(self, body: dict[str, object], *, stats: bool) -> Response:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            return _json({"error": "'messages' field is required"}, 400)
        model = self._asked_for(body)
        if model is None:
            return _unknown(str(body.get("model")))
        limit = body.get("max_tokens")
        plan = self._planned(messages, limit, model)
        if isinstance(plan, Response):
            return plan
        if body.get("stream"):
            chunks = self._chunks(model, plan, body.get("stream_options") or {}, stats)
            return _powered(self.stream(chunks, "text/event-stream"))
        try:
            async for _ in self.model.say(plan):
                pass
        except (AnswerBrokenError, StreamEndsError):
            return _json({"error": "The model has crashed without additional information. (Exit code: 6)"}, 400)
        message = {"role": "assistant", "content": plan.text} | (
            {"reasoning_content": plan.reasoning} if plan.reasoning else {}
        )
        choice = {"index": 0, "logprobs": None, "finish_reason": plan.reason, "message": message}
        answer = self._head(model, "chat.completion") | {"choices": [choice], "usage": _usage(plan)}
        return _json(answer | (self._stats(model, plan) if stats else {"stats": {}, "system_fingerprint": model.key}))

    def _asked_for(self, body: dict[str, object]) -> StudioModel | None:
        """The model that is asked for, loaded by then."""
        model = self.models.get(str(body.get("model")))
        if model is not None and model.kind == "llm":
            if not model.instances:
                model.instances[model.key] = self._config({})
            ttl = body.get("ttl")
            self.ttls[model.key] = float(ttl) if isinstance(ttl, int | float) else DEFAULT_TTL
            return model
        return None

    def _planned(self, messages: list[dict[str, object]], limit: object, model: StudioModel) -> Plan | Response:
        plan = self.model.plan(messages, limit if isinstance(limit, int) and limit >= 0 else None, thinks=model.reasons)
        context = next(iter(model.instances.values()))["context_length"]
        if plan.prompt_tokens >= context:
            return _json({"error": (
                f"Trying to keep the first {plan.prompt_tokens} tokens when context the overflows. However, the model "
                f"is loaded with context length of only {context} tokens, which is not enough."
            )}, 400)  # fmt: skip
        self.made += 1
        return plan

    async def _chunks(
        self, model: StudioModel, plan: Plan, options: dict[str, object], stats: bool
    ) -> AsyncIterator[bytes]:
        if plan.exchange.recorded is not None:
            yield plan.exchange.recorded
            return
        head = self._head(model, "chat.completion.chunk") | {"system_fingerprint": model.key}

        def chunk(delta: dict[str, object], reason: str | None = None) -> dict[str, object]:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            return head | {"choices": [choice]}

        try:
            async for kind, text in self.model.say(plan):
                name = "reasoning_content" if kind == "reasoning" else "content"
                yield _event(chunk({"role": "assistant", name: text}))
        except AnswerBrokenError:
            message = "The model has crashed without additional information. (Exit code: 6)"
            yield b"event: error\n" + _event({"error": {"message": message}})
            return
        except StreamEndsError:
            return
        yield _event(chunk({}, plan.reason) | (self._stats(model, plan) if stats else {}))
        if options.get("include_usage"):
            yield _event(head | {"choices": [], "usage": _usage(plan)})
        yield b"data: [DONE]\n\n"

    async def _chat_v1(self, request: Request) -> Response:
        body = await self.body_of(request)
        given = body.get("input")
        if not given:
            return _json({"error": {"message": "'input' is required", "type": "invalid_request",
                                    "code": "missing_required_parameter", "param": "input"}}, 400)  # fmt: skip
        loads = not (named := self.models.get(str(body.get("model")))) or not named.instances
        model = self._asked_for(body)
        if model is None:
            return _unknown(str(body.get("model")))
        text = given if isinstance(given, str) else "".join(part.get("content", "") for part in given)
        plan = self._planned([{"content": text}], body.get("max_output_tokens"), model)
        if isinstance(plan, Response):
            return plan
        if body.get("stream"):
            return _powered(self.stream(self._named_events(model, plan, loads), "text/event-stream"))
        async for _ in self.model.say(plan):
            pass
        return _json(self._result(model, plan))

    async def _named_events(self, model: StudioModel, plan: Plan, loads: bool) -> AsyncIterator[bytes]:
        yield _named("chat.start", model_instance_id=model.key)
        if loads:
            yield _named("model_load.start", model_instance_id=model.key)
            yield _named("model_load.progress", model_instance_id=model.key, progress=0.65)
            yield _named("model_load.end", model_instance_id=model.key, load_time_seconds=LOAD_SECONDS)
        yield _named("prompt_processing.start")
        yield _named("prompt_processing.progress", progress=1)
        yield _named("prompt_processing.end")
        speaking = ""
        try:
            async for kind, text in self.model.say(plan):
                name = "reasoning" if kind == "reasoning" else "message"
                if name != speaking:
                    if speaking:
                        yield _named(f"{speaking}.end")
                    yield _named(f"{name}.start")
                    speaking = name
                yield _named(f"{name}.delta", content=text)
            if speaking:
                yield _named(f"{speaking}.end")
        except AnswerBrokenError:
            yield _named("error", error={"type": "internal_error", "message": "The model has crashed."})
        except StreamEndsError:
            return
        yield _named("chat.end", result=self._result(model, plan))

    def _result(self, model: StudioModel, plan: Plan) -> dict[str, object]:
        output = [{"type": kind, "content": text}
                  for kind, text in (("reasoning", plan.reasoning), ("message", plan.text)) if text]  # fmt: skip
        return {
            "model_instance_id": model.key, "output": output,
            "stats": {
                "input_tokens": plan.prompt_tokens, "total_output_tokens": plan.given,
                "reasoning_output_tokens": plan.reasoning_tokens, "tokens_per_second": _speed(plan),
                "time_to_first_token_seconds": plan.prefill_ns / 1e9,
            },
            "response_id": f"resp_{self.made:048x}",
        }  # fmt: skip

    def _head(self, model: StudioModel, form: str) -> dict[str, object]:
        return {"id": f"chatcmpl-{self.made:020x}", "object": form, "created": CREATED + self.made, "model": model.key}

    def _stats(self, model: StudioModel, plan: Plan) -> dict[str, object]:
        instance = next(iter(model.instances.values()))
        return {
            "stats": {
                "tokens_per_second": _speed(plan), "time_to_first_token": plan.prefill_ns / 1e9,
                "generation_time": plan.decode_ns / 1e9, "stop_reason": STOP_REASONS[plan.reason],
            },
            "model_info": {
                "arch": model.arch, "quant": model.quantization, "format": "gguf",
                "context_length": instance["context_length"],
            },
            "runtime": RUNTIME,
        }  # fmt: skip


def _entry_v0(model: StudioModel) -> dict[str, object]:
    entry = {
        "id": model.key, "object": "model", "type": "embeddings" if model.kind == "embedding" else model.kind,
        "publisher": model.publisher, "arch": model.arch or "nomic-bert", "compatibility_type": "gguf",
        "quantization": model.quantization, "state": "loaded" if model.instances else "not-loaded",
        "max_context_length": model.most_context,
    }  # fmt: skip
    if model.instances:
        entry["loaded_context_length"] = next(iter(model.instances.values()))["context_length"]
    return entry


def _speed(plan: Plan) -> float:
    return plan.given * 1e9 / max(plan.decode_ns, 1)


def _usage(plan: Plan) -> dict[str, object]:
    return {
        "prompt_tokens": plan.prompt_tokens, "completion_tokens": plan.given,
        "total_tokens": plan.prompt_tokens + plan.given,
        "completion_tokens_details": {"reasoning_tokens": plan.reasoning_tokens},
    }  # fmt: skip


def _event(value: object) -> bytes:
    return f"data: {plain_json(value)}\n\n".encode()


def _named(name: str, **fields: object) -> bytes:
    return f"event: {name}\n".encode() + _event({"type": name, **fields})


def _powered(response: Response) -> Response:
    response.headers["X-Powered-By"] = "Express"
    return response


def _json(value: object, status: int = 200) -> Response:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return _powered(Response(plain_json(value).encode(), status, headers=headers))


def _unknown(key: str) -> Response:
    return _json({"error": {"message": f'Model "{key}" not found.', "type": "invalid_request_error", "param": "model",
                            "code": "model_not_found"}}, 404)  # fmt: skip


CONVERSATION = (
    Exchange("What is the sea?", ("The", " sea", " is", " salt", " water", " – 水", "."), prompt_tokens=12,
             prefill_ns=80_000_000, decode_ns=350_000_000),
    Exchange("And why?", ("Rivers", " carry", " salt", "."), thoughts=("Hm", ", why", "?"), prompt_tokens=31,
             prefill_ns=40_000_000, decode_ns=350_000_000),
)  # fmt: skip
"""A conversation of which every byte is known."""
