"""Ollama's native API, as https://github.com/ollama/ollama/blob/main/docs/api.md describes it (0.33).

What is here: `/` and `/api/version`, `/api/tags`, `/api/ps`, `/api/show`, `/api/chat`, `/api/generate` (with the empty
questions that load and unload, and `keep_alive`), `/api/create`, `/api/copy`, `/api/delete`, and `/api/blobs/:digest`.

Streams are NDJSON: one JSON object a line, as Go writes it (`<`, `>` and `&` escaped), `application/x-ndjson`. The last
line has `done: true`, the reason, and the durations in nanoseconds. `prompt_eval_count` counts cached tokens, too, and
`prompt_eval_duration` does not. An error before the first line is `{"error": TEXT}` with its status; one after it is a
line `{"error": TEXT}` in an answer whose status was 200.

A prompt that is longer than the context is cut at its beginning without a word, as Ollama does unless `truncate` is
false. Unknown options are ignored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.servers.script import AnswerBrokenError, Exchange, Plan, Script, StreamEndsError
from tests.servers.serving import ScriptedServer, plain_json

VERSION = "0.33.0"
NDJSON = "application/x-ndjson"
LOAD_NS = 1_250_000_000
FIVE_MINUTES = 300.0
EXPIRES = "2026-08-20T10:{minute:02d}:{second:02d}.123456789Z"
GGUF_MAGIC = b"GGUF"
QUANTIZED_TO = ("q8_0", "q4_k_s", "q4_k_m")


@dataclass
class OllamaModel:
    """A model in its store."""

    name: str
    size: int = 91_731_104
    family: str = "llama"
    parameter_size: str = "134.52M"
    quantization: str = "Q4_K_M"
    context_length: int = 8192
    capabilities: tuple[str, ...] = ("completion",)
    template: str = "{{ .Prompt }}"
    system: str = ""
    parameters: dict[str, object] = field(default_factory=dict)
    messages: list[dict[str, object]] = field(default_factory=list)
    license: object = ""
    files: dict[str, str] = field(default_factory=dict)
    """By relative name, the digests of what it was created of."""

    @property
    def thinks(self) -> bool:
        return "thinking" in self.capabilities

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()

    @property
    def details(self) -> dict[str, object]:
        return {
            "parent_model": "", "format": "gguf", "family": self.family, "families": [self.family],
            "parameter_size": self.parameter_size, "quantization_level": self.quantization,
            "context_length": self.context_length, "embedding_length": 576,
        }  # fmt: skip


def go_json(value: object) -> bytes:
    """JSON as Go's `json.Marshal` writes it."""
    text = plain_json(value)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode()


