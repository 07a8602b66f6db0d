"""`workbench quality`: perplexity and divergence over a text."""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Sequence
from functools import partial

from workbench.cli.composition import Workers, compose
from workbench.cli.main import INTERRUPTED
from workbench.cli.options import add_json, add_output, output_path
from workbench.cli.output import note, note_problems, print_json, print_table, say, write_result
from workbench.cli.progress import ProgressLine, stoppable, stopped_by
from workbench.core.cancel import CancelToken
from workbench.core.errors import ParameterError
from workbench.core.parameters import Sampling, Value
from workbench.core.recipe import Recipe
from workbench.core.servers import is_server_ref
from workbench.lab.bench.bench import time_text
from workbench.lab.quality.job import QualitySeries
from workbench.lab.quality.logits import ModelSpec
from workbench.lab.quality.plan import QualityPlan, ScoredText, read_settings, scored_text, spec_of
from workbench.lab.quality.record import QualityRecord
from workbench.lab.quality.report import FORMS, as_json, beside

MODEL_HELP = "`demo`, a .gguf file, a Modelfile, or NAME:QUANT"

_SETTING = re.compile(r"[a-z_]+=")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Perplexity and KL divergence of candidates from a reference, as llama-perplexity defines them, with intervals "
        "that hold for correlated tokens. Settings follow a model after commas, such as demo,type_k=q8_0; without a "
        "model they are those of the reference: ,type_k=q8_0,type_v=q8_0. Ctrl+C keeps what is done."
    )
    parser.add_argument("models", metavar="MODEL", nargs="*", help=f"the reference, then candidates: {MODEL_HELP}")
    text = parser.add_argument_group("the text, one of")
    text.add_argument("--text", metavar="FILE", help="a UTF-8 text file")
    text.add_argument("--session", metavar="ID", help="the messages of a stored conversation; `last` is the newest")
    text.add_argument("--sessions", metavar="N", type=int, help="the messages of the last N conversations")
    parser.add_argument("--ctx", metavar="N", type=int, default=512, help="the tokens of a chunk (512)")
    parser.add_argument(
        "--depth",
        metavar="N[,N…]",
        default="0",
        help="tokens of the text before each chunk, also in the context (0); several are measured one by one",
    )
    parser.add_argument("--chunks", metavar="N", type=int, help="the most chunks; without it, the whole text")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a load parameter of all models"
    )
    add_output(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print one row of CSV a candidate")
    form.add_argument("--markdown", action="store_true", help="print Markdown, as without it")
    parser.add_argument("--list", action="store_true", help="list the kept measurements")
    parser.add_argument(
        "--show", metavar="ID", nargs="+", help="show one of them (`last` is the newest), or two beside each other"
    )
    add_json(parser)


def _depths(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(map(int, text.split(","))))
    except ValueError:
        raise ParameterError(f"--depth {text}: it is no number.", "Write --depth 4096, or --depth 0,4096.") from None


def run(options: argparse.Namespace) -> int:
    """Measure, or show what was measured; 130 where the user stopped it."""
    workers = compose()
    options.output = output_path(options.output, FORMS)
    if options.list or options.show:
        if options.models:
            raise ParameterError("--list and --show measure nothing.", "Leave out the models.")
        return _list(options, workers) if options.list else _show(options, workers)
    note_problems(workers.problems, workers.paths.config_file)
    return asyncio.run(stoppable(partial(_run, options, workers, plans_of(options, workers))))


def plans_of(options: argparse.Namespace, workers: Workers) -> tuple[QualityPlan, ...]:
    """The measurements that the arguments ask for, one for each depth. Raises WorkbenchError."""
    return _plan(options, workers).at_depths(_depths(options.depth))


def _plan(options: argparse.Namespace, workers: Workers) -> QualityPlan:
    if len(options.models) < 2:
        raise ParameterError(
            "A reference and at least one candidate are needed.",
            "Write `workbench quality REF CANDIDATE… --text FILE`.",
        )
    for name, value, least in (
        ("--ctx", options.ctx, 8),
        ("--depth", min(_depths(options.depth)), 0),
        ("--chunks", options.chunks, 1),
    ):
        if value is not None and value < least:
            raise ParameterError(f"{name} {value} is too small.", f"It is {least} or more.")
    common = read_settings(options.set, "--set")
    reference, own = _split(options.models[0])
    if not reference:
        raise ParameterError("The reference has no model.", f"The first argument is {MODEL_HELP}.")
    specs = [_spec(workers, reference, {**common, **own}, own)]
    for word in options.models[1:]:
        ref, changed = _split(word)
        inherited = {} if ref else own
        specs.append(_spec(workers, ref or reference, {**common, **inherited, **changed}, {**inherited, **changed}))
    text = _text(options, workers)
    words = ["quality", *options.models]
    for option in ("text", "session", "sessions", "chunks"):
        if (value := getattr(options, option)) is not None:
            words += [f"--{option}", str(value)]
    words += ["--ctx", str(options.ctx), *(["--depth", options.depth] if options.depth != "0" else [])]
    words += [word for given in options.set for word in ("--set", given)]
    length, most, command = options.ctx, options.chunks, tuple(words)
    return QualityPlan(specs[0], tuple(specs[1:]), text.name, text.text, length, most_chunks=most, command=command)


def _split(word: str) -> tuple[str, dict[str, Value]]:
    """A model and the settings that follow it after commas."""
    parts = word.split(",")
    count = len(parts)
    while count > 1 and _SETTING.match(parts[count - 1]):
        count -= 1
    return ",".join(parts[:count]), read_settings(parts[count:], word)


def _spec(workers: Workers, ref: str, values: dict[str, Value], shown: dict[str, Value]) -> ModelSpec:
    if is_server_ref(ref):
        raise ParameterError(f"{ref}: a server does not report the logits of a text.", "Choose a model file.")
    recipe = workers.catalog.resolve(ref).recipe
    _, load = (recipe or Recipe()).settings(Sampling(), workers.config.load)
    return spec_of(ref, load, values, shown)


def _text(options: argparse.Namespace, workers: Workers) -> ScoredText:
    given = [name for name in ("text", "session", "sessions") if getattr(options, name) is not None]
    if len(given) != 1:
        raise ParameterError("One text is needed.", "Write --text FILE, --session ID or --sessions N.")
    return asyncio.run(scored_text(f"--{given[0]}", str(getattr(options, given[0])), workers.sessions))


async def _run(options: argparse.Namespace, workers: Workers, plans: Sequence[QualityPlan], cancel: CancelToken) -> int:
    line = ProgressLine()
    series = QualitySeries(plans, workers, lambda: line.say(_state(series)))
    async with stopped_by(cancel, series.stop, line):
        await series.run()
    for text in series.warnings:
        note(f"workbench: {text}")
    _print(options, series.records)
    for record in series.records:
        note(f"kept as {record.id}: workbench quality --show {record.id}")
    written = await write_result(options.output, lambda form: FORMS[form](series.records))
    if series.stopped:
        note("stopped: the results until then are above")
        return INTERRUPTED
    return 0 if written else 1


def _state(series: QualitySeries) -> str:
    progress = series.progress
    if progress is None:
        return ""
    left = "" if progress.left_s is None else f", about {time_text(progress.left_s)} left"
    depth = f"depth {series.plan.depth:,}, " if len(series.plans) > 1 else ""
    figures = []
    for found in progress.figures:
        if found is not None:
            interval = found.kld_interval
            ends = "" if interval is None else f" [{interval[0]:.4f}, {interval[1]:.4f}]"
            figures.append(f"KLD {found.mean_kld:.4f}{ends}")
    return f"{progress.fraction:4.0%}  {depth}{progress.phase}{left}  {'  '.join(figures)}".rstrip()[:150]


def _print(options: argparse.Namespace, records: Sequence[QualityRecord]) -> None:
    if options.json:
        documents = [as_json(record) for record in records]
        print_json(documents if len(documents) > 1 else documents[0])
    else:
        say(FORMS[".csv" if options.csv else ".md"](records).rstrip("\n"))


def _list(options: argparse.Namespace, workers: Workers) -> int:
    records = workers.quality_runs.records()
    if options.json:
        print_json([{"id": each.id, "at": each.at, "text": each.text, "command": each.command} for each in records])
    elif not records:
        note("No measurements of quality are kept yet.")
    else:
        rows = [(each.id, each.reference.label, str(len(each.candidates)), each.text) for each in records]
        print_table(("id", "reference", "candidates", "text"), rows)
    return 0


def _show(options: argparse.Namespace, workers: Workers) -> int:
    if len(options.show) > 2:
        raise ParameterError("--show takes one measurement or two.", "Write --show ID, or --show ID ID.")
    records = [workers.quality_runs.load(name) for name in options.show]
    if len(records) == 2:
        if options.json:
            print_json([as_json(each) for each in records])
        else:
            say(beside(*records))
        return 0
    _print(options, records)
    return 0 if asyncio.run(write_result(options.output, lambda form: FORMS[form](records))) else 1
