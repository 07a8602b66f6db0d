"""`workbench tune`: the fastest settings of a model that fit, proved in pairs."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from workbench.cli.composition import Workers, compose
from workbench.cli.main import INTERRUPTED
from workbench.cli.options import add_json, settings
from workbench.cli.output import note, note_error, note_problems, print_result
from workbench.cli.progress import ProgressLine, stoppable, stopped_by
from workbench.core.bench import BenchTest
from workbench.core.cancel import CancelToken
from workbench.core.errors import ParameterError, StoppedError, WorkbenchError
from workbench.core.kept import kept_recipe
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling, Value, check_value
from workbench.core.recipe import Recipe
from workbench.core.servers import is_server_ref
from workbench.core.speculation import NGRAM, OFF
from workbench.lab.bench.bench import BenchProgress, time_text
from workbench.lab.bench.grid import LARGEST, parse_number, parse_numbers
from workbench.lab.bench.plan import MOST_REPETITIONS
from workbench.lab.tune import depth, judgement_record
from workbench.lab.tune.depth import DepthJob, DepthPlan
from workbench.lab.tune.goal import AIMS, BUSY, TunePlan, parse_caches, parse_limits, work_of
from workbench.lab.tune.job import TuningJob
from workbench.lab.tune.judgement import ANSWER, LEAST_ANSWER, PAIRS, JudgementJob, JudgementPlan
from workbench.lab.tune.record import as_json, as_markdown
from workbench.lab.tune.tune import TuneJob

MOST_NAMED = 3
"""Draft models that are proposed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Find the fastest settings of a model: threads, batches, layers and experts on the GPUs, flash attention and, "
        "where --caches allows them, cache types. What does not fit is not loaded; short runs by turns choose, and new "
        "pairs of runs prove what the best is worth beside today's settings. Ctrl+C keeps what is known."
    )
    parser.epilog = (
        "Fields of --json: model, test, verdict (better, already best, noisy, unproved), sentence, ratio, interval, "
        "pairs, disturbed, best, baseline, keep, command, trials, notes, build_commit; docs/tune.md explains them."
    )
    parser.add_argument("model", metavar="MODEL", help="`demo`, a .gguf file, or NAME:QUANT")
    parser.add_argument(
        "--goal",
        choices=AIMS,
        default="mix",
        help="what has to be fast: the answer, the prompt, or both as in a chat (mix)",
    )
    parser.add_argument("-p", metavar="N", help="prompt tokens of a run (512)")
    parser.add_argument("-n", metavar="N", help="generated tokens of a run (32; 64 in a mix)")
    parser.add_argument("-d", metavar="N", default="0", help="tokens in the context before each run (0)")
    parser.add_argument("--users", metavar="N", default="1", help="answers that are computed together (1)")
    parser.add_argument("--max-gb", metavar="GIB", help="the most memory: 6 on each device, or CPU=16,CUDA0=6")
    parser.add_argument("--min-ctx", metavar="N", help="the context length that has to fit (today's)")
    parser.add_argument("--caches", metavar="TYPES", help="cache types that may be used too, such as q8_0,q4_0")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another setting of today")
    parser.add_argument("--pairs", metavar="N", help="pairs of the proof; more where runs differ (10)")
    parser.add_argument(
        "--busy", choices=BUSY, default="wait", help="where other programs compute: wait up to a minute, mark or stop"
    )
    parser.add_argument("--minutes", metavar="N", help="end the search after so long, and prove the best by then")
    parser.add_argument(
        "--depth",
        metavar="LIST",
        nargs="?",
        const="",
        help="instead, time prompts and answers at these depths of the context, or up to the longest that fits",
    )
    parser.add_argument(
        "--speculation",
        metavar="WHAT",
        nargs="?",
        const="",
        help="instead, judge by your own prompts whether speculation is faster: ngram, or a draft model",
    )
    parser.add_argument("--session", metavar="ID", default="", help="the session with those prompts (the last ones)")
    parser.add_argument("--keep", action="store_true", help="keep the best settings for this model")
    add_json(parser)
    parser.set_defaults(seed=None, max_tokens=None, format=None, schema=None, grammar=None)


def run(options: argparse.Namespace) -> int:
    """Tune; 0 where it is known which settings are best, 130 where the user stopped it."""
    if is_server_ref(options.model):
        raise ParameterError("A server's model cannot be tuned from here.", "Tune the file on the server's machine.")
    work = _work(options)
    limits, caches = parse_limits(options.max_gb or "", options.min_ctx or ""), parse_caches(options.caches or "")
    pairs = parse_number(options.pairs or "10", "--pairs", 3, MOST_REPETITIONS)
    minutes = None if options.minutes is None else float(parse_number(options.minutes, "--minutes", 1, 10_000))
    workers = compose()
    note_problems(workers.problems, workers.paths.config_file)
    entry = workers.catalog.resolve(options.model)
    recipe = kept_recipe(workers.kept.of(entry)).onto(entry.recipe or Recipe())
    sampling, today = settings(options, workers.config, recipe)
    if options.speculation is not None:
        judged = _judgement(options, entry, sampling, today, pairs)
        return asyncio.run(stoppable(partial(_judge, judged, workers, options)))
    if options.depth is not None:
        depths = parse_numbers(options.depth, "--depth") if options.depth else ()
        deep = DepthPlan(entry, today, tuple(dict.fromkeys((depth.cache_name(today), *caches))), depths)
        return asyncio.run(stoppable(partial(_go_deep, deep, workers, options)))
    prices = _prices(workers, entry, caches)
    plan = TunePlan(entry, today, work, limits, caches, prices, pairs, options.busy, minutes)
    return asyncio.run(stoppable(partial(_tune, plan, workers, options)))


