"""Ollama's own API, as https://github.com/ollama/ollama/blob/main/docs/api.md describes it.

Not its OpenAI-compatible one, which sets a temperature of its own over the Modelfile's, cannot set the context, and
swallows errors in the middle of an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from typing_extensions import override

from workbench.core.engine import ProgressCallback, Request
from workbench.core.events import Timings
from workbench.core.models import ModelEntry
from workbench.core.parameters import PARAMETERS, SAMPLING_NAMES, LoadSettings
from workbench.engine.formats.answer_format import read_format
from workbench.engine.remote.answer_parser import AnswerParser, count, number
from workbench.engine.remote.dialect import (
    Dialect,
    Opened,
    Question,
    as_messages,
    chosen,
    model_id,
    refuse_tokens,
    text_of,
    without,
)
from workbench.engine.remote.format_fields import parse_version
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.logprobs import read_choices
from workbench.engine.remote.problems import message_in, too_slow
from workbench.engine.remote.response import HttpResponse, fields
from workbench.engine.remote.streams import Frames, JsonLines

SAMPLING_OPTIONS = frozenset(name for name in SAMPLING_NAMES if PARAMETERS[name].in_modelfile)
"""The sampling parameters of Ollama: those of its Modelfiles."""
LOAD_OPTIONS = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap")
"""The load parameters of Ollama. A change of one makes it load the model again."""

COUNTS_CACHED_APART = (0, 31)
"""From this version on the final line counts the cached tokens of the prompt; 0 is omitted."""
COUNTS_CACHED_IN = (0, 30)
"""From this version on `prompt_eval_count` includes the cached tokens."""


class OllamaDialect(Dialect):
    """Ollama's API, for one model of the list of models; the version of the server is None where it is not known."""

    def __init__(self, client: ServerClient, model: ModelEntry, version: str | None) -> None:
        self._client = client
        self._model = model
        self._id = model_id(model)
        self._version = parse_version(version)
        self._load = LoadSettings()
        self._own = True
        """Whether it takes `truncate` and `shift`, which make it report a full context."""

    @override
    async def open(self, settings: LoadSettings, on_progress: ProgressCallback) -> Opened:
        self._load = settings
        body: dict[str, Any] = {"model": self._id, "messages": [], "stream": False}
        if options := self._options():
            body["options"] = options
        self._client.json(await self._client.post("/api/chat", body, self._client.timeouts.load), "/api/chat", self._id)
        trained = await self._trained_context()
        running = (await self._client.get("/api/ps")).objects("models")
        loaded = next((each for each in running if same_name(each.get("name"), self._id)), {})
        context = count(loaded.get("context_length")) or settings.num_ctx
        warnings: tuple[str, ...] = ()
        if context and trained and context < trained and not settings.num_ctx:
            warnings = (
                f"Ollama gives this model a context of {context} tokens, of the {trained} that it was trained for. "
                "Set num_ctx for a longer one.",
            )
        entry = replace(self._model, context_length=trained or self._model.context_length)
        return Opened(entry, replace(settings, num_ctx=context), warnings)

    async def _trained_context(self) -> int | None:
        """The context that the model was trained for, in tokens."""
        answer = await self._client.post("/api/show", {"model": self._id})
        facts = fields(self._client.json(answer, "/api/show", self._id).get("model_info"))
        lengths = (count(value) for key, value in facts.items() if key.endswith(".context_length"))
        return next(filter(None, lengths), None)

    def _options(self) -> dict[str, Any]:
        """The load parameters that differ from the defaults; Ollama chooses the others."""
        defaults = asdict(LoadSettings())
        return {
            name: value
            for name, value in asdict(self._load).items()
            if value != defaults[name] and name in LOAD_OPTIONS
        }

    @override
    def question(self, request: Request, seed: int) -> Question:
        if request.tokens is not None:
            raise refuse_tokens("Ollama")
        given = chosen(request)
        sampling: dict[str, Any] = {name: value for name, value in given.items() if name in SAMPLING_OPTIONS}
        sampling["seed"] = seed
        if "stop" in given:
            sampling["stop"] = list(request.sampling.stop)
        body: dict[str, Any] = {"model": self._id, "stream": True, "options": sampling | self._options()}
        if self._own:
            # Otherwise it drops the beginning of a conversation that is too long, without reporting it.
            body |= {"truncate": False, "shift": False}
        size = len(text_of(request).encode("utf-8", "replace"))
        form = read_format(request.sampling.format)
        if form is not None and form.kind != "grammar":
            body["format"] = "json" if form.kind == "json" else form.schema
        missing = without(given, SAMPLING_OPTIONS | {"think"} | ({"format"} & body.keys()))
        if request.prompt is not None:
            return Question("/api/generate", body | {"prompt": request.prompt, "raw": True}, size, seed, missing)
        messages = as_messages(request)
        if request.continues and request.messages[-1].reasoning:
            messages[-1]["thinking"] = request.messages[-1].reasoning
        if request.alternatives:
            body |= {"logprobs": True, "top_logprobs": request.alternatives}
        think = request.sampling.think
        if think != "default":
            body["think"] = {"on": True, "off": False}.get(think, think)
        return Question("/api/chat", body | {"messages": messages}, size, seed, missing)

    @override
    def milder(self, question: Question, answer: HttpResponse) -> Question | None:
        words = message_in(answer.body) or answer.text
        if answer.status != 400 or "think" not in question.body or "think" not in words:
            return None
        left = {name: value for name, value in question.body.items() if name != "think"}
        return replace(question, body=left, refused=(*question.refused, "think"))

    @override
    def frames(self) -> Frames:
        return JsonLines()

    @override
    def parser(self, question: Question, submitted_ns: int, limit: int) -> AnswerParser:
        parser = OllamaAnswerParser(self._client.address, self._id, submitted_ns, question.prompt_bytes, limit)
        parser.version = self._version
        return parser


