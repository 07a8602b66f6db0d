"""`workbench run`: one answer without a screen."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

from workbench.cli.composition import Workers, compose
from workbench.cli.main import INTERRUPTED
from workbench.cli.options import (
    MODEL_HELP,
    add_json,
    add_settings,
    check_formats,
    origins,
    prompt_of,
    settings,
    system_prompt,
)
from workbench.cli.output import error_document, note, note_problems, print_json, say, write_exactly
from workbench.cli.progress import ProgressLine, show_loading, stoppable
from workbench.core.answer import Answer, Outcome
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import ParameterError
from workbench.core.events import Event, Finished, PromptReuse, Token
from workbench.core.metrics import AnswerMetrics, Meter
from workbench.core.models import EngineInfo
from workbench.core.origins import Origins, recommended_text, set_names, sourced_values, with_recommended
from workbench.core.parameters import LoadSettings
from workbench.core.units import figure_text

FAILED = 1
FIGURES = (
    "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "load_ms", "ttft_ms", "ttfo_ms",
    "prefill_tps", "decode_tps", "reasoning_ms", "reasoning_tps", "answer_ms", "answer_tps", "itl_p50_ms", "itl_p95_ms",
)  # fmt: skip
"""The figures of `AnswerMetrics` that `--json` prints."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "Ask a model once. The answer streams to standard output, its figures go to standard error."
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", help="the prompt; standard input where it is left out")
    parser.add_argument("--raw", action="store_true", help="no chat template: the model continues the prompt")
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print one answer; gives 130 where the user stopped it."""
    workers = compose()
    note_problems(workers.problems, workers.paths.config_file)
    recipe = workers.catalog.recipe_with_kept(options.model)
    sampling, load = settings(options, workers.config, recipe)
    prompt = prompt_of(options.prompt)
    if not prompt.strip():
        raise ParameterError("The prompt is empty.", "Write it after the model, or send it to standard input.")
    check_formats([(options.model, sampling)])
    system = system_prompt(options, workers.config, recipe)
    if options.raw and options.system:
        raise ParameterError(
            "--raw takes no system prompt: without a template nothing marks it as one.", "Write it into PROMPT."
        )
    if options.raw:
        if recipe is not None and (recipe.system or recipe.messages):
            note("workbench: --raw leaves out the system prompt and the messages of the model.")
        request = Request(prompt=prompt, sampling=sampling)
    else:
        opening = (Message("system", system),) if system else ()
        examples = recipe.messages if recipe is not None else ()
        request = Request(
            messages=(*opening, *examples, Message("user", prompt)),
            sampling=sampling,
            when_context_full=workers.config.when_context_full,
        )
    given = origins(options, workers.config, recipe)
    return asyncio.run(_answer(options, workers, request, load, given))


async def _answer(
    options: argparse.Namespace, workers: Workers, request: Request, load: LoadSettings, given: Origins
) -> int:
    """Load the model, ask it once, and print what it writes; gives the exit status."""
    line = ProgressLine(on_terminals_only=True)

    async def ask(cancel: CancelToken) -> int:
        engine = await workers.engines.open(options.model, load, partial(show_loading, line), cancel)
        for warning in engine.info.warnings:
            note(f"workbench: {warning}")
        sampling, sources = with_recommended(request.sampling, given, engine.info.recommended)
        asked = replace(request, sampling=sampling, given=set_names(sources))
        if text := recommended_text(sampling, sources):
            note(f"workbench: {text}")
        answer = Answer(Meter(time.perf_counter_ns(), engine.info.load_ms, engine.info.measured_by))
        async for batch in engine.generate(asked, cancel):
            for event in batch:
                answer.feed(event)
            if not options.json:
                _show(batch)
        outcome = answer.outcome()
        if outcome.error is not None and not (options.json and answer.has_text):
            raise outcome.error
        if options.json:
            print_json(_document(engine.info, outcome) | {"settings": sourced_values(sampling, load, sources)})
        else:
            say()
            note(_summary(outcome.metrics))
        if outcome.notice:
            note(f"workbench: {outcome.notice}")
        empty = outcome.reason == "stop" and not answer.has_text
        return FAILED if outcome.error is not None or empty else INTERRUPTED if outcome.reason == "cancelled" else 0

    try:
        return await stoppable(ask)
    finally:
        await workers.engines.shutdown()


def _show(batch: Sequence[Event]) -> None:
    text = "".join(event.text for event in batch if isinstance(event, Token | Finished) and event.kind == "answer")
    write_exactly(text.encode("utf-8", "replace").decode())


def _document(info: EngineInfo, outcome: Outcome) -> dict[str, object]:
    """The answer and its figures as `--json` prints them."""
    metrics, error = outcome.metrics, outcome.error
    document = {
        "model": info.model.name,
        "quant": info.model.quant,
        "text": outcome.message.content,
        "reasoning": outcome.message.reasoning or None,
        **{name: getattr(metrics, name) for name in FIGURES},
        "finish_reason": None if error else outcome.reason,
        "format_state": metrics.format_state,
        "format_problem": (outcome.verdict.problem or None) if outcome.verdict else None,
        "seed": outcome.seed,
        "backend": info.backend,
        "source": metrics.source,
        "latency_source": metrics.latency_source,
        "estimated": metrics.estimated,
        "peak_bytes": info.memory.total_bytes if info.memory else None,
        **_reuse(metrics.reuse),
        "speculation": metrics.speculation and metrics.speculation.document,
    }
    if error is None:
        return document
    # A server that broke off has not sent its count: the pieces of text are counted as tokens.
    return document | {"estimated": metrics.source != "engine", "error": error_document(error)}


def _reuse(reuse: PromptReuse | None) -> dict[str, object]:
    """Where the cached tokens are from, and why others were computed again; null where nobody says."""
    if reuse is None:
        return dict.fromkeys(("cached_from", "prompt_change", "recomputed_because", "kept_bytes"))
    return {
        "cached_from": reuse.source,
        "prompt_change": asdict(reuse.change) if reuse.change else None,
        "recomputed_because": reuse.lost or None,
        "kept_bytes": reuse.kept_bytes,
    }


def _summary(metrics: AnswerMetrics) -> str:
    """The figures of an answer, on one line."""
    by = "" if metrics.source == "engine" else f" (by the {metrics.source})"
    figures = (
        (metrics.decode_tps, ".1f", " tokens/s decode"),
        (metrics.prefill_tps, ".0f", f" prefill{by}"),
        (metrics.ttft_ms, ".0f", " ms TTFT"),
        (metrics.prompt_tokens, "d", " prompt tokens"),
        (metrics.completion_tokens, "d", " written"),
        (metrics.load_ms, ".0f", " ms load"),
    )
    return ", ".join(figure_text(value, form) + unit for value, form, unit in figures)
