"""The OpenAI-compatible API, with the extensions of each server.

Sources of the format: https://platform.openai.com/docs/api-reference/chat, llama.cpp's `tools/server/README.md`,
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html, https://lmstudio.ai/docs/app/api and
https://huggingface.co/docs/text-generation-inference/messages_api.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import override

from workbench.core.chat import Message
from workbench.core.engine import ProgressCallback, Request
from workbench.core.events import Timings
from workbench.core.models import ModelEntry
from workbench.core.parameters import SAMPLERS, LoadSettings, Sampling, Value
from workbench.core.servers import ServerInfo, ServerKind
from workbench.engine.remote.answer_parser import AnswerParser, count, number
from workbench.engine.remote.control import make_ready
from workbench.engine.remote.dialect import (
    Dialect,
    Opened,
    Question,
    as_messages,
    chosen,
    model_id,
    refuse_thoughts,
    refuse_tokens,
    text_of,
    without,
)
from workbench.engine.remote.format_fields import format_fields
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.logprobs import read_choices
from workbench.engine.remote.problems import is_context_error, message_in
from workbench.engine.remote.response import HttpResponse, fields
from workbench.engine.remote.streams import Frames, ServerSentEvents
from workbench.engine.switches import EFFORTS, SHORT_OF_TIME

PLAIN = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
"""The sampling parameters that every server takes."""

OWN: Mapping[ServerKind, Mapping[str, str]] = {
    "llama-server": {name: name for name in ("top_k", "min_p", "typical_p", "repeat_last_n", "repeat_penalty")},
    "vLLM": {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
    "LM Studio": {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repeat_penalty"},
}
"""The further parameters of some servers, with their names for them."""

CONTINUES: frozenset[ServerKind] = frozenset({"llama-server", "vLLM"})
"""The servers that continue the last message, thoughts too, where `continue_final_message` says so."""
FURTHER = (
    "top_n_sigma", "xtc_probability", "xtc_threshold", "dry_multiplier", "dry_base", "dry_allowed_length",
    "dry_penalty_last_n", "dry_sequence_breakers", "mirostat", "mirostat_tau", "mirostat_eta", "adaptive_target",
    "adaptive_decay", "samplers",
)  # fmt: skip
"""The parameters that only llama-server has, under the same names."""
NO_BIAS = frozenset({"TGI"})
"""The servers that accept `logit_bias` and ignore it."""
LEAST_BIAS = -100.0
"""The least bias of the OpenAI API, which never writes a token."""

_EXTRAS = ("stream_options", "return_progress")
"""Fields that do not change the answer: the first to be removed where a server refuses a request."""


class OpenAIDialect(Dialect):
    """The API of an OpenAI-compatible server, for one model of the list of models."""

    def __init__(self, client: ServerClient, server: ServerInfo, model: ModelEntry) -> None:
        self._client = client
        self._server = server
        self._model = model
        self._id = model_id(model)
        self._refused: set[str] = set()
        """Fields that the server refused."""
        self._renamed: dict[str, str] = {}
        """Fields that it takes under another name."""

    @override
    async def open(self, settings: LoadSettings, on_progress: ProgressCallback) -> Opened:
        model, context = await make_ready(self._client, self._server, self._model, settings, on_progress)
        return Opened(model, replace(settings, num_ctx=context or 0), ())

    @override
    def question(self, request: Request, seed: int) -> Question:
        body: dict[str, Any] = {"model": self._id, "stream": True}
        body["stream_options"] = {"include_usage": True}
        if self._server.kind == "vLLM":
            # Several tokens may come in one piece; with this each piece has a count.
            body["stream_options"]["continuous_usage_stats"] = True
        if self._server.kind == "llama-server":
            body["return_progress"] = True
        given, form = chosen(request), format_fields(request.sampling.format, self._server)
        body |= self._sampling(given, seed)
        size = len(text_of(request).encode("utf-8", "replace"))
        path = "/v1/completions"
        if request.tokens is not None:
            if self._server.kind not in {"llama-server", "vLLM"}:
                raise refuse_tokens("This server")
            body["prompt"], size = list(request.tokens), len(request.tokens) * 4
        elif request.prompt is not None:
            body["prompt"] = request.prompt
        else:
            path, body["messages"] = "/v1/chat/completions", as_messages(request)
            body |= self._thinking("off" if "grammar" in form else request.sampling.think, request.sampling)
            if request.alternatives:
                body |= {"logprobs": True, "top_logprobs": request.alternatives}
            if request.continues:
                self._continue(request.messages[-1], body)
        body |= form
        kept = {self._renamed.get(name, name): value for name, value in body.items() if name not in self._refused}
        return Question(path, kept, size, seed if "seed" in kept else None, self._missing(given, form))

    def _thinking(self, think: str, sampling: Sampling) -> dict[str, Any]:
        """The fields that control thinking, for templates where the server passes variables on to them."""
        values = _budget(think, sampling.think_budget) if self._server.kind == "llama-server" else {}
        if think == "default":
            return values
        if self._server.kind not in CONTINUES:
            return values | {"reasoning_effort": {"off": "none", "on": "medium"}.get(think, think)}
        switches: dict[str, Any] = {"enable_thinking": think != "off", "thinking": think != "off"}
        if think in EFFORTS:
            values["reasoning_effort"] = switches["reasoning_effort"] = think
        return values | {"chat_template_kwargs": switches}

    def _continue(self, beginning: Message, body: dict[str, Any]) -> None:
        """Have the server continue the last message. The others continue it by themselves, but no thoughts."""
        if self._server.kind in CONTINUES:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
            if beginning.reasoning:
                body["messages"][-1]["reasoning_content"] = beginning.reasoning
        elif not beginning.content:
            raise refuse_thoughts("This server")

    def _sampling(self, given: Mapping[str, Any], seed: int) -> dict[str, Any]:
        names = {name: name for name in PLAIN} | dict(OWN.get(self._server.kind, {}))
        values: dict[str, Any] = {theirs: given[ours] for ours, theirs in names.items() if ours in given}
        if self._server.kind == "TGI":
            # Unlike all others it refuses a top_p of 1 (keep all) and a temperature of 0 (greedy).
            values = {name: value for name, value in values.items() if (name, value) not in _TGI_REFUSES}
        if self._server.kind == "llama-server":
            values |= _further(given)
        if given.get("logit_bias") and self._server.kind not in NO_BIAS:
            values["logit_bias"] = _biases(given["logit_bias"], self._server.kind)
        if given.get("num_predict", -1) >= 0:
            values["max_tokens"] = given["num_predict"]
        if given.get("stop"):
            values["stop"] = list(given["stop"])
        return values | {"seed": seed}

    def _missing(self, given: Mapping[str, Value], form: Mapping[str, Any]) -> tuple[str, ...]:
        """The parameters that this server does not take; `form` has its fields for the format."""
        kind = self._server.kind
        taken = {*PLAIN, *OWN.get(kind, {}), "seed", "num_predict", "stop", "think"}
        taken |= {*FURTHER, "think_budget"} if kind == "llama-server" else set()
        taken |= set() if kind in NO_BIAS else {"logit_bias"}
        taken |= {"format"} if form else set()
        if "grammar" in form and given.get("think") not in {"default", "off"}:
            # llama-server applies a grammar from the first token on, and a schema after the thoughts.
            taken -= {"think"}
        return without(given, taken)

    @override
    def milder(self, question: Question, answer: HttpResponse) -> Question | None:
        if answer.status not in {400, 422} or is_context_error(answer.body):
            return None
        words = message_in(answer.body) or answer.text
        body = dict(question.body)
        if "max_completion_tokens" in words and "max_tokens" in body:
            self._renamed["max_tokens"] = "max_completion_tokens"
            body["max_completion_tokens"] = body.pop("max_tokens")
            return replace(question, body=body)
        needed = {"model", "messages", "prompt", "stream"}
        named = {name for name in body if name not in needed and re.search(rf"\b{name}\b", words)}
        # Without a name it is a guess, for this question alone: a value may be wrong, or the message too long.
        refused = named or {name for name in _EXTRAS if name in body}
        if not refused:
            return None
        self._refused |= named
        left = {name: value for name, value in body.items() if name not in refused}
        reported = (*question.refused, *sorted(refused.difference(_EXTRAS)))
        return replace(question, body=left, seed=question.seed if "seed" in left else None, refused=reported)

    @override
    def frames(self) -> Frames:
        return ServerSentEvents()

    @override
    def parser(self, question: Question, submitted_ns: int, limit: int) -> AnswerParser:
        return OpenAIAnswerParser(self._client.address, self._id, submitted_ns, question.prompt_bytes, limit)


def _budget(think: str, budget: int) -> dict[str, Any]:
    """The fields of a budget of thoughts for llama-server."""
    if think == "off":
        # For a template without a variable for it. 0 spoils the mark that ends a block which the prompt opens.
        return {"reasoning_budget_tokens": 1}
    if budget < 0:
        return {}
    return {"reasoning_budget_tokens": budget, "reasoning_budget_message": SHORT_OF_TIME}


def _further(given: Mapping[str, Any]) -> dict[str, Any]:
    """The samplers that only llama-server has."""
    values = {name: given[name] for name in FURTHER if name in given}
    if given.get("adaptive_target", -1) >= 0:
        # It applies adaptive-p where the order names it.
        values["samplers"] = [*given.get("samplers", SAMPLERS), "adaptive_p"]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _biases(biases: Sequence[str], kind: ServerKind) -> object:
    """The bias of tokens; JSON has no infinity."""
    pairs = [(token, float(bias)) for token, _, bias in (text.partition("=") for text in biases)]
    if kind == "llama-server":
        return [[int(token), bias if math.isfinite(bias) else False] for token, bias in pairs]
    return {token: max(LEAST_BIAS, bias) for token, bias in pairs}


_TGI_REFUSES = {("top_p", 1.0), ("temperature", 0.0)}


class OpenAIAnswerParser(AnswerParser):
    """Parses the events of an answer, with the extensions of each kind of server."""

    @override
    def _take(self, value: Mapping[str, Any], at_ns: int) -> None:
        progress = value.get("prompt_progress")
        if isinstance(progress, dict):
            done, total, cached = (count(progress.get(name)) for name in ("processed", "total", "cache"))
            if done is not None and total:
                self._progress(done, total, cached or 0, at_ns)
        choices = value.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self._take_choice(choices[0], at_ns)
        self._take_figures(value, at_ns)

    def _take_choice(self, choice: Mapping[str, Any], at_ns: int) -> None:
        if self.reason is not None:
            # Text after the end belongs to no answer.
            return
        self._choices += read_choices(fields(choice.get("logprobs")).get("content"))
        delta = choice.get("delta")
        if isinstance(delta, dict):
            thoughts = (delta.get(name) for name in ("reasoning_content", "reasoning", "thinking"))
            self._text(next(filter(None, thoughts), None), "reasoning", at_ns)
            self._text(delta.get("content"), "answer", at_ns)
            self._text(delta.get("refusal"), "answer", at_ns)
        else:
            self._text(choice.get("text"), "answer", at_ns)
        if finish := choice.get("finish_reason"):
            # The others are `stop`, TGI's `eos_token` and `stop_sequence`, calls of tools, and filters.
            self.reason = "length" if finish == "length" else "stop"

    def _take_figures(self, value: Mapping[str, Any], at_ns: int) -> None:
        usage, timings, stats, metrics = (value.get(name) for name in ("usage", "timings", "stats", "metrics"))
        if isinstance(usage, dict):
            self._take_usage(usage, at_ns)
        if isinstance(timings, dict):
            self._take_timings(timings)
        if isinstance(stats, dict):
            # LM Studio, in seconds.
            first, writing = (number(stats.get(name)) for name in ("time_to_first_token", "generation_time"))
            self.timings = Timings(None if first is None else first * 1e3, None if writing is None else writing * 1e3)
        if isinstance(metrics, dict):
            # vLLM with --enable-per-request-metrics.
            first, queued, gap = (
                number(metrics.get(name)) for name in ("time_to_first_token_ms", "queue_time_ms", "mean_itl_ms")
            )
            tokens = self.completion_tokens or self.tokens
            decode = None if gap is None or tokens < 2 else gap * (tokens - 1)
            self.timings = Timings(None if first is None else max(0.0, first - (queued or 0.0)), decode)

    def _take_usage(self, usage: Mapping[str, Any], at_ns: int) -> None:
        prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
        if prompt is not None:
            self.prompt_tokens = prompt
        cached = count(fields(usage.get("prompt_tokens_details")).get("cached_tokens"))
        if cached is not None:
            self.cached_tokens = cached
        details = usage.get("completion_tokens_details")
        if isinstance(details, dict) and not self.thoughts:
            self.unseen_tokens = count(details.get("reasoning_tokens")) or 0
        if completion is not None:
            if self.reason is None and completion > self.tokens + self.unseen_tokens:
                self._counted(completion - self.unseen_tokens, at_ns)
            self.completion_tokens = completion

    def _take_timings(self, timings: Mapping[str, Any]) -> None:
        """llama-server's own timings: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md."""
        prompt, cached, written = (count(timings.get(name)) for name in ("prompt_n", "cache_n", "predicted_n"))
        if prompt is not None:
            self.cached_tokens = cached or 0
            if self.prompt_tokens is None:
                self.prompt_tokens = prompt + (cached or 0)
        if written is not None and self.completion_tokens is None:
            self.completion_tokens = written
        self.timings = Timings(number(timings.get("prompt_ms")), number(timings.get("predicted_ms")))