def _work(options: argparse.Namespace) -> BenchTest:
    def number(name: str, low: int) -> int | None:
        text = getattr(options, name)
        return None if text is None else parse_number(text, f"-{name}" if len(name) == 1 else f"--{name}", low, LARGEST)

    return work_of(options.goal, number("p", 1), number("n", 1), number("d", 0) or 0, number("users", 1) or 1)


def _prices(workers: Workers, model: ModelEntry, caches: tuple[str, ...]) -> dict[str, str]:
    if not caches:
        return {}
    from workbench.lab.tune.prices import cache_prices

    return cache_prices(workers.quality_runs.records(), model, caches)


async def _tune(plan: TunePlan, workers: Workers, options: argparse.Namespace, cancel: CancelToken) -> int:
    line = ProgressLine()
    job = TuneJob(plan, workers, lambda: _show(job, line))
    await _run(job, line, cancel)
    record = job.record
    if not any(trial.runs for trial in record.trials):
        raise job.error or StoppedError("Stopped before the first result.")
    print_result(as_json(record), as_markdown(record), json=options.json)
    if options.keep:
        _keep(workers, plan.model, record.values)
    return _status(job)


async def _run(job: TuningJob, line: ProgressLine, cancel: CancelToken) -> None:
    async with stopped_by(cancel, job.stop, line):
        await job.run()


def _status(job: TuningJob) -> int:
    """The exit status of a job whose results are printed."""
    if job.error is not None:
        note_error(job.error)
        return 1
    if job.stopped:
        note("stopped: what is known by then is above")
        return INTERRUPTED
    return 0


def _judgement(
    options: argparse.Namespace, model: ModelEntry, sampling: Sampling, today: LoadSettings, pairs: int
) -> JudgementPlan:
    named = options.speculation or (NGRAM if today.speculation == OFF else today.speculation)
    if Path(named).is_file():
        # What is kept holds in any folder.
        named = str(Path(named).absolute())
    return JudgementPlan(
        model,
        today,
        str(check_value("speculation", named)),
        sampling,
        options.session,
        PAIRS if options.pairs is None else pairs,
        ANSWER if options.n is None else parse_number(options.n, "-n", LEAST_ANSWER, LARGEST),
    )


async def _judge(plan: JudgementPlan, workers: Workers, options: argparse.Namespace, cancel: CancelToken) -> int:
    line = ProgressLine()
    job = JudgementJob(plan, workers, lambda: _show_progress(job.progress, line))
    await _run(job, line, cancel)
    record = job.record
    if not record.pairs:
        raise job.error or StoppedError("Stopped before the first pair.")
    print_result(judgement_record.as_json(record), judgement_record.as_markdown(record), json=options.json)
    if plan.speculation == NGRAM and (others := await workers.draft_candidates(plan.model)):
        note(f"These could draft too (--speculation NAME): {', '.join(each.ref for each in others[:MOST_NAMED])}")
    if options.keep:
        _keep(workers, plan.model, record.values)
    return _status(job)


async def _go_deep(plan: DepthPlan, workers: Workers, options: argparse.Namespace, cancel: CancelToken) -> int:
    line = ProgressLine()
    job = DepthJob(plan, workers, lambda: _show_progress(job.progress, line))
    await _run(job, line, cancel)
    record = job.record
    if not record.points:
        raise job.error or StoppedError("Stopped before the first result.")
    print_result(depth.as_json(record), depth.as_markdown(record), json=options.json)
    return _status(job)


def _show_progress(progress: BenchProgress | None, line: ProgressLine) -> None:
    if progress is not None:
        left = "" if progress.left_s is None else f", about {time_text(progress.left_s)} left"
        line.say(f"{progress.fraction:4.0%}  {progress.phase} {progress.label}{left}")


def _keep(workers: Workers, model: ModelEntry, values: Mapping[str, Value]) -> None:
    if not values:
        note("There is nothing to keep: the settings stay.")
        return
    try:
        name = workers.kept.keep(model, values)
    except WorkbenchError as error:
        note_error(error)
        return
    note(f"Kept for {name}: {', '.join(f'{key} {value}' for key, value in values.items())}.")


def _show(job: TuneJob, line: ProgressLine) -> None:
    if (progress := job.progress) is not None:
        left = "" if progress.left_s is None else f", about {time_text(progress.left_s)} left"
        best = " and ".join(job.leading) or "your settings"
        line.say(f"{progress.fraction:4.0%}  {progress.label}, run {progress.step}{left}; best so far: {best}")
