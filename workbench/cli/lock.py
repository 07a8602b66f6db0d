"""`workbench lock`: figures that are kept in a file, and a check that nothing got worse since."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from workbench.cli.composition import Workers, compose
from workbench.cli.main import CommandParser
from workbench.cli.options import add_json
from workbench.cli.output import note, note_error, note_problems, print_json, print_result, say
from workbench.cli.progress import ProgressLine, stoppable
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, ParameterError, StoppedError, TuneError, WorkbenchError
from workbench.core.json_reader import read_json
from workbench.core.user_path import user_path
from workbench.lab.bench.bench import utc_now
from workbench.lab.evals.record import EvalRecord
from workbench.lab.evals.run import EvalRun
from workbench.lab.quality.job import QualityJob
from workbench.lab.quality.record import QualityRecord
from workbench.lab.tune.lock import (
    LockFile,
    LockReport,
    LockRow,
    as_json,
    as_markdown,
    changes_since,
    check_lockable,
    eval_rows,
    quality_rows,
    speed_rows,
)
from workbench.lab.tune.lock_check import beside_locked, measure_again
from workbench.store.documents import keep_json, write_document

KINDS = ("bench", "quality", "eval")
NEWEST = "last"
RecordT = TypeVar("RecordT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Keep results of `bench`, `quality` and `eval` in FILE, with the digests of the models and the builds; "
        "without options the newest of each. With --check, measure them again and say what got worse beyond noise: "
        "after an update of llama.cpp or of a driver, or for another file of a model."
    )
    parser.epilog = (
        "Exit status of --check: 0 nothing got worse, 1 something did or could not be measured. Fields of its --json: "
        "worse, sentence, rows (kind, what, before, now, interval, worse, better, paired, note), changed, locked_at, "
        "locked_build, build; docs/tune.md explains them."
    )
    parser.add_argument("file", metavar="FILE", help="the file with the locked results, such as workbench.lock.json")
    parser.add_argument("--check", action="store_true", help="measure again, and compare")
    for kind in KINDS:
        parser.add_argument(
            f"--{kind}", metavar="ID", action="append", default=[], help=f"a kept result of `workbench {kind}`, or last"
        )
    parser.add_argument(
        "--former-build",
        metavar="NAME",
        help="with --check: the build of [builds] in the config that was locked; speeds are compared with it in pairs",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE")
    parser.add_argument("-o", "--output", metavar="FILE", help="also write the report of --check to a .md file")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Lock, or check; 1 where something got worse."""
    path = user_path(options.file)
    chosen = {kind: getattr(options, kind) for kind in KINDS}
    if options.check and any(chosen.values()):
        raise ParameterError("--check measures what FILE has.", "Leave out --bench, --quality and --eval.")
    if (options.output or options.former_build) and not options.check:
        raise ParameterError("-o and --former-build belong to --check.", "Add --check.")
    workers = compose()
    note_problems(workers.problems, workers.paths.config_file)
    if not options.check:
        return asyncio.run(stoppable(lambda _: _lock(options, path, chosen, workers)))
    return asyncio.run(stoppable(partial(_check, options, _read(path), workers)))


async def _lock(options: argparse.Namespace, path: Path, chosen: dict[str, list[str]], workers: Workers) -> int:
    if path.exists() and not options.force:
        raise TuneError(f"{path} exists already.", "Check it with --check, or replace it with --force.")
    folders: dict[str, Any] = {"bench": workers.bench_runs, "quality": workers.quality_runs, "eval": workers.eval_runs}
    found: dict[str, list[Any]] = {}
    for kind, folder in folders.items():
        # Without a choice, the newest of each kind that there is.
        names = chosen[kind] or ([NEWEST] if not any(chosen.values()) and folder.ids() else [])
        found[kind] = [folder.load(name) for name in names]
    for record in found["bench"]:
        check_lockable(record)
    if not any(found.values()):
        raise TuneError("Nothing was measured yet that could be locked.", "Run `workbench bench MODEL` first.")
    build = await asyncio.to_thread(workers.build_text, local=True)
    bench, quality, evals = (tuple(found[kind]) for kind in KINDS)
    locked = LockFile(utc_now(), build, (), bench, quality, evals)
    digests = await _digests(locked, workers)
    document = asdict(locked) | {"digests": list(digests.items())}
    await asyncio.to_thread(keep_json, path, document, TuneError, "lock", "Name a file in a folder of your own.")
    counts = {kind: len(records) for kind, records in found.items()}
    if options.json:
        print_json({"file": str(path), **counts, "digests": digests, "build": build})
    else:
        ids = ", ".join(f"{kind} {record.id}" for kind, records in found.items() for record in records)
        say(f"Locked in {path}: {ids}.")
    return 0


def _read(path: Path) -> LockFile:
    try:
        return read_json(LockFile, json.loads(path.read_bytes()), "the lock")
    except OSError as error:
        raise TuneError(f"{path} cannot be read: {error.strerror or error}.", "Write `workbench lock FILE`.") from None
    except (ValueError, RecursionError) as error:
        raise TuneError(f"{path} is no lock: {error}.", "Make it again: `workbench lock FILE --force`.") from None