class OllamaAnswerParser(AnswerParser):
    """Parses the lines of an answer."""

    version: tuple[int, int] | None = None
    """That of the server; None where it is not known."""

    @override
    def _take(self, value: Mapping[str, Any], at_ns: int) -> None:
        self._choices += read_choices(value.get("logprobs"))
        message = value.get("message")
        if isinstance(message, dict):
            self._text(message.get("thinking"), "reasoning", at_ns)
            self._text(message.get("content"), "answer", at_ns)
        else:
            self._text(value.get("thinking"), "reasoning", at_ns)
            self._text(value.get("response"), "answer", at_ns)
        if value.get("done") is True:
            self._end(value)

    def _end(self, value: Mapping[str, object]) -> None:
        self.reason = "length" if value.get("done_reason") == "length" else "stop"
        self.complete = True
        self.prompt_tokens = count(value.get("prompt_eval_count"))
        # Zeros are omitted.
        self.completion_tokens = count(value.get("eval_count", 0 if self.prompt_tokens is not None else None))
        self.cached_tokens = count(value.get("prompt_eval_cached_count"))
        self.counts_whole_prompt = self.version is None or self.version >= COUNTS_CACHED_IN
        prefill = _milliseconds(value.get("prompt_eval_duration"))
        if self.cached_tokens is None and self.prompt_tokens is not None and self.version is not None:
            if self.version >= COUNTS_CACHED_APART:
                self.cached_tokens = 0
            elif self.version >= COUNTS_CACHED_IN:
                # The count includes the cached tokens and the time does not: their ratio would be meaningless.
                prefill = None
        self.timings = Timings(
            prefill, _milliseconds(value.get("eval_duration")), _milliseconds(value.get("load_duration"))
        )


def _milliseconds(nanoseconds: object) -> float | None:
    found = number(nanoseconds)
    return found / 1e6 if found else None


def same_name(one: object, other: str) -> bool:
    """Whether two names mean the same model: a missing tag is `latest`."""
    return isinstance(one, str) and _with_tag(one) == _with_tag(other)


def _with_tag(name: str) -> str:
    folded = name.casefold()
    return folded if ":" in folded.rpartition("/")[2] else f"{folded}:latest"


async def unload(client: ServerClient, model: str) -> None:
    """Unload a model; a running answer is finished first."""
    body = {"model": model, "messages": [], "stream": False, "keep_alive": 0}
    client.json(await client.post("/api/chat", body), "/api/chat", model)
    # It responds before the memory is free.
    try:
        async with asyncio.timeout(client.timeouts.answer):
            while True:
                running = (await client.get("/api/ps")).objects("models")
                if not any(same_name(each.get("name"), model) for each in running):
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise too_slow(client.address, f"it still has {model} in memory", client.timeouts.answer) from None