class OllamaServer(ScriptedServer):
    """Ollama.

    Args:
        script: What it says and does.
        models: What is in its store.
    """

    def __init__(self, script: Script | None = None, models: Sequence[OllamaModel] = ()) -> None:
        super().__init__(script)
        listed = models or (
            OllamaModel("smollm2:135m"),
            OllamaModel("qwen3:0.6b", capabilities=("completion", "tools", "thinking")),
        )
        self.models = {model.name: model for model in listed}
        self.loaded: dict[str, tuple[float, int]] = {}
        """By name, how long a model is kept in seconds, negative for ever, and its context."""
        self.blobs: dict[str, bytes] = {}
        self.refuses_blobs = False
        """Whether the disk is full."""

    def routes(self) -> list[Route]:
        def route(path: str, handler: Callable, *methods: str) -> Route:
            return Route(path, handler, methods=list(methods))

        return [
            route("/", self._front, "GET", "HEAD"),
            route("/api/version", self._version, "GET", "HEAD"),
            route("/api/tags", self._tags, "GET", "HEAD"),
            route("/api/ps", self._ps, "GET"),
            route("/api/show", self._show, "POST"),
            route("/api/chat", self._chat, "POST"),
            route("/api/generate", self._generate, "POST"),
            route("/api/create", self._create, "POST"),
            route("/api/copy", self._copy, "POST"),
            route("/api/delete", self._delete, "DELETE"),
            route("/api/blobs/{digest}", self._blob, "HEAD", "POST"),
            route("/v1/models", self._openai_models, "GET"),
        ]

    def refusal(self) -> Response:
        return _json({"error": "unauthorized"}, 401)

    async def not_found(self, request: Request) -> Response:
        return PlainTextResponse("404 page not found", 404)

    # What it says of itself

    async def _front(self, request: Request) -> Response:
        return PlainTextResponse("Ollama is running")

    async def _version(self, request: Request) -> Response:
        return _json({"version": VERSION})

    async def _tags(self, request: Request) -> Response:
        return _json({"models": [
            {"name": model.name, "model": model.name, "modified_at": "2026-08-01T12:00:00.123456789+02:00",
             "size": model.size, "digest": model.digest, "details": model.details,
             "capabilities": list(model.capabilities)}
            for model in self.models.values()
        ]})  # fmt: skip

    async def _ps(self, request: Request) -> Response:
        listed = []
        for name, (seconds, context) in self.loaded.items():
            model = self.models[name]
            minutes = 318 * 365 * 24 * 60 if seconds < 0 else int(seconds // 60)
            listed.append({
                "name": name, "model": name, "size": model.size + 4 * 2**20, "digest": model.digest,
                "details": model.details, "expires_at": EXPIRES.format(minute=minutes % 60, second=int(seconds) % 60),
                "size_vram": 0, "context_length": context,
            })  # fmt: skip
        return _json({"models": listed})

    async def _show(self, request: Request) -> Response:
        body = await self.body_of(request)
        model = self._named(body)
        if model is None:
            return _missing(body)
        lines = [f"{name} {value}" for name, value in model.parameters.items()]
        return _json({
            "license": model.license, "modelfile": f"FROM {model.name}\n", "parameters": "\n".join(lines),
            "template": model.template, "system": model.system, "details": model.details, "messages": model.messages,
            "model_info": {
                "general.architecture": model.family, "general.parameter_count": 134515008,
                f"{model.family}.context_length": model.context_length, f"{model.family}.embedding_length": 576,
                "tokenizer.ggml.tokens": None,
            },
            "capabilities": list(model.capabilities), "modified_at": "2026-08-01T12:00:00.123456789+02:00",
        })  # fmt: skip

    async def _openai_models(self, request: Request) -> Response:
        data = [{"id": name, "object": "model", "created": 1785578400, "owned_by": "library"} for name in self.models]
        return _json({"object": "list", "data": data})

    # Answers

    async def _chat(self, request: Request) -> Response:
        body = await self.body_of(request)
        messages = body.get("messages") or []
        return await self._answered(body, messages, "message")

    async def _generate(self, request: Request) -> Response:
        body = await self.body_of(request)
        prompt = body.get("prompt") or ""
        return await self._answered(body, [{"role": "user", "content": prompt}] if prompt else [], "response")

    async def _answered(self, body: dict[str, object], messages: list[dict[str, object]], form: str) -> Response:
        if not body.get("model"):
            return _json({"error": "model is required"}, 400)
        model = self._named(body)
        if model is None:
            return _missing(body)
        if body.get("think") and not model.thinks:
            return _json({"error": f'"{model.name}" does not support thinking'}, 400)
        options = body.get("options") or {}
        keep = seconds_of(body.get("keep_alive", FIVE_MINUTES))
        asleep = model.name not in self.loaded
        if not messages:
            return self._loaded_or_unloaded(model, keep, options, form)
        context = int(options.get("num_ctx") or self.script.context)
        self.loaded[model.name] = (keep, context)
        limit = options.get("num_predict", model.parameters.get("num_predict"))
        plan = self.model.plan(messages, limit if isinstance(limit, int) and limit >= 0 else None,
                               thinks=model.thinks and body.get("think") is not False)  # fmt: skip
        if plan.prompt_tokens >= context:
            if body.get("truncate") is False:
                return _json({"error": "the input length exceeds the context length"}, 400)
            plan.prompt_tokens = context - 1
        self.made += 1
        lines = self._lines(model, plan, form, LOAD_NS if asleep else 0, body.get("stream") is not False, keep)
        if body.get("stream") is False:
            collected = b"".join([line async for line in lines])
            status = 500 if collected.startswith(b'{"error"') else 200
            return Response(collected.rstrip(b"\n"), status, {"Content-Type": "application/json; charset=utf-8"})
        return self.stream(lines, NDJSON)

    def _loaded_or_unloaded(self, model: OllamaModel, keep: float, options: dict[str, object], form: str) -> Response:
        if keep == 0:
            self.loaded.pop(model.name, None)
        else:
            self.loaded[model.name] = (keep, int(options.get("num_ctx") or self.script.context))
        line = self._begun(model) | _part(form, "", "") | {"done": True, "done_reason": "load" if keep else "unload"}
        return _json(line)

    async def _lines(
        self, model: OllamaModel, plan: Plan, form: str, load_ns: int, streams: bool, keep: float
    ) -> AsyncIterator[bytes]:
        if plan.exchange.recorded is not None:
            yield plan.exchange.recorded
            return
        head = self._begun(model)
        try:
            async for kind, text in self.model.say(plan):
                if streams:
                    yield go_json(head | _part(form, text, kind) | {"done": False}) + b"\n"
        except AnswerBrokenError:
            yield go_json({"error": "llama runner process has terminated: exit status 2"}) + b"\n"
            return
        except StreamEndsError:
            return
        whole = _part(form, "", "answer") if streams else _whole(form, plan)
        if keep == 0:
            self.loaded.pop(model.name, None)
        yield go_json(head | whole | {"done": True, "done_reason": plan.reason} | _figures(plan, load_ns)) + b"\n"

    def _begun(self, model: OllamaModel) -> dict[str, object]:
        return {"model": model.name, "created_at": f"2026-08-20T10:00:{self.made % 60:02d}.123456789Z"}

    def _named(self, body: dict[str, object]) -> OllamaModel | None:
        name = str(body.get("model") or body.get("name") or "")
        return self.models.get(name) or self.models.get(f"{name}:latest")

    # Making models

    async def _blob(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        if not digest.startswith("sha256:") or len(digest) != 71:
            return _json({"error": "invalid digest format"}, 400)
        if request.method == "HEAD":
            return Response(status_code=200 if digest in self.blobs else 404)
        if digest in self.blobs:
            return Response(status_code=200)
        if self.refuses_blobs:
            return _json({"error": "write /root/.ollama/models/blobs: no space left on device"}, 500)
        received = b"".join([part async for part in request.stream()])
        found = f"sha256:{hashlib.sha256(received).hexdigest()}"
        if found != digest:
            return _json({"error": f'digest mismatch, expected "{digest}", got "{found}"'}, 400)
        self.blobs[digest] = received
        return Response(status_code=201)

    async def _create(self, request: Request) -> Response:
        body = await self.body_of(request)
        name = str(body.get("model") or body.get("name") or "")
        if not name or any(sign.isspace() for sign in name):
            return _json({"error": "invalid model name"}, 400)
        files = body.get("files") or {}
        for path, digest in files.items():
            if path.startswith("/") or ".." in path.split("/"):
                return _json({"error": "file path must be relative"}, 400)
            if digest not in self.blobs:
                place = f"/root/.ollama/models/blobs/{digest.replace(':', '-')}"
                return _json({"error": f"open {place}: no such file or directory"}, 400)
        if body.get("adapters"):
            return _json({"error": "LoRA adapters are no longer supported"}, 400)
        lines = self._created(body, name if ":" in name else f"{name}:latest", files)
        if body.get("stream") is False:
            last = [line async for line in lines][-1]
            return Response(last.rstrip(b"\n"), 500 if b"error" in last else 200, media_type="application/json")
        return self.stream(lines, NDJSON)

    async def _created(self, body: dict[str, object], name: str, files: dict[str, str]) -> AsyncIterator[bytes]:
        source = str(body.get("from") or "")
        base = self.models.get(source) or self.models.get(f"{source}:latest")
        if source and base is None:
            yield _line({"error": f"pull model manifest: file does not exist: {source}"})
            return
        if not source and not files:
            yield _line({"error": "neither 'from' or 'files' was specified", "status": 400})
            return
        for digest in files.values():
            yield _line({"status": "parsing GGUF"})
            if not self.blobs[digest].startswith(GGUF_MAGIC):
                yield _line({"error": "supplied file was not in GGUF format", "status": 400})
                return
        quantize = str(body.get("quantize") or "")
        quantization = base.quantization if base else "Q4_1"
        if quantize:
            if quantization not in {"F16", "F32", "BF16"} or quantize.lower() not in QUANTIZED_TO:
                message = f"quantization is only supported for F16, F32 and BF16 models, not {quantization}"
                yield _line({"error": message})
                return
            quantization = quantize.upper()
        for digest in files.values():
            yield _line({"status": f"using existing layer {digest}"})
        yield _line({"status": "creating new layer sha256:" + hashlib.sha256(json.dumps(body).encode()).hexdigest()})
        yield _line({"status": "writing manifest"})
        self.models[name] = OllamaModel(
            name, quantization=quantization,
            size=sum(len(self.blobs[digest]) for digest in files.values()) or (base.size if base else 0),
            template=str(body.get("template") or (base.template if base else "")),
            system=str(body.get("system") or (base.system if base else "")),
            parameters={**(base.parameters if base else {}), **(body.get("parameters") or {})},
            messages=list(body.get("messages") or []), license=body.get("license", ""), files=files,
        )  # fmt: skip
        yield _line({"status": "success"})

    async def _copy(self, request: Request) -> Response:
        body = await self.body_of(request)
        source, target = str(body.get("source")), str(body.get("destination"))
        if source not in self.models:
            return _json({"error": f"model '{source}' not found"}, 404)
        self.models[target] = self.models[source]
        return Response(status_code=200)

    async def _delete(self, request: Request) -> Response:
        body = await self.body_of(request)
        model = self._named(body)
        if model is None:
            return _missing(body)
        del self.models[model.name]
        self.loaded.pop(model.name, None)
        return Response(status_code=200)


def seconds_of(keep_alive: object) -> float:
    """How long a model is kept, of a number of seconds or of a duration as Go writes it: `10m`, `1h30m`, `-1`."""
    if isinstance(keep_alive, int | float):
        return float(keep_alive)
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    total, number = 0.0, ""
    for sign in str(keep_alive):
        if sign in units:
            total += float(number or 0) * units[sign]
            number = ""
        else:
            number += sign
    return total + float(number or 0)


def _part(form: str, text: str, kind: str) -> dict[str, object]:
    """A piece of an answer, in the form of `/api/chat` (`message`) or of `/api/generate` (`response`)."""
    thinking = kind == "reasoning"
    if form == "response":
        return {"response": "" if thinking else text} | ({"thinking": text} if thinking else {})
    message = {"role": "assistant", "content": "" if thinking else text} | ({"thinking": text} if thinking else {})
    return {"message": message}


def _whole(form: str, plan: Plan) -> dict[str, object]:
    thinking = {"thinking": plan.reasoning} if plan.reasoning else {}
    if form == "response":
        return {"response": plan.text} | thinking
    return {"message": {"role": "assistant", "content": plan.text} | thinking}


def _figures(plan: Plan, load_ns: int) -> dict[str, object]:
    """The figures of the last line. Go leaves out those that are zero."""
    figures = {
        "total_duration": load_ns + plan.prefill_ns + plan.decode_ns, "load_duration": load_ns or 42_000_000,
        "prompt_eval_count": plan.prompt_tokens, "prompt_eval_cached_count": plan.cached_tokens,
        "prompt_eval_duration": plan.prefill_ns, "eval_count": plan.given, "eval_duration": plan.decode_ns,
    }  # fmt: skip
    return {name: value for name, value in figures.items() if value}


def _line(value: dict[str, object]) -> bytes:
    return go_json(value) + b"\n"


def _json(value: object, status: int = 200) -> Response:
    return Response(go_json(value), status, headers={"Content-Type": "application/json; charset=utf-8"})


def _missing(body: dict[str, object]) -> Response:
    return _json({"error": f"model '{body.get('model') or body.get('name')}' not found"}, 404)


CONVERSATION = (
    Exchange("What is the sea?", ("The", " sea", " is", " salt", " water", " – 水", "."), prompt_tokens=12,
             prefill_ns=80_000_000, decode_ns=350_000_000),
    Exchange("And <b>why</b> & how?", ("Rivers", " carry", " salt", "."), thoughts=("Hm", ", why", "?"),
             prompt_tokens=31, cached_tokens=19, prefill_ns=40_000_000, decode_ns=350_000_000),
)  # fmt: skip
"""A conversation of which every byte is known."""
