"""`workbench compare`: one prompt to several models."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from workbench.cli.composition import Workers, compose, describe_problem
from workbench.cli.options import add_json, add_settings, settings, system_prompt
from workbench.cli.output import note, print_json
from workbench.core.errors import ParameterError
from workbench.core.events import Event
from workbench.core.parameters import Value, parse_value, with_values
from workbench.lab.race.race import MOST_LANES, Lane, LaneSpec, Race
from workbench.lab.race.report import FORMS, RaceResult, as_json, as_markdown, result_of
from workbench.store.documents import write_document
from workbench.store.paths import expanded
from workbench.ui.kit.sanitize import clean

INTERRUPTED, FAILED = 130, 1
TOLD_EVERY_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "A race: the models answer the same prompt side by side, each on its own clock. The first one is the "
        "reference. All get the same seed; --greedy takes the most likely token, so that it shows where they part."
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help=f"up to {MOST_LANES} models")
    parser.add_argument("--prompt", metavar="TEXT", help="what to ask; without it, standard input is read")
    parser.add_argument(
        "--lane",
        action="append",
        default=[],
        metavar="N:NAME=VALUE",
        help="a parameter of the N-th model alone, such as 2:type_k=q8_0",
    )
    parser.add_argument("--greedy", action="store_true", help="the most likely token always (temperature 0)")
    parser.add_argument("--solo", action="store_true", help="one after the other, where they could run side by side")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the result to a .md, .csv or .json file as well")
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Race; 1 where a lane failed, 130 where the user stopped it."""
    workers = compose()
    for problem in workers.problems:
        note(describe_problem(problem, workers.paths.config_file))
    specs = _specs(options, workers)
    if options.output and Path(options.output).suffix.casefold() not in FORMS:
        raise ParameterError(f"{options.output}: the kind of file is not known.", "Name a .md, .csv or .json file.")
    prompt = sys.stdin.read() if options.prompt is None else options.prompt
    if not prompt.strip():
        raise ParameterError("The prompt is empty.", "Write it after --prompt, or send it to standard input.")
    return asyncio.run(_race(options, workers, specs, prompt))


def _specs(options: argparse.Namespace, workers: Workers) -> list[LaneSpec]:
    """What runs in each lane.

    Raises:
        ParameterError: There are too few or too many, or a parameter is not right.
    """
    count = len(options.models)
    if not 2 <= count <= MOST_LANES:
        raise ParameterError(f"A race has two to {MOST_LANES} models, and not {count}.", "A model may be named twice.")
    recipes = [workers.catalog.recipe(ref) for ref in options.models]
    lanes = [settings(options, workers.config, recipe) for recipe in recipes]
    if options.greedy:
        lanes = [(replace(sampling, temperature=0.0), load) for sampling, load in lanes]
    for text in options.lane:
        index, values = _lane_values(text, count)
        lanes[index] = with_values(*lanes[index], values)
    return [
        LaneSpec(
            ref,
            ref,
            load,
            sampling,
            system_prompt(options, workers.config, recipe),
            opening=recipe.messages if recipe else (),
        )
        for ref, (sampling, load), recipe in zip(options.models, lanes, recipes, strict=True)
    ]


def _lane_values(text: str, count: int) -> tuple[int, dict[str, Value]]:
    number, colon, assignment = text.partition(":")
    name, equals, value = assignment.partition("=")
    if not (colon and equals and number.isdecimal() and 1 <= int(number) <= count):
        raise ParameterError(
            f"--lane {text!r} is not understood.", f"Write --lane N:NAME=VALUE, with N from 1 to {count}."
        )
    return int(number) - 1, {name.strip(): parse_value(name.strip(), value)}


async def _race(options: argparse.Namespace, workers: Workers, specs: list[LaneSpec], prompt: str) -> int:
    told = _Told()
    race = Race(workers.engines, workers.adviser, specs, solo=options.solo, on_event=told.take)
    told.race = race
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        race.stop()

    # Windows has no such handler; there, Ctrl+C raises KeyboardInterrupt.
    with suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)
    try:
        await race.open()
        if race.in_turn:
            note("The models do not fit in memory together: they are loaded and asked one after the other.")
        if not stopped:
            race.ask(prompt)
            await race.finished()
        told.end()
        _tell_warnings(race)
        result = result_of(race)
    finally:
        await race.close()
        await workers.engines.shutdown()
    await _report(options, workers, result)
    if stopped:
        return INTERRUPTED
    return FAILED if any(lane.error is not None for lane in result.lanes) else 0


def _tell_warnings(race: Race) -> None:
    """What is not honoured of the Modelfiles that take part."""
    for lane in race.lanes:
        if lane.info is not None and lane.info.model.recipe is not None:
            for text in lane.info.warnings:
                note(f"workbench: {lane.spec.ref}: {text}")


async def _report(options: argparse.Namespace, workers: Workers, result: RaceResult) -> None:
    for lane in result.lanes:
        if lane.error is not None:
            note(f"workbench: {lane.label}: {lane.error}")
    if options.json:
        print_json(as_json(result))
    else:
        print(clean(as_markdown(result)), end="")
    await workers.races.keep(workers.races.new_id(), as_json(result))
    if options.output:
        path = expanded(Path(options.output))
        note(f"Written to {await write_document(path, FORMS[path.suffix.casefold()](result))}")


class _Told:
    """A line on standard error that shows how far each lane is."""

    def __init__(self) -> None:
        self.race: Race | None = None
        self._at = 0.0

    def take(self, _lane: Lane, _event: Event | None) -> None:
        now = time.monotonic()
        if self.race is not None and sys.stderr.isatty() and now - self._at >= TOLD_EVERY_S:
            self._at = now
            print(f"\r\x1b[K{'  '.join(map(_state, self.race.lanes))[:150]}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _state(lane: Lane) -> str:
    name = clean((lane.info.model.quant if lane.info else None) or lane.label)
    if lane.state == "writing" and lane.answer is not None:
        return f"{name}: {lane.answer.meter.tokens} tokens"
    return f"{name}: {lane.state}"
