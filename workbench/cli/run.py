"""`workbench run`: one answer without a screen."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from contextlib import suppress

from workbench.cli.composition import Workers, compose, describe_problem
from workbench.cli.options import add_json, add_settings, settings, system_prompt
from workbench.cli.output import error_document, note, print_json
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Engine, Request
from workbench.core.errors import ParameterError
from workbench.core.events import Failed, Finished, Token
from workbench.core.metrics import AnswerMetrics, Meter
from workbench.core.parameters import LoadSettings
from workbench.ui.kit.sanitize import clean

FAILED, INTERRUPTED = 1, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "Ask a model once. The answer streams to standard output; what it cost goes to standard error."
    known = "`demo`, a .gguf file, a Modelfile, NAME:QUANT, or http://HOST:PORT#MODEL"
    parser.add_argument("model", metavar="MODEL", help=known)
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", help="what to ask; without it, standard input is read")
    parser.add_argument("--raw", action="store_true", help="no chat template: the model goes on from the prompt")
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Answer once; 130 where the user stopped it."""
    workers = compose()
    for problem in workers.problems:
        note(describe_problem(problem, workers.paths.config_file))
    recipe = workers.catalog.recipe(options.model)
    sampling, load = settings(options, workers.config, recipe)
    prompt = sys.stdin.read() if options.prompt is None else options.prompt
    if not prompt.strip():
        raise ParameterError("The prompt is empty.", "Write it after the model, or send it to standard input.")
    system = system_prompt(options, workers.config, recipe)
    if options.raw and options.system:
        raise ParameterError("--raw has no system prompt: no template tells it from the rest.", "Write it into PROMPT.")
    if options.raw:
        if recipe is not None and (recipe.system or recipe.messages):
            note("workbench: --raw leaves out the system prompt and the messages of the Modelfile.")
        request = Request(prompt=prompt, sampling=sampling)
    else:
        opening = (Message("system", system),) if system else ()
        examples = recipe.messages if recipe is not None else ()
        request = Request(
            messages=(*opening, *examples, Message("user", prompt)),
            sampling=sampling,
            when_context_full=workers.config.when_context_full,
        )
    return asyncio.run(_Answer(options, workers, request, load).write())


class _Answer:
    """Loads a model, asks it once, and prints what comes."""

    def __init__(self, options: argparse.Namespace, workers: Workers, request: Request, load: LoadSettings) -> None:
        self._options = options
        self._workers = workers
        self._request = request
        self._load = load
        self._cancel = CancelToken()
        self._text: list[str] = []
        self._reasoning: list[str] = []

    async def write(self) -> int:
        # Windows has no such handler; there, Ctrl+C raises KeyboardInterrupt.
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._cancel.set)
        host = self._workers.engines
        try:
            engine = await host.open(self._options.model, self._load, self._on_progress, self._cancel)
            for warning in engine.info.warnings:
                note(f"workbench: {warning}")
            end, metrics = await self._generate(engine)
            if isinstance(end, Failed) and not (self._options.json and (self._text or self._reasoning)):
                raise end.error
            self._report(engine, end, metrics)
        finally:
            await host.shutdown()
        if isinstance(end, Failed):
            return FAILED
        return INTERRUPTED if end.reason == "cancelled" else 0

    def _on_progress(self, fraction: float) -> None:
        if sys.stderr.isatty():
            end = "\r\x1b[K" if fraction >= 1.0 else ""
            print(f"\rLoading {fraction:4.0%}{end}", end="", file=sys.stderr, flush=True)

    async def _generate(self, engine: Engine) -> tuple[Finished | Failed, AnswerMetrics]:
        meter = Meter(time.perf_counter_ns(), engine.info.load_ms, engine.info.measured_by)
        async for batch in engine.generate(self._request, self._cancel):
            for event in batch:
                meter.feed(event)
                if isinstance(event, Token | Finished):
                    self._take(event)
            self._show_batch(batch)
        end = batch[-1]
        assert isinstance(end, Finished | Failed)
        return end, meter.metrics()

    def _take(self, event: Token | Finished) -> None:
        (self._text if event.kind == "answer" else self._reasoning).append(event.text)

    def _show_batch(self, batch: tuple[object, ...]) -> None:
        if self._options.json:
            return
        text = "".join(event.text for event in batch if isinstance(event, Token | Finished) and event.kind == "answer")
        sys.stdout.write(clean(text) if sys.stdout.isatty() else text.encode("utf-8", "replace").decode())
        sys.stdout.flush()

    def _report(self, engine: Engine, end: Finished | Failed, metrics: AnswerMetrics) -> None:
        if self._options.json:
            document = self._document(engine, metrics)
            if isinstance(end, Failed):
                # Without a word from the server at the end, its pieces are counted and taken for tokens.
                document["estimated"] = metrics.source != "engine"
                document["error"] = error_document(end.error)
            else:
                document |= {"finish_reason": end.reason, "seed": end.seed}
            print_json(document)
            return
        print()
        note(_summary(metrics))
        if isinstance(end, Finished) and end.notice:
            note(f"workbench: {end.notice}")

    def _document(self, engine: Engine, metrics: AnswerMetrics) -> dict[str, object]:
        """What came, with its figures. How it ended is still to be put in."""
        info = engine.info
        return {
            "model": info.model.name,
            "quant": info.model.quant,
            "text": "".join(self._text),
            "reasoning": "".join(self._reasoning) or None,
            "prompt_tokens": metrics.prompt_tokens,
            "cached_tokens": metrics.cached_tokens,
            "completion_tokens": metrics.completion_tokens,
            "load_ms": metrics.load_ms,
            "ttft_ms": metrics.ttft_ms,
            "ttfo_ms": metrics.ttfo_ms,
            "prefill_tps": metrics.prefill_tps,
            "decode_tps": metrics.decode_tps,
            "itl_p50_ms": metrics.itl_p50_ms,
            "itl_p95_ms": metrics.itl_p95_ms,
            "finish_reason": None,
            "seed": None,
            "backend": info.backend,
            "source": metrics.source,
            "latency_source": metrics.latency_source,
            "estimated": metrics.estimated,
            "peak_bytes": info.memory.total_bytes if info.memory else None,
        }


def _summary(metrics: AnswerMetrics) -> str:
    """The figures of an answer, on one line."""

    def shown(value: float | None, form: str) -> str:
        return "—" if value is None else format(value, form)

    by = "" if metrics.source == "engine" else f" (by the {metrics.source})"
    return (
        f"{shown(metrics.decode_tps, '.1f')} tokens/s decode, {shown(metrics.prefill_tps, '.0f')} prefill{by}, "
        f"TTFT {shown(metrics.ttft_ms, '.0f')} ms, {metrics.prompt_tokens or 0} prompt tokens, "
        f"{metrics.completion_tokens or 0} written, load {shown(metrics.load_ms, '.0f')} ms"
    )
