"""`workbench bench`: the speed of models, with repetitions, intervals and what disturbed them."""

from __future__ import annotations

import argparse
import asyncio

from workbench.cli.bench_kept import list_runs, show_runs
from workbench.cli.bench_run import BenchCommand
from workbench.cli.bench_sweep import add_sweep_arguments, confirm, confirm_load, option_help, sweep_plan
from workbench.cli.composition import compose
from workbench.cli.options import add_json
from workbench.cli.output import note, note_problems
from workbench.core.errors import ParameterError
from workbench.core.kept import kept_recipe
from workbench.core.models import ModelEntry
from workbench.core.recipe import Recipe
from workbench.core.servers import is_server_ref
from workbench.lab.bench.foresight import foresee
from workbench.lab.bench.grid import OPTIONS, Grid, parse_number, parse_numbers, parse_option, parse_pairs
from workbench.lab.bench.plan import MOST_REPETITIONS, BenchPlan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Time models as llama-bench does: random tokens, no sampling, warmed up and repeated. Lists take commas and "
        "ranges (128,256-1024*2) and make a grid. Ctrl+C stops it and keeps the results so far. Every run is kept. "
        "With --server, load a server with more and more users at the same time."
    )
    parser.add_argument("models", metavar="MODEL", nargs="*", help="`demo`, .gguf files, or NAME:QUANT")
    for option, name in OPTIONS.items():
        about = option_help(name, default=option != "--parallel")
        names = (option, "--engine-host") if option == "--build" else (option,)
        parser.add_argument(*names, metavar="LIST", action="append", default=[], help=about)
    parser.add_argument(
        "-pg", metavar="PP,TG", action="append", default=[], help="a prompt and generated tokens, timed together"
    )
    parser.add_argument("-r", metavar="N", help="repetitions; with --server, the questions of each user (5)")
    parser.add_argument("--pairs", metavar="N", help="compare two models, or one in two ways, in N pairs")
    parser.add_argument(
        "--felt", metavar="LIST", help="latency: times to the first token and to the end, for prompts of these lengths"
    )
    parser.add_argument(
        "--cache", action="store_true", help="with --felt: ask every prompt a second time, from the cache"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the seed of the random tokens (1)")
    parser.add_argument("--no-warmup", action="store_true", help="do not warm up")
    parser.add_argument("--list", action="store_true", help="list the kept runs")
    parser.add_argument(
        "--show", metavar="ID", nargs="+", help="show one of them (`last` is the newest), or compare two"
    )
    add_sweep_arguments(parser)
    parser.add_argument(
        "--yes", action="store_true", help="no question before a long run, or the load of a server on another machine"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, or show what was measured; 1 where something failed, 130 where the user stopped it."""
    if options.list or options.show:
        if options.models or options.server:
            raise ParameterError("--list and --show measure nothing.", "Leave out the models.")
        workers = compose()
        return list_runs(options, workers.bench_runs) if options.list else show_runs(options, workers.bench_runs)
    plan = _plan(options)
    if plan.sweep is not None:
        confirm_load(plan.sweep, yes=options.yes)
    workers = compose()
    note_problems(workers.problems, workers.paths.config_file)
    recipes: dict[str, Recipe | None] = {}
    entries: dict[str, ModelEntry] = {}
    for model in plan.grid.models:
        if not is_server_ref(model):
            entry = entries[model] = workers.catalog.resolve(model)
            recipes[model] = kept_recipe(workers.kept.of(entry)).onto(entry.recipe or Recipe())
    given = {name for option, name in OPTIONS.items() if getattr(options, option.lstrip("-"))}
    plan = plan.resolved(recipes, workers.config.load, given)
    plan.check()
    confirm(foresee(plan, entries, workers.bench_runs.records()).doubts, "Nothing was measured.", yes=options.yes)
    for model in dict.fromkeys(plan.grid.models):
        if words := plan.grid.own_words(model):
            note(f"workbench: {model} sets {' '.join(words)}.")
    return asyncio.run(BenchCommand(plan, workers, json=options.json).run())


def _plan(options: argparse.Namespace) -> BenchPlan:
    """What the arguments ask for. Raises ParameterError where they make no sense."""
    sweep = sweep_plan(options)
    if sweep is not None:
        return BenchPlan(Grid(()), repetitions=sweep.settings.repetitions, seed=options.seed, sweep=sweep)
    repetitions = parse_number(options.r or "5", "-r", 1, MOST_REPETITIONS)
    pairs = None if options.pairs is None else parse_number(options.pairs, "--pairs", 1, MOST_REPETITIONS)
    latency = () if options.felt is None else parse_numbers(options.felt, "--felt", 1)
    if sum((pairs is not None, bool(latency), bool(options.parallel))) > 1:
        raise ParameterError("--pairs, --felt and --parallel are three kinds of run.", "Give one of them.")
    if options.cache and not latency:
        raise ParameterError("--cache belongs to --felt.", "Write --felt 128,512 --cache.")
    plan = BenchPlan(
        grid=_grid(options),
        repetitions=repetitions,
        pairs=pairs,
        latency=latency,
        cache=options.cache,
        seed=options.seed,
        warm=not options.no_warmup,
    )
    plan.check()
    return plan


def _grid(options: argparse.Namespace) -> Grid:
    values: dict[str, tuple[object, ...]] = {"models": tuple(options.models)}
    for option, field in OPTIONS.items():
        # An option that is given several times makes one list, as in llama-bench.
        found = [value for text in getattr(options, option.lstrip("-")) for value in parse_option(option, text)]
        if found:
            values[field] = tuple(dict.fromkeys(found))
    if options.pg:
        values["n_pg"] = tuple(dict.fromkeys(parse_pairs(text, "-pg") for text in options.pg))
    return Grid(**values)  # type: ignore[arg-type]
