"""`workbench abx`: a blind test of two models."""

from __future__ import annotations

import argparse
import asyncio
import sys
from functools import partial

from workbench.cli.composition import Workers, compose
from workbench.cli.eval import candidates
from workbench.cli.main import INTERRUPTED
from workbench.cli.options import add_json, add_output, add_settings, output_path
from workbench.cli.output import (
    note,
    note_error,
    note_problems,
    print_json,
    print_table,
    say,
    show_beside,
    write_result,
)
from workbench.cli.progress import ProgressLine, stoppable, stopped_by
from workbench.core.cancel import CancelToken
from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.user_path import user_path
from workbench.lab.evals.blind import USUAL_TRIALS, BlindPlan, BlindTest
from workbench.lab.evals.blind_record import BlindKind, BlindTrial, Choice
from workbench.lab.evals.blind_report import FORMS, as_json, beside
from workbench.lab.evals.from_session import cases_of
from workbench.lab.evals.pack import EvalCase, of_prompts
from workbench.lab.evals.read_pack import find_pack

VOTES: dict[str, Choice] = {"1": "first", "2": "second", "0": "neither"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "A blind test. Two answers to a prompt are shown without names, in random order, and a third one, X: which of "
        "the two models wrote it? Votes are read from standard input, a line each: 1 or 2, q stops. All answers are "
        "generated first. Names are shown at the end, with an exact test."
    )
    parser.add_argument("models", metavar="MODEL", nargs="*", help="two models")
    parser.add_argument("--preference", action="store_true", help="which answer is better? 0 votes for neither")
    parser.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="a prompt; may be repeated")
    parser.add_argument("--session", metavar="SESSION", help="the questions of a session, `last` for the newest")
    parser.add_argument("--pack", metavar="PACK", help="the prompts of a pack")
    parser.add_argument(
        "--trials", type=int, default=USUAL_TRIALS, metavar="N", help=f"votes, fixed beforehand ({USUAL_TRIALS})"
    )
    add_output(parser)
    parser.add_argument("--list", action="store_true", help="list the kept tests")
    parser.add_argument(
        "--show", metavar="ID", nargs="+", help="show one of them (`last` is the newest), or two beside each other"
    )
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Generate, take the votes, and say what they show; 130 where the user stopped it."""
    workers = compose()
    options.output = output_path(options.output, FORMS)
    if options.list or options.show:
        return _kept(options, workers)
    note_problems(workers.problems, workers.paths.config_file)
    if len(options.models) != 2:
        raise ParameterError(f"A blind test has two models, not {len(options.models)}.", "Write workbench abx A B.")
    test = BlindTest(_plan(options, workers), workers, workers.engines, workers.adviser, lambda: _progress(test, line))
    line = ProgressLine()
    asyncio.run(stoppable(partial(_prepare, workers, test, line)))
    record = test.record
    if record is None:
        return INTERRUPTED
    for text in dict.fromkeys(record.left_out):
        note(f"workbench: {record.left_out.count(text)} trials left out: {text}")
    stopped = _take_votes(test)
    return _finish(options, test, stopped=stopped)


def _plan(options: argparse.Namespace, workers: Workers) -> BlindPlan:
    cases = list(of_prompts(options.prompt))
    if options.session:
        cases += cases_of(asyncio.run(workers.sessions.open_session(options.session)))
    if options.pack:
        cases += find_pack(str(user_path(options.pack))).cases
    if not cases:
        raise ParameterError("A blind test needs prompts.", "Write --prompt TEXT, --session SESSION or --pack PACK.")
    first, second = candidates(options, workers, greedy=False)
    kind: BlindKind = "preference" if options.preference else "abx"
    plan = BlindPlan(kind, (first, second), tuple(map(_without_checks, cases)), options.trials)
    plan.check()
    return plan


def _without_checks(case: EvalCase) -> EvalCase:
    return case if not case.checks else EvalCase(case.id, case.messages, max_tokens=case.max_tokens, raw=case.raw)


def _progress(test: BlindTest, line: ProgressLine) -> None:
    if test.record is None:
        line.say(f"Generating {test.done}/{test.total} answers")


async def _prepare(workers: Workers, test: BlindTest, line: ProgressLine, cancel: CancelToken) -> None:
    async with stopped_by(cancel, test.stop, line, workers.engines):
        await test.prepare()


def _take_votes(test: BlindTest) -> bool:
    """Show the trials and read the votes; whether the user stopped before the last."""
    record = test.record
    number, total = 0, len(record.trials) if record else 0
    while (trial := test.next) is not None:
        number += 1
        _show(trial, number, total)
        if (choice := _read(abx=trial.x is not None)) is None:
            return True
        try:
            asyncio.run(test.vote(choice))
        except WorkbenchError as error:
            note_error(error)
        if test.record is not None:
            note(test.record.known)
    return False


def _show(trial: BlindTrial, number: int, total: int) -> None:
    note(f"\n===== Trial {number} of {total}: {trial.question}")
    for name, text in zip(("1", "2", "X"), trial.shown, strict=False):
        note(f"\n----- {name}\n{text.strip()}")


def _read(*, abx: bool) -> Choice | None:
    """A vote; None for `q`, the end of the input and Ctrl+C."""
    question = "Which of the two wrote X? 1, 2, or q: " if abx else "Which is better? 1, 2, 0 for neither, or q: "
    while True:
        note(question, end="", start="\n")
        try:
            line = sys.stdin.readline() if sys.stdin is not None else ""
        except KeyboardInterrupt:
            return None
        except UnicodeDecodeError:
            continue
        if not line or line.strip().casefold() == "q":
            return None
        choice = VOTES.get(line.strip())
        if choice is not None and not (abx and choice == "neither"):
            return choice


def _finish(options: argparse.Namespace, test: BlindTest, *, stopped: bool) -> int:
    record = test.record
    if record is None or not record.voted:
        note("Stopped before the first vote.")
        return INTERRUPTED
    if options.json:
        print_json(as_json(record))
    else:
        say(record.verdict)
    note(f"kept as {record.id}: workbench abx --show {record.id}")
    written = asyncio.run(write_result(options.output, lambda form: FORMS[form](record)))
    return INTERRUPTED if stopped else 0 if written else 1


def _kept(options: argparse.Namespace, workers: Workers) -> int:
    """List the kept tests, or show one."""
    if options.models:
        raise ParameterError("--list and --show ask nothing.", "Leave out the models.")
    runs = workers.blind_runs
    if options.show:
        record, *others = (runs.load(name) for name in options.show)
        if others:
            return show_beside(options, record, others, as_json, beside)
        print_json(as_json(record)) if options.json else say(record.verdict)
        return 0 if asyncio.run(write_result(options.output, lambda form: FORMS[form](record))) else 1
    if options.json:
        print_json([as_json(record) for record in runs.records()])
    else:
        rows = [(record.id, record.kind, record.verdict) for record in runs.records()]
        print_table(("id", "kind", "verdict"), rows) if rows else note("No blind tests are kept yet.")
    return 0
