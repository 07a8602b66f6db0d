"""Text Generation Inference, as https://huggingface.co/docs/text-generation-inference describes it (3.3).

What is here: `/info`, `/health`, `/metrics`, `/v1/models`, `/v1/chat/completions`, and the native `/generate` and
`/generate_stream`. It serves one model and cannot load another.

Its events have no blank after `data:`. Every chunk of a chat has the role, and `usage` is null in all but the one that
`stream_options` asks for. The end of the text is a token of its own, special and without a text, that carries the
reason (`stop`; `length` is on the last token of a text that is cut off). Errors are
`{"error": TEXT, "error_type": KIND}`; an overloaded server answers 429. Times are in headers where nothing streams.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.servers.script import AnswerBrokenError, Exchange, Plan, Script, StreamEndsError
from tests.servers.serving import ScriptedServer, plain_json

VERSION = "3.3.6-dev0"
CREATED = 1_787_220_000
FINGERPRINT = f"{VERSION}-sha-fa4e4bb"
NATIVE_REASONS = {"stop": "eos_token", "length": "length"}


class TgiServer(ScriptedServer):
    """Text Generation Inference.

    Args:
        script: What it says and does.
        name: The model that it serves.
        most_requests: With so many under way a further one is refused; None for no limit.
    """

    def __init__(
        self, script: Script | None = None, name: str = "HuggingFaceTB/SmolLM2-135M-Instruct",
        most_requests: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(script)
        self.name = name
        self.most_requests = most_requests

    def routes(self) -> list[Route]:
        return [
            Route("/", self._generate_or_stream, methods=["POST"]),
            Route("/info", self._info),
            Route("/health", self._health),
            Route("/metrics", self._metrics),
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/generate", self._generate, methods=["POST"]),
            Route("/generate_stream", self._generate_stream, methods=["POST"]),
        ]

    def refusal(self) -> Response:
        return Response(status_code=401)

    async def not_found(self, request: Request) -> Response:
        return Response(status_code=404)

    # What it says of itself

    async def _info(self, request: Request) -> Response:
        return _json({
            "model_id": self.name, "model_sha": "7e27bd9f95328f0f3b08261d1252705110c806f8",
            "model_pipeline_tag": "text-generation", "max_concurrent_requests": self.most_requests or 128,
            "max_best_of": 2, "max_stop_sequences": 4, "max_input_tokens": self.script.context - 1,
            "max_total_tokens": self.script.context, "validation_workers": 2, "max_client_batch_size": 4,
            "router": "text-generation-router", "version": VERSION,
            "sha": "fa4e4bbcb8d5bd3ed1ee2fbc6c2fb2b5f1a7e6c4", "docker_label": "sha-fa4e4bb",
        })  # fmt: skip

    async def _health(self, request: Request) -> Response:
        return Response(status_code=200)

    async def _metrics(self, request: Request) -> Response:
        figures = {
            "tgi_queue_size": ("gauge", self.model.waiting),
            "tgi_batch_current_size": ("gauge", self.model.running),
            "tgi_request_count": ("counter", self.made),
        }
        lines = [
            line for name, (kind, value) in figures.items() for line in (f"# TYPE {name} {kind}", f"{name} {value}")
        ]
        return PlainTextResponse("\n".join(lines) + "\n")

    async def _models(self, request: Request) -> Response:
        entry = {"id": self.name, "object": "model", "created": 0, "owned_by": self.name}
        return _json({"object": "list", "data": [entry]})

    # Answers

    async def _chat(self, request: Request) -> Response:
        body = await self.body_of(request)
        messages = body.get("messages")
        if not isinstance(messages, list):
            return PlainTextResponse(
                "Failed to deserialize the JSON body into the target type: missing field `messages`", 422
            )
        plan = self._planned(messages, body.get("max_tokens"))
        if isinstance(plan, Response):
            return plan
        if body.get("stream"):
            return self._streamed(self._unbroken(self._chunks(plan, body.get("stream_options") or {})))
        return await self._at_once(plan, self._completion)

    def _planned(self, messages: list[dict[str, object]], limit: object) -> Plan | Response:
        if self.most_requests is not None and self.model.running + self.model.waiting >= self.most_requests:
            return _json({"error": "Model is overloaded", "error_type": "overloaded"}, 429)
        plan = self.model.plan(messages, limit if isinstance(limit, int) else None)
        if plan.prompt_tokens >= self.script.context:
            most = self.script.context - 1
            message = f"`inputs` must have less than {most} tokens. Given: {plan.prompt_tokens}"
            return _json({"error": f"Input validation error: {message}", "error_type": "validation"}, 422)
        self.made += 1
        return plan

    async def _chunks(self, plan: Plan, options: dict[str, object]) -> AsyncIterator[bytes]:
        if plan.exchange.recorded is not None:
            yield plan.exchange.recorded
            return

        def chunk(text: str, reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "logprobs": None,
                      "finish_reason": reason}  # fmt: skip
            return _event(self._head("") | {"choices": [choice], "usage": None})

        ended = False
        async for text, last in self._tokens(plan):
            yield chunk(text, plan.reason if last else None)
            ended = last
        if not ended:
            yield chunk("", plan.reason)
        if options.get("include_usage"):
            yield _event(self._head("") | {"choices": [], "usage": _usage(plan)})
        yield b"data:[DONE]\n\n"

    async def _unbroken(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The events; after an answer that breaks an error, after a stream that ends nothing."""
        try:
            async for event in events:
                yield event
        except AnswerBrokenError:
            yield _event({"error": "Request failed during generation: CUDA error", "error_type": "generation"})
        except StreamEndsError:
            return

    async def _tokens(self, plan: Plan) -> AsyncIterator[tuple[str, bool]]:
        """The texts, and whether one is the last because there may be no more."""
        async for _, text in self.model.say(plan):
            yield text, plan.reason == "length" and plan.given == len(plan.tokens)

    async def _generate_or_stream(self, request: Request) -> Response:
        body = await self.body_of(request)
        return await (self._native_stream(body) if body.get("stream") else self._native(body))

    async def _generate(self, request: Request) -> Response:
        return await self._native(await self.body_of(request))

    async def _generate_stream(self, request: Request) -> Response:
        return await self._native_stream(await self.body_of(request))

    def _native_plan(self, body: dict[str, object]) -> Plan | Response:
        if "inputs" not in body:
            text = "Failed to deserialize the JSON body into the target type: missing field `inputs`"
            return PlainTextResponse(text, 422)
        parameters = body.get("parameters") or {}
        return self._planned([{"content": body["inputs"]}], parameters.get("max_new_tokens", 100))

    async def _native(self, body: dict[str, object]) -> Response:
        plan = self._native_plan(body)
        return plan if isinstance(plan, Response) else await self._at_once(plan, self._generated)

    async def _native_stream(self, body: dict[str, object]) -> Response:
        plan = self._native_plan(body)
        return plan if isinstance(plan, Response) else self._streamed(self._unbroken(self._native_events(plan)))

    async def _native_events(self, plan: Plan) -> AsyncIterator[bytes]:
        def event(text: str, *, special: bool, ends: bool) -> bytes:
            details = {"finish_reason": NATIVE_REASONS[plan.reason], "generated_tokens": plan.given,
                       "seed": None, "input_length": plan.prompt_tokens}  # fmt: skip
            return _event({
                "index": plan.given,
                "token": {"id": 2 if special else 100 + plan.given, "text": text, "logprob": -0.25, "special": special},
                "generated_text": plan.text if ends else None, "details": details if ends else None,
            })  # fmt: skip

        ended = False
        async for text, last in self._tokens(plan):
            yield event(text, special=False, ends=last)
            ended = last
        if not ended:
            plan.given += 1
            yield event("</s>", special=True, ends=True)

    async def _at_once(self, plan: Plan, form: object) -> Response:
        try:
            async for _ in self.model.say(plan):
                pass
        except (AnswerBrokenError, StreamEndsError):
            return _json({"error": "Request failed during generation: CUDA error", "error_type": "generation"}, 424)
        response = _json(form(plan))
        milliseconds = {
            "x-total-time": plan.queue_ns + plan.prefill_ns + plan.decode_ns, "x-queue-time": plan.queue_ns,
            "x-inference-time": plan.prefill_ns + plan.decode_ns,
            "x-time-per-token": plan.decode_ns // max(plan.given, 1),
        }  # fmt: skip
        response.headers["x-compute-type"] = "cpu"
        for name, value in milliseconds.items():
            response.headers[name] = str(value // 1_000_000)
        response.headers["x-prompt-tokens"] = str(plan.prompt_tokens)
        response.headers["x-generated-tokens"] = str(plan.given)
        return response

    def _completion(self, plan: Plan) -> dict[str, object]:
        choice = {"index": 0, "message": {"role": "assistant", "content": plan.text}, "logprobs": None,
                  "finish_reason": plan.reason}  # fmt: skip
        return self._head("chat.completion") | {"choices": [choice], "usage": _usage(plan)}

    def _generated(self, plan: Plan) -> dict[str, object]:
        return {"generated_text": plan.text}

    def _head(self, form: str) -> dict[str, object]:
        return {"object": form or "chat.completion.chunk", "id": "", "created": CREATED + self.made,
                "model": self.name, "system_fingerprint": FINGERPRINT}  # fmt: skip

    def _streamed(self, events: AsyncIterator[bytes]) -> Response:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return self.stream(events, "text/event-stream", **headers)


def _usage(plan: Plan) -> dict[str, int]:
    return {"prompt_tokens": plan.prompt_tokens, "completion_tokens": plan.given,
            "total_tokens": plan.prompt_tokens + plan.given}  # fmt: skip


def _event(value: object) -> bytes:
    return f"data:{plain_json(value)}\n\n".encode()


def _json(value: object, status: int = 200) -> Response:
    return Response(plain_json(value).encode(), status, headers={"Content-Type": "application/json"})


CONVERSATION = (
    Exchange("What is the sea?", ("The", " sea", " is", " salt", " water", " – 水", "."), prompt_tokens=12,
             prefill_ns=80_000_000, decode_ns=350_000_000),
    Exchange("And why?", ("Rivers", " carry", " salt", "."), prompt_tokens=31, prefill_ns=40_000_000,
             decode_ns=200_000_000),
)  # fmt: skip
"""A conversation of which every byte is known."""