def _models(locked: LockFile) -> dict[str, str]:
    """The references of all models by the paths of their files; an empty path where the record has none."""
    found = {result.model.path: result.case.ref for record in locked.bench for result in record.results}
    for record in locked.quality:
        for model in (record.reference, *(each.model for each in record.candidates)):
            found[model.path] = model.ref
    return found


async def _digests(locked: LockFile, workers: Workers) -> dict[str, str]:
    """The digests of the files of all models by their paths; empty where there is none."""
    found: dict[str, str] = {}
    refs = [*_models(locked).values(), *(lane.ref for record in locked.evals for lane in record.lanes)]
    for ref in dict.fromkeys(refs):
        try:
            entry = workers.catalog.resolve(ref)
            if entry.path is not None:
                found[entry.path] = await workers.digest(entry)
        except WorkbenchError:
            continue
    return found


async def _former(locked: LockFile, now: dict[str, str], workers: Workers) -> dict[str, str]:
    """For each file that has changed, another one with the locked content, by path."""
    changed = {path: digest for path, digest in locked.digests if digest and now.get(path) != digest}
    if not changed:
        return {}
    sizes = {result.model.path: result.model.file_bytes for record in locked.bench for result in record.results}
    entries = [each for each in await workers.catalog.models() if each.path is not None]
    found: dict[str, str] = {}
    for path, digest in changed.items():
        for entry in entries:
            if entry.path != path and entry.size_bytes == sizes.get(path) and await workers.digest(entry) == digest:
                found[path] = str(entry.path)
                break
    return found


async def _check(options: argparse.Namespace, locked: LockFile, workers: Workers, cancel: CancelToken) -> int:
    if locked.is_empty:
        raise TuneError(f"{options.file} has no results.", "Make it again: `workbench lock FILE --force`.")
    line = ProgressLine()
    build = await asyncio.to_thread(workers.build_text, local=True)
    digests = await _digests(locked, workers)
    try:
        rows = await _rows(locked, digests, workers, line, cancel, options.former_build or "")
    finally:
        line.clear()
        await workers.engines.shutdown()
    if cancel.is_set:
        raise StoppedError("Stopped before everything was measured.")
    report = LockReport(locked, build, tuple(rows), changes_since(locked, build, digests))
    print_result(as_json(report), as_markdown(report), json=options.json)
    if options.output:
        note(f"Written to {await write_document(user_path(options.output), as_markdown(report))}")
    return int(report.is_worse)


async def _rows(
    locked: LockFile, digests: dict[str, str], workers: Workers, line: ProgressLine, cancel: CancelToken, build: str
) -> list[LockRow]:
    rows: list[LockRow] = []
    former = await _former(locked, digests, workers)
    for record in locked.bench:
        now, failures = await measure_again(
            record, workers, cancel, lambda step: line.say(f"{step.fraction:4.0%}  {step.phase} {step.label}")
        )
        for failure in failures:
            note_error(failure)
        duels = await beside_locked(
            record, former, workers, workers.adviser, cancel, lambda step: line.say(f"pairs: {step.label}"), build
        )
        rows += speed_rows(record, now, duels)
    for quality in locked.quality:
        rows += quality_rows(quality, await _noted(_quality_again(quality, workers, line, cancel)))
    for evaluation in locked.evals:
        rows += eval_rows(evaluation, await _noted(_eval_again(evaluation, workers, line, cancel)))
    return rows


async def _noted(measured: Awaitable[RecordT]) -> RecordT | None:
    """What was measured again; None, with a note, where it could not be."""
    try:
        return await measured
    except CancelledError:
        raise
    except WorkbenchError as error:
        note_error(error)
        return None


async def _quality_again(
    record: QualityRecord, workers: Workers, line: ProgressLine, cancel: CancelToken
) -> QualityRecord | None:
    from workbench.cli import quality

    plans = await asyncio.to_thread(lambda: quality.plans_of(_parsed(quality, record.command), workers))
    plan = next(each for each in plans if each.depth == record.depth)
    job = QualityJob(plan, workers, lambda step: line.say(f"{step.fraction:4.0%}  {step.phase} {record.text}"))
    cancel.on_set(job.stop)
    await job.run()
    return job.record


async def _eval_again(record: EvalRecord, workers: Workers, line: ProgressLine, cancel: CancelToken) -> EvalRecord:
    from workbench.cli import eval as evaluation

    plan = await asyncio.to_thread(lambda: evaluation.plan_of(_parsed(evaluation, record.command), workers))

    def show() -> None:
        line.say(f"{asked.done}/{asked.total} {asked.phase}")

    asked = EvalRun(plan, workers, workers.engines, workers.adviser, show)
    cancel.on_set(asked.stop)
    await asked.run()
    for failure in asked.failures:
        note_error(failure)
    return asked.record


def _parsed(command: Any, words: Iterable[str]) -> argparse.Namespace:  # noqa: ANN401 - a module
    """The options of a kept command, without the name of the command."""
    _, *arguments = words
    parser = CommandParser(prog="workbench")
    command.add_arguments(parser)
    return parser.parse_intermixed_args(arguments)
