"""`workbench serve`: a model as an HTTP API for other programs."""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import replace
from functools import partial

from workbench.cli.composition import Workers, compose
from workbench.cli.options import (
    MODEL_HELP,
    add_json,
    add_settings,
    given_values,
    origins,
    settings,
    system_prompt,
)
from workbench.cli.output import note, note_problems, print_json
from workbench.cli.progress import ProgressLine, show_loading, stoppable
from workbench.core.cancel import CancelToken
from workbench.core.errors import ParameterError
from workbench.core.origins import set_names, with_recommended
from workbench.core.serving import AT_ONCE, KEY_VARIABLE, PORT, ServedModel, ServingAddress
from workbench.serve.serving import HttpServing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Serve a model as OpenAI's API (/v1/chat/completions, /v1/completions, /v1/models), Anthropic's (/v1/messages) "
        "and the part of Ollama's that clients need (/api/chat, /api/generate, /api/tags, /api/show), with /health and "
        "/metrics. Several requests are computed together. It listens on the loopback, unless an address and a key are "
        "given."
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", default="", help=f"{MODEL_HELP}; that of the config")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="the address to listen on")
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help="the port (default: %(default)s); 0 is any")
    parser.add_argument(
        "--key", default="", metavar="KEY", help=f"the key that clients have to send; also {KEY_VARIABLE}"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a further name that clients call it by"
    )
    parser.add_argument(
        "--allow-origin", action="append", default=[], metavar="ORIGIN", help="an origin whose web pages may ask"
    )
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl+C."""
    workers = compose()
    note_problems(workers.problems, workers.paths.config_file)
    model = options.model or workers.config.model
    if not model:
        raise ParameterError("No model is named, here or in the config.", "Write it: workbench serve MODEL")
    address = ServingAddress(
        options.host,
        options.port,
        options.key or os.environ.get(KEY_VARIABLE, ""),
        frozenset(options.allow_host),
        frozenset(options.allow_origin),
    )
    return asyncio.run(stoppable(partial(_serve, options, workers, model, address)))


async def _serve(
    options: argparse.Namespace, workers: Workers, model: str, address: ServingAddress, cancel: CancelToken
) -> int:
    recipe = workers.catalog.recipe_with_kept(model)
    sampling, load = settings(options, workers.config, recipe)
    if "num_parallel" not in given_values(options) and load.num_parallel == 1:
        load = replace(load, num_parallel=AT_ONCE)
    stopped = asyncio.Event()
    loop, serving = asyncio.get_running_loop(), HttpServing()
    cancel.on_set(lambda: loop.call_soon_threadsafe(stopped.set))
    line = ProgressLine(on_terminals_only=True)
    serving.listen(address)
    try:
        engine = await workers.engines.open(model, load, partial(show_loading, line), cancel)
        for warning in engine.info.warnings:
            note(f"workbench: {warning}")
        sampling, sources = with_recommended(
            sampling, origins(options, workers.config, recipe), engine.info.recommended
        )
        served = ServedModel(
            engine,
            model,
            sampling,
            set_names(sources),
            system_prompt(options, workers.config, recipe),
            recipe.messages if recipe is not None else (),
            workers.config.when_context_full,
        )
        serving.start(served)
        at_once = f"{load.num_parallel} answers at once" if load.num_parallel > 1 else "one answer at a time"
        if options.json:
            print_json({"model": model, "address": serving.url, "num_parallel": load.num_parallel})
        else:
            note(f"workbench: {model} is served at {serving.url}/v1, {at_once}. Ctrl+C ends.")
        await stopped.wait()
    finally:
        await serving.stop()
        await workers.engines.shutdown()
    return 0
