"""`workbench bench`: how fast models are, measured so that it can be believed."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace

from workbench.cli.bench_kept import list_runs, show_runs
from workbench.cli.bench_run import Measuring
from workbench.cli.bench_sweep import add_sweep_arguments, confirm, sweep_plan
from workbench.cli.composition import compose, describe_problem
from workbench.cli.options import add_json
from workbench.cli.output import note
from workbench.core.errors import ParameterError
from workbench.core.servers import is_server_ref
from workbench.lab.bench.grid import (
    FROM_MODELFILES,
    OPTIONS,
    Grid,
    parse_number,
    parse_numbers,
    parse_option,
    parse_pairs,
)
from workbench.lab.bench.plan import BenchPlan

MOST_REPETITIONS = 10_000

_HELP = {
    "-p": "prompt lengths (pp); 0 for none (512)",
    "-n": "numbers of generated tokens (tg); 0 for none (128)",
    "-d": "tokens that are in the context already (0)",
    "-t": "threads; 0 is one for each physical core (0)",
    "-b": "prompt tokens handed over at once (2048)",
    "-ub": "prompt tokens computed at once (512)",
    "-ngl": "layers on the GPU; -1 is as many as fit (-1)",
    "-ctk": "types of the keys in the KV cache (f16)",
    "-ctv": "types of the values in the KV cache (f16)",
    "-fa": "flash attention: on, off, auto (auto)",
    "--parallel": "numbers of sequences that are computed together, such as 1,2,4,8",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Time models as llama-bench does: random tokens, no sampling, warmed up and repeated. Lists take commas and "
        "ranges (128,256-1024*2) and make a grid. Ctrl+C stops it and keeps what is done. Every run is kept. "
        "With --server, ask a server with more and more users at the same time."
    )
    parser.add_argument("models", metavar="MODEL", nargs="*", help="`demo`, .gguf files, or NAME:QUANT")
    for option in OPTIONS:
        parser.add_argument(option, metavar="LIST", action="append", default=[], help=_HELP[option])
    parser.add_argument(
        "-pg", metavar="PP,TG", action="append", default=[], help="a prompt and generated tokens, timed together"
    )
    parser.add_argument("-r", metavar="N", help="repetitions; with --server, the questions of each user (5)")
    parser.add_argument("--pairs", metavar="N", help="compare two models, or one in two ways, in N pairs")
    parser.add_argument(
        "--felt", metavar="LIST", help="times to the first words and to the end, for prompts of these lengths"
    )
    parser.add_argument("--cache", action="store_true", help="with --felt: ask every prompt again, from the cache")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="what the random tokens are drawn with (1)")
    parser.add_argument("--no-warmup", action="store_true", help="do not warm up")
    parser.add_argument("--list", action="store_true", help="the runs that are kept")
    parser.add_argument("--show", metavar="ID", nargs="+", help="one of them (`last` is the newest), or two compared")
    add_sweep_arguments(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, or show what was measured; 1 where something failed, 130 where the user stopped it."""
    if options.list or options.show:
        if options.models or options.server:
            raise ParameterError("--list and --show measure nothing.", "Leave the models away.")
        workers = compose()
        return list_runs(options, workers.bench_runs) if options.list else show_runs(options, workers.bench_runs)
    plan = _plan(options)
    if plan.sweep is not None:
        confirm(plan.sweep, yes=options.yes)
    workers = compose()
    for problem in workers.problems:
        note(describe_problem(problem, workers.paths.config_file))
    recipes = {model: workers.catalog.resolve(model).recipe for model in plan.grid.models if not is_server_ref(model)}
    plan = replace(plan, grid=plan.grid.described(recipes, _given(options)))
    if not plan.felt:
        plan.grid.cases()
        for model in dict.fromkeys(plan.grid.models):
            if words := plan.grid.own_words(model):
                note(f"workbench: {model} says {' '.join(words)}.")
    return asyncio.run(Measuring(plan, workers, options.json).run())


def _plan(options: argparse.Namespace) -> BenchPlan:
    """What the arguments ask for.

    Raises:
        ParameterError: They make no sense.
    """
    sweep = sweep_plan(options)
    if sweep is not None:
        return BenchPlan(Grid(()), repetitions=sweep.settings.repetitions, seed=options.seed, sweep=sweep)
    if not options.models:
        raise ParameterError("No model is named.", "Write `workbench bench MODEL`; `workbench models` lists them.")
    repetitions = parse_number(options.r or "5", "-r", 1, MOST_REPETITIONS)
    pairs = None if options.pairs is None else parse_number(options.pairs, "--pairs", 1, MOST_REPETITIONS)
    grid = _grid(options)
    felt = () if options.felt is None else parse_numbers(options.felt, "--felt", 1)
    if sum((pairs is not None, bool(felt), bool(grid.sequences))) > 1:
        raise ParameterError("--pairs, --felt and --parallel are three kinds of run.", "Give one of them.")
    if options.cache and not felt:
        raise ParameterError("--cache belongs to --felt.", "Write --felt 128,512 --cache.")
    if not felt and any(map(is_server_ref, grid.models)):
        raise ParameterError(
            "The model of a server cannot be timed so.",
            "--felt asks it as a user does, --server URL puts it under load.",
        )
    grid.cases()
    if pairs is not None and len(grid.arms()) != 2:
        raise ParameterError(
            f"--pairs compares two, and this makes {len(grid.arms())}.",
            "Name two models, or one and a list of two values, such as -ctk f16,q8_0.",
        )
    return BenchPlan(
        grid=grid,
        repetitions=repetitions,
        pairs=pairs,
        felt=felt,
        cache=options.cache,
        seed=options.seed,
        warm=not options.no_warmup,
    )


def _given(options: argparse.Namespace) -> set[str]:
    """The fields of the grid that the user has said something of."""
    return {name for option, name in OPTIONS.items() if name in FROM_MODELFILES and getattr(options, option[1:])}


def _grid(options: argparse.Namespace) -> Grid:
    values: dict[str, tuple[object, ...]] = {"models": tuple(options.models)}
    for option, field in OPTIONS.items():
        # Given more than once, the lists are put together, as in llama-bench.
        found = [value for text in getattr(options, option.lstrip("-")) for value in parse_option(option, text)]
        if found:
            values[field] = tuple(dict.fromkeys(found))
    if options.pg:
        values["n_pg"] = tuple(dict.fromkeys(parse_pairs(text, "-pg") for text in options.pg))
    return Grid(**values)  # type: ignore[arg-type]
