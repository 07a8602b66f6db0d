"""`workbench decide`: which quantization, with which settings, from everything that was measured."""

from __future__ import annotations

import argparse
import asyncio
from functools import partial

from workbench.cli.composition import Workers, compose
from workbench.cli.main import INTERRUPTED
from workbench.cli.options import add_json, add_output, output_path
from workbench.cli.output import (
    note,
    note_error,
    note_problems,
    print_json,
    print_result,
    print_table,
    show_beside,
    write_result,
)
from workbench.cli.progress import ProgressLine, stoppable, stopped_by
from workbench.core.cancel import CancelToken
from workbench.core.errors import DecisionError, ParameterError, WorkbenchError
from workbench.lab.decision.constraints import Constraints, parse_constraint
from workbench.lab.decision.contender import PREFERENCES
from workbench.lab.decision.evidence import Evidence
from workbench.lab.decision.gather import gather
from workbench.lab.decision.measure import Measurement
from workbench.lab.decision.plans import plans_of
from workbench.lab.decision.record import FORMS, DecisionRecord, as_json, as_markdown, beside, modelfile_of, record_of
from workbench.lab.quality.plan import scored_text
from workbench.store.export.session import session_text

LIMITS = {
    "min_speed": ("TOKENS/S", "at least this decode speed"),
    "max_gb": ("GIB", "at most this memory, with the context of --min-context"),
    "min_context": ("N", "at least this context length"),
    "max_kld": ("NATS", "at most this mean divergence from the reference"),
    "min_pass": ("PERCENT", "at least this share of the prompts of an evaluation"),
}
"""The constraints, by their fields."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Choose among the quantizations of a model, from the kept results of `bench`, `quality` and `eval` for this "
        "machine and this build. A constraint counts as met where the whole 95 % interval meets it, and nothing wins "
        "where intervals overlap."
    )
    parser.epilog = (
        "Exit status: 0 a choice, 1 none (unsure, nothing meets the constraints, nothing measured). Fields of --json: "
        "verdict (choice, unsure, none, nothing), sentence, choice, path, rival, need, commands, prefer, constraints, "
        "contenders, notes; docs/decide.md explains them."
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help="any quantization: `demo`, a .gguf file, NAME:QUANT")
    for name, (unit, about) in LIMITS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=unit, help=about)
    parser.add_argument(
        "--prefer",
        choices=PREFERENCES,
        default="auto",
        help="the best of what meets the constraints: by quality, speed or size; auto is speed where only --max-kld or "
        "--min-pass is given, else quality",
    )
    parser.add_argument(
        "--measure", action="store_true", help="first measure what is missing, until there is a choice or no more to do"
    )
    parser.add_argument("--text", metavar="FILE", help="with --measure: the text for divergences")
    parser.add_argument("--markdown", action="store_true", help="print Markdown, as without it")
    parser.add_argument("--modelfile", metavar="FILE", help="write a Modelfile of the choice")
    add_output(parser, "decision")
    parser.add_argument("--list", action="store_true", help="list the kept decisions")
    parser.add_argument(
        "--show", metavar="ID", nargs="+", help="show one of them (`last` is the newest), or two beside each other"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Decide, or show a kept decision; 0 where there is a choice, else 1."""
    workers = compose()
    options.output = output_path(options.output, FORMS)
    options.modelfile = output_path(options.modelfile)
    if options.list or options.show:
        if options.model:
            raise ParameterError("--list and --show decide nothing.", "Leave out the model.")
        return _list(options, workers) if options.list else _show(options, workers)
    if not options.model:
        raise ParameterError("No model is named.", "Write `workbench decide MODEL`; `workbench models` lists them.")
    limits = {name: parse_constraint(name, getattr(options, name) or "") for name in LIMITS}
    constraints = Constraints(**limits)  # type: ignore[arg-type]
    note_problems(workers.problems, workers.paths.config_file)
    return asyncio.run(stoppable(partial(_decide, options, workers, constraints)))


async def _decide(options: argparse.Namespace, workers: Workers, constraints: Constraints, cancel: CancelToken) -> int:
    entry = workers.catalog.resolve(options.model)
    runs = workers.decision_runs
    done: set[object] = set()
    while True:
        evidence = await gather(options.model, entry, workers.catalog, workers, constraints.min_context or 0)
        record = record_of(options.model, evidence, constraints, options.prefer, runs.new_id())
        need = record.answer.need
        if not options.measure or need is None or need in done or record.answer.verdict == "choice":
            break
        done.add(need)
        await _measure(options, workers, record, evidence, cancel)
        if cancel.is_set:
            return INTERRUPTED
    try:
        await runs.keep(record)
    except WorkbenchError as error:
        note_error(error)
    return await asyncio.to_thread(_finish, options, record)


async def _measure(
    options: argparse.Namespace, workers: Workers, record: DecisionRecord, evidence: Evidence, cancel: CancelToken
) -> None:
    need = record.answer.need
    assert need is not None
    text = None
    if need.kind == "quality":
        known = evidence.quality.options if evidence.quality is not None else ()
        if not known and not options.text:
            raise DecisionError("Divergences need a text.", "Name one with --text FILE.")
        option, value = ("--text", options.text) if options.text else known
        text = await scored_text(option, value, workers.sessions)
    note(record.answer.sentence)
    line = ProgressLine()
    measurement = Measurement(plans_of(need, evidence, text), workers, workers.engines, line.say)
    async with stopped_by(cancel, measurement.stop, line, workers.engines):
        await measurement.run()


def _finish(options: argparse.Namespace, record: DecisionRecord) -> int:
    """Print a decision, and write the files that were asked for."""
    print_result(as_json(record), as_markdown(record), json=options.json)
    written = asyncio.run(write_result(options.output, lambda form: FORMS[form](record)))
    written &= asyncio.run(write_result(options.modelfile, lambda _: modelfile_of(record, session_text)))
    return 0 if record.answer.verdict == "choice" and written else 1


def _show(options: argparse.Namespace, workers: Workers) -> int:
    record, *others = (workers.decision_runs.load(name) for name in options.show)
    return show_beside(options, record, others, as_json, beside) if others else _finish(options, record)


def _list(options: argparse.Namespace, workers: Workers) -> int:
    records = workers.decision_runs.records()
    if options.json:
        print_json(
            [
                {"id": each.id, "at": each.at, "model": each.model, "verdict": each.answer.verdict,
                 "sentence": each.answer.sentence, "command": each.command}
                for each in records
            ]
        )  # fmt: skip
    elif not records:
        note("No decisions are kept yet.")
    else:
        print_table(("id", "model", "answer"), [(each.id, each.model, each.answer.sentence) for each in records])
    return 0
