"""vLLM's OpenAI-compatible server, as https://docs.vllm.ai/en/latest/serving/openai_compatible_server/ describes it.

What is here: `/v1/models` (with `max_model_len`), `/v1/chat/completions`, `/v1/completions`, `/version`, `/health` and
`/ping` (200, no body), `/metrics` (Prometheus), `/tokenize`. It serves one model, and runs on uvicorn as the original
does, so that its header says so.

A stream is server-sent events, `data: ` and JSON without blanks: first the role with an empty content, then the
tokens, reasoning in `delta.reasoning`, then an empty delta with the reason, then, where `stream_options` asks for it,
a chunk without choices and with the usage, then `data: [DONE]`. With `continuous_usage_stats` every chunk has the usage
so far. Errors are `{"error": {message, type, param, code}}` with a number for a code; in a stream they are an event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.servers.script import AnswerBrokenError, Exchange, Plan, Script, StreamEndsError
from tests.servers.serving import ScriptedServer, plain_json

VERSION = "0.13.0"
CREATED = 1_787_220_000
SSE = "text/event-stream; charset=utf-8"


class VllmServer(ScriptedServer):
    """vLLM.

    Args:
        script: What it says and does.
        name: The model that it serves.
        prompt_details: Whether it was started with `--enable-prompt-tokens-details`.
        request_metrics: Whether it was started with `--enable-per-request-metrics`.
        reasoning_field: `reasoning`, or `reasoning_content` for versions before 0.11.
    """

    server_header = True

    def __init__(
        self,
        script: Script | None = None,
        name: str = "Qwen/Qwen3-0.6B",
        *,
        prompt_details: bool = False,
        request_metrics: bool = False,
        reasoning_field: str = "reasoning",
    ) -> None:
        super().__init__(script)
        self.name = name
        self.prompt_details = prompt_details
        self.request_metrics = request_metrics
        self.reasoning_field = reasoning_field

    def routes(self) -> list[Route]:
        return [
            Route("/health", self._empty),
            Route("/ping", self._empty, methods=["GET", "POST"]),
            Route("/version", self._version),
            Route("/metrics", self._metrics),
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._complete, methods=["POST"]),
            Route("/tokenize", self._tokenize, methods=["POST"]),
        ]

    def refusal(self) -> Response:
        return _json({"error": "Unauthorized"}, 401)

    async def not_found(self, request: Request) -> Response:
        return _json({"detail": "Not Found"}, 404)

    # What it says of itself

    async def _empty(self, request: Request) -> Response:
        return Response(status_code=200)

    async def _version(self, request: Request) -> Response:
        return _json({"version": VERSION})

    async def _models(self, request: Request) -> Response:
        permission = {
            "id": "modelperm-1", "object": "model_permission", "created": CREATED, "allow_create_engine": False,
            "allow_sampling": True, "allow_logprobs": True, "allow_search_indices": False, "allow_view": True,
            "allow_fine_tuning": False, "organization": "*", "group": None, "is_blocking": False,
        }  # fmt: skip
        return _json({"object": "list", "data": [{
            "id": self.name, "object": "model", "created": CREATED, "owned_by": "vllm", "root": self.name,
            "parent": None, "max_model_len": self.script.context, "permission": [permission],
        }]})  # fmt: skip

    async def _metrics(self, request: Request) -> Response:
        figures = {
            "num_requests_running": ("gauge", self.model.running),
            "num_requests_waiting": ("gauge", self.model.waiting),
            "kv_cache_usage_perc": ("gauge", 0.25 if self.model.running else 0.0),
            "prompt_tokens_total": ("counter", self.model.prompt_tokens),
            "generation_tokens_total": ("counter", self.model.completion_tokens),
        }
        lines = []
        for name, (kind, value) in figures.items():
            lines += [f"# HELP vllm:{name} {name}", f"# TYPE vllm:{name} {kind}",
                      f'vllm:{name}{{engine="0",model_name="{self.name}"}} {float(value)}']  # fmt: skip
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    async def _tokenize(self, request: Request) -> Response:
        words = str((await self.body_of(request)).get("prompt", "")).split()
        tokens = list(range(len(words)))
        return _json({"count": len(tokens), "max_model_len": self.script.context, "tokens": tokens, "token_strs": None})

    # Answers

    async def _chat(self, request: Request) -> Response:
        body = await self.body_of(request)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            return _error(400, "BadRequestError", "[{'type': 'missing', 'loc': ('body', 'messages')}]")
        return await self._answered(body, messages, "chat.completion")

    async def _complete(self, request: Request) -> Response:
        body = await self.body_of(request)
        return await self._answered(body, [{"role": "user", "content": body.get("prompt", "")}], "text_completion")

    async def _answered(self, body: dict[str, object], messages: list[dict[str, object]], form: str) -> Response:
        if body.get("model", self.name) != self.name:
            message = f"The model `{body.get('model')}` does not exist."
            return _error(404, "NotFoundError", message, "model")
        if body.get("stream_options") and not body.get("stream"):
            return _error(400, "BadRequestError", "Stream options can only be defined when `stream=True`.")
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        template = body.get("chat_template_kwargs") or {}
        plan = self.model.plan(messages, limit if isinstance(limit, int) else None,
                               thinks=template.get("enable_thinking") is not False)  # fmt: skip
        if plan.prompt_tokens >= self.script.context:
            return _error(400, "BadRequestError", (
                f"This model's maximum context length is {self.script.context} tokens. However, your request has "
                f"{plan.prompt_tokens} input tokens. Please reduce the length of the input messages."
            ), "input_tokens")  # fmt: skip
        self.made += 1
        if body.get("stream"):
            return self.stream(self._events(plan, body.get("stream_options") or {}, form), SSE)
        return await self._at_once(plan, form)

    async def _events(self, plan: Plan, options: dict[str, object], form: str) -> AsyncIterator[bytes]:
        if plan.exchange.recorded is not None:
            yield plan.exchange.recorded
            return
        continuous = bool(options.get("include_usage") and options.get("continuous_usage_stats"))

        def chunk(delta: dict[str, object], reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            if form == "text_completion":
                choice = {"index": 0, "text": delta.get("content", ""), "logprobs": None, "finish_reason": reason}
            usage = {"usage": self._usage(plan)} if continuous else {}
            return _event(self._head(form) | {"choices": [choice | ({"stop_reason": None} if reason else {})]} | usage)

        if form != "text_completion":
            yield chunk({"role": "assistant", "content": ""})
        try:
            async for kind, text in self.model.say(plan):
                yield chunk({self.reasoning_field if kind == "reasoning" else "content": text})
        except AnswerBrokenError:
            message = "EngineCore encountered an issue. See stack trace (above) for the root cause."
            error = {"message": message, "type": "InternalServerError", "param": None, "code": 500}
            yield _event({"error": error})
            yield b"data: [DONE]\n\n"
            return
        except StreamEndsError:
            return
        yield chunk({"content": ""}, plan.reason)
        if options.get("include_usage"):
            metrics = {"metrics": self._metrics_of(plan)} if self.request_metrics else {}
            yield _event(self._head(form) | {"choices": [], "usage": self._usage(plan, last=True)} | metrics)
        yield b"data: [DONE]\n\n"

    async def _at_once(self, plan: Plan, form: str) -> Response:
        try:
            async for _ in self.model.say(plan):
                pass
        except (AnswerBrokenError, StreamEndsError):
            return _error(500, "InternalServerError", "EngineCore encountered an issue.")
        choice: dict[str, object] = {"index": 0}
        if form == "text_completion":
            choice["text"] = plan.text
        else:
            choice["message"] = {"role": "assistant", "content": plan.text, "refusal": None, "tool_calls": [],
                                 self.reasoning_field: plan.reasoning or None}  # fmt: skip
        choice |= {"logprobs": None, "finish_reason": plan.reason, "stop_reason": None}
        head = self._head(form) | {"object": form, "choices": [choice], "usage": self._usage(plan, last=True)}
        return _json(head | ({"metrics": self._metrics_of(plan)} if self.request_metrics else {}))

    def _head(self, form: str) -> dict[str, object]:
        name, chunk = ("chatcmpl", "chat.completion.chunk") if form == "chat.completion" else ("cmpl", form)
        return {"id": f"{name}-{self.made:032x}", "object": chunk, "created": CREATED + self.made, "model": self.name}

    def _usage(self, plan: Plan, *, last: bool = False) -> dict[str, object]:
        total = plan.prompt_tokens + plan.given
        usage = {"prompt_tokens": plan.prompt_tokens, "total_tokens": total, "completion_tokens": plan.given}
        if self.prompt_details and last:
            usage["prompt_tokens_details"] = {"cached_tokens": plan.cached_tokens}
        return usage

    def _metrics_of(self, plan: Plan) -> dict[str, object]:
        generated = max(plan.given - 1, 1)
        return {
            "time_to_first_token_ms": (plan.queue_ns + plan.prefill_ns) / 1e6,
            "generation_time_ms": plan.decode_ns / 1e6, "queue_time_ms": plan.queue_ns / 1e6,
            "mean_itl_ms": plan.decode_ns / 1e6 / generated,
            "tokens_per_second": plan.given * 1e9 / max(plan.decode_ns, 1),
        }  # fmt: skip


def _event(value: object) -> bytes:
    return f"data: {plain_json(value)}\n\n".encode()


def _json(value: object, status: int = 200) -> Response:
    return Response(plain_json(value).encode(), status, headers={"Content-Type": "application/json"})


def _error(status: int, kind: str, message: str, param: str | None = None) -> Response:
    return _json({"error": {"message": message, "type": kind, "param": param, "code": status}}, status)


CONVERSATION = (
    Exchange("What is the sea?", ("The", " sea", " is", " salt", " water", " – 水", "."), prompt_tokens=12,
             prefill_ns=80_000_000, decode_ns=350_000_000),
    Exchange("And why?", ("Rivers", " carry", " salt", "."), thoughts=("Hm", ", why", "?"), prompt_tokens=31,
             cached_tokens=16, prefill_ns=40_000_000, decode_ns=350_000_000),
)  # fmt: skip
"""A conversation of which every byte is known."""
