"""`workbench eval`: own prompts with checks, to several models."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from functools import partial

from workbench.cli.composition import Workers, compose
from workbench.cli.main import INTERRUPTED
from workbench.cli.options import (
    add_json,
    add_output,
    add_settings,
    check_formats,
    origins,
    output_path,
    settings,
    system_prompt,
)
from workbench.cli.output import (
    note,
    note_error,
    note_problems,
    print_json,
    print_result,
    print_table,
    say,
    with_errors,
    write_result,
)
from workbench.cli.progress import ProgressLine, stoppable, stopped_by
from workbench.core.cancel import CancelToken
from workbench.core.errors import PackError, ParameterError, StoppedError
from workbench.core.user_path import user_path
from workbench.lab.evals.from_session import pack_of
from workbench.lab.evals.pack import EvalPack
from workbench.lab.evals.read_pack import find_pack, shipped_packs
from workbench.lab.evals.record import EvalRecord, beside
from workbench.lab.evals.report import FORMS, as_json, as_markdown
from workbench.lab.evals.run import MOST_CANDIDATES, EvalPlan, EvalRun
from workbench.lab.race.lane import LaneSpec
from workbench.lab.race.setup import RaceTerms
from workbench.store.documents import write_document

SHOWN_PROBLEMS = 10
REPORT_INTERVAL_S = 0.5
"""How often the scores so far are written on a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Ask models the prompts of a pack, check the answers, and compare the models case by case with exact tests. "
        "Models take the most likely token unless --samples asks for several answers. Ctrl+C stops it and keeps the "
        "answers so far. Every evaluation is kept."
    )
    parser.add_argument(
        "pack", metavar="PACK", nargs="?", help=f"a file (docs/evals.md has its form), or {', '.join(shipped_packs())}"
    )
    parser.add_argument("models", metavar="MODEL", nargs="*", help=f"up to {MOST_CANDIDATES} models")
    parser.add_argument("--samples", type=int, default=1, metavar="N", help="answers to each case, with other seeds")
    parser.add_argument("--tag", action="append", default=[], metavar="TAG", help="only the cases with this tag")
    parser.add_argument("--skip-broken", action="store_true", help="go on without the cases that cannot be read")
    add_output(parser)
    parser.add_argument("--list", action="store_true", help="list the kept evaluations")
    parser.add_argument(
        "--show", metavar="ID", nargs="+", help="show one of them (`last` is the newest), or compare two case by case"
    )
    parser.add_argument("--from-session", metavar="SESSION", help="make a pack of a session, in place of an evaluation")
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Ask and judge; 1 where a model could not be asked to the end, 130 where the user stopped it."""
    options.output = output_path(options.output, None if options.from_session else FORMS)
    workers = compose()
    if options.from_session:
        return asyncio.run(_make_pack(options, workers))
    if options.list or options.show:
        if options.pack:
            raise ParameterError("--list and --show ask nothing.", "Leave out the pack and the models.")
        return asyncio.run(_show(options, workers)) if options.show else _list(options, workers)
    note_problems(workers.problems, workers.paths.config_file)
    if not options.pack or not options.models:
        hint = f"Write workbench eval PACK MODEL …; these packs come along: {', '.join(shipped_packs())}."
        raise ParameterError("An evaluation needs a pack and a model.", hint)
    plan = plan_of(options, workers)
    for text in plan.notes:
        note(f"workbench: {text}")
    return asyncio.run(stoppable(partial(_evaluate, options, workers, plan)))


def plan_of(options: argparse.Namespace, workers: Workers) -> EvalPlan:
    """The evaluation that the arguments ask for. Raises WorkbenchError."""
    plan = EvalPlan(_pack(options), candidates(options, workers), options.samples, _command(options))
    plan.check()
    return plan


def _pack(options: argparse.Namespace) -> EvalPack:
    """The pack; raises PackError for a broken case unless these are skipped."""
    pack = find_pack(str(user_path(options.pack)))
    for problem in pack.problems[:SHOWN_PROBLEMS]:
        note(f"workbench: {pack.path}, {problem}")
    if pack.problems and not options.skip_broken:
        count = len(pack.problems)
        raise PackError(
            f"{pack.path}, {pack.problems[0]}." + (f" {count - 1} more cases are broken." if count > 1 else ""),
            "Correct the file, or go on without them with --skip-broken.",
        )
    return pack.only(options.tag)


def candidates(options: argparse.Namespace, workers: Workers, *, greedy: bool | None = None) -> tuple[LaneSpec, ...]:
    """The models of the command line with their settings; greedy ones unless several samples are asked for."""
    found = []
    for ref in options.models:
        recipe = workers.catalog.recipe_with_kept(ref)
        sampling, load = settings(options, workers.config, recipe)
        given = origins(options, workers.config, recipe)
        is_greedy = options.samples == 1 if greedy is None else greedy
        terms = RaceTerms(load, sampling, system_prompt(options, workers.config, recipe), is_greedy, given, "eval")
        found.append(terms.lane(ref, ref, recipe))
    check_formats((spec.ref, spec.sampling) for spec in found)
    return tuple(found)


def _command(options: argparse.Namespace) -> tuple[str, ...]:
    """The arguments that repeat the evaluation."""
    words = ["eval", options.pack, *options.models]
    words += ["--samples", str(options.samples)] if options.samples > 1 else []
    for option, values in (("--tag", options.tag), ("--set", options.set)):
        words += [word for value in values for word in (option, value)]
    for name in ("system", "seed", "max_tokens", "format", "schema", "grammar"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    return tuple([*words, "--skip-broken"] if options.skip_broken else words)


async def _evaluate(options: argparse.Namespace, workers: Workers, plan: EvalPlan, cancel: CancelToken) -> int:
    line = ProgressLine()

    def show() -> None:
        record = found.record
        scores = (
            f"{n}: {score.passed} of {score.judged}" for n, score in zip(record.names, record.scores, strict=True)
        )
        line.say(f"{found.done}/{found.total} {found.phase}  {'  '.join(scores)}"[:150])

    found = EvalRun(plan, workers, workers.engines, workers.adviser, show)
    async with stopped_by(cancel, found.stop, line, workers.engines):
        await found.run()
    record = found.record
    if record.is_empty:
        raise found.failures[0] if found.failures else StoppedError("Stopped before the first answer.")
    print_result(with_errors(as_json(record), found.errors), as_markdown(record), json=options.json)
    if found.unkept is None:
        note(f"kept as {record.id}: workbench eval --show {record.id}")
    else:
        note_error(found.unkept)
    written = await write_result(options.output, lambda form: FORMS[form](record))
    if found.stopped:
        note("stopped: the answers until then are above")
        return INTERRUPTED
    return 1 if found.failures or not written else 0


def _list(options: argparse.Namespace, workers: Workers) -> int:
    records = workers.eval_runs.records()
    if options.json:
        names = ("id", "at", "pack", "models", "cases", "interrupted")
        print_json([{name: getattr(record, name) for name in names} for record in records])
    elif not records:
        note("No evaluations are kept yet.")
    else:
        stopped = {True: ", stopped", False: ""}
        rows = [(record.id, record.pack, _passed(record) + stopped[record.interrupted]) for record in records]
        print_table(("id", "pack", "passed"), rows)
    return 0


def _passed(record: EvalRecord) -> str:
    scores = zip(record.names, record.scores, strict=True)
    return "  ".join(f"{name} {score.passed}/{score.judged}" for name, score in scores)


async def _show(options: argparse.Namespace, workers: Workers) -> int:
    if len(options.show) > 2:
        raise ParameterError("--show takes one evaluation or two.", "Write --show ID, or --show ID ID.")
    record, *others = (workers.eval_runs.load(name) for name in options.show)
    for other in others:
        record = beside(record, other)
    print_result(as_json(record), as_markdown(record), json=options.json)
    return 0 if await write_result(options.output, lambda form: FORMS[form](record)) else 1


async def _make_pack(options: argparse.Namespace, workers: Workers) -> int:
    """Print a pack of a session, or write it."""
    unused: Sequence[str] = [word for word in (options.pack, *options.models) if word]
    if unused:
        raise ParameterError("--from-session makes a pack and asks nothing.", "Leave out the pack and the models.")
    session = await workers.sessions.open_session(options.from_session)
    text = pack_of(session)
    if not options.output:
        if options.json:
            print_json({"session": session.id, "pack": text})
        else:
            say(text.rstrip("\n"))
        return 0
    written = await write_document(options.output, text)
    if options.json:
        print_json({"session": session.id, "path": str(written)})
    else:
        note(f"Written to {written}: add checks, then workbench eval {written} MODEL …")
    return 0
