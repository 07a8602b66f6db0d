"""`workbench serve`: a model as an HTTP API for other programs."""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from workbench.cli.composition import Workers, compose, describe_problem
from workbench.cli.options import (
    MODEL_HELP,
    add_json,
    add_settings,
    given_values,
    origins,
    settings,
    system_prompt,
)
from workbench.cli.output import note, print_json
from workbench.cli.progress import ProgressLine, show_loading, stoppable
from workbench.core.cancel import CancelToken
from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.origins import set_names, with_recommended

if TYPE_CHECKING:
    from workbench.serve.app import Access

PORT = 11435
"""One beside Ollama's."""
AT_ONCE = 4
"""Answers that are computed together where num_parallel is not set."""
KEY_VARIABLE = "WORKBENCH_API_KEY"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


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
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise WorkbenchError(
            "Serving needs two more packages.", "Install them: pip install 'workbench[serve]'"
        ) from None
    workers = compose()
    for problem in workers.problems:
        note(describe_problem(problem, workers.paths.config_file))
    model = options.model or workers.config.model
    if not model:
        raise ParameterError("No model is named, here or in the config.", "Write it: workbench serve MODEL")
    access = _access(options)
    return asyncio.run(stoppable(partial(_serve, options, workers, model, access)))


def _access(options: argparse.Namespace) -> Access:
    from workbench.serve.app import Access

    key = options.key or os.environ.get(KEY_VARIABLE, "")
    if options.host not in _LOOPBACK and not key:
        raise ParameterError(
            f"{options.host} can be reached from other machines, and no key is set.",
            f"Set one with --key or {KEY_VARIABLE}, or leave --host out.",
        )
    base = Access()
    return Access(base.hosts | {options.host, *options.allow_host}, key, frozenset(options.allow_origin))


async def _serve(options: argparse.Namespace, workers: Workers, model: str, access: Access, cancel: CancelToken) -> int:
    from workbench.serve.app import Api
    from workbench.serve.server import ApiServer, listen
    from workbench.serve.service import Service

    recipe = workers.catalog.recipe_with_kept(model)
    sampling, load = settings(options, workers.config, recipe)
    if "num_parallel" not in given_values(options) and load.num_parallel == 1:
        load = replace(load, num_parallel=AT_ONCE)
    listener = listen(options.host, options.port)
    line = ProgressLine(on_terminals_only=True)
    try:
        engine = await workers.engines.open(model, load, partial(show_loading, line), cancel)
        for warning in engine.info.warnings:
            note(f"workbench: {warning}")
        sampling, sources = with_recommended(
            sampling, origins(options, workers.config, recipe), engine.info.recommended
        )
        service = Service(
            engine,
            name=model,
            sampling=sampling,
            given=set_names(sources),
            system=system_prompt(options, workers.config, recipe),
            opening=recipe.messages if recipe is not None else (),
            when_context_full=workers.config.when_context_full,
        )
        server = ApiServer(Api(service, access).app())
        cancel.on_set(server.stop)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        at_once = f"{load.num_parallel} answers at once" if load.num_parallel > 1 else "one answer at a time"
        address = f"http://{shown}:{port}"
        if options.json:
            print_json({"model": model, "address": address, "num_parallel": load.num_parallel})
        else:
            note(f"workbench: {model} is served at {address}/v1, {at_once}. Ctrl+C ends.")
        await server.serve([listener])
    finally:
        listener.close()
        await workers.engines.shutdown()
    return 0
