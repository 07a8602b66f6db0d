"""`workbench compare`: one prompt to several models."""

from __future__ import annotations

import argparse
import asyncio
import time
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
    prompt_of,
    settings,
    system_prompt,
)
from workbench.cli.output import (
    error_text,
    note,
    note_error,
    note_problems,
    print_result,
    with_errors,
    write_result,
)
from workbench.cli.progress import ProgressLine, stoppable
from workbench.core.cancel import CancelToken
from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.events import Event
from workbench.core.parameters import Value, parse_value
from workbench.lab.race.lane import Lane, LaneSpec
from workbench.lab.race.race import MOST_LANES, Race
from workbench.lab.race.report import FORMS, as_json, as_markdown, document_of, result_of
from workbench.lab.race.setup import RaceTerms
from workbench.ui.kit.sanitize import clean

REPORT_INTERVAL_S = 0.5
"""How often the state of the lanes is written on a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "A race: the models answer the same prompt side by side, each on its own clock. The first one is the "
        "reference. All get the same seed; --greedy takes the most likely token, to show where they differ."
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help=f"up to {MOST_LANES} models")
    parser.add_argument("--prompt", metavar="TEXT", help="the question; without it, standard input is read")
    parser.add_argument(
        "--lane",
        action="append",
        default=[],
        metavar="N:NAME=VALUE",
        help="a parameter of the N-th model only, such as 2:type_k=q8_0",
    )
    parser.add_argument("--greedy", action="store_true", help="always take the most likely token (temperature 0)")
    parser.add_argument("--solo", action="store_true", help="run the models one after the other")
    add_output(parser)
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Run the race; 1 where a lane failed, 130 where the user stopped it."""
    workers = compose()
    note_problems(workers.problems, workers.paths.config_file)
    specs = _specs(options, workers)
    options.output = output_path(options.output, FORMS)
    prompt = prompt_of(options.prompt)
    if not prompt.strip():
        raise ParameterError("The prompt is empty.", "Write it after --prompt, or pass it on standard input.")
    return asyncio.run(stoppable(partial(_race, options, workers, specs, prompt)))


def _specs(options: argparse.Namespace, workers: Workers) -> list[LaneSpec]:
    count = len(options.models)
    if not 2 <= count <= MOST_LANES:
        raise ParameterError(f"A race has two to {MOST_LANES} models, not {count}.", "A model may be named twice.")
    specs = []
    for ref in options.models:
        recipe = workers.catalog.recipe_with_kept(ref)
        sampling, load = settings(options, workers.config, recipe)
        given = origins(options, workers.config, recipe)
        terms = RaceTerms(load, sampling, system_prompt(options, workers.config, recipe), options.greedy, given)
        specs.append(terms.lane(ref, ref, recipe))
    for text in options.lane:
        index, values = _lane_values(text, count)
        specs[index] = specs[index].changed(values)
    check_formats((spec.ref, spec.sampling) for spec in specs)
    return specs


def _lane_values(text: str, count: int) -> tuple[int, dict[str, Value]]:
    number, colon, assignment = text.partition(":")
    name, equals, value = assignment.partition("=")
    if not (colon and equals and number.isdecimal() and 1 <= int(number) <= count):
        raise ParameterError(
            f"--lane {text!r} is not understood.", f"Write --lane N:NAME=VALUE, with N from 1 to {count}."
        )
    return int(number) - 1, {name.strip(): parse_value(name.strip(), value)}


async def _race(
    options: argparse.Namespace, workers: Workers, specs: list[LaneSpec], prompt: str, cancel: CancelToken
) -> int:
    shown_at = 0.0

    def show(_lane: Lane, _event: Event | None) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= REPORT_INTERVAL_S:
            shown_at = time.monotonic()
            line.say("  ".join(map(_state, race.lanes))[:150])

    line = ProgressLine(on_terminals_only=True)
    race = Race(workers.engines, workers.adviser, specs, solo=options.solo, on_event=show)
    cancel.on_set(race.stop)
    try:
        await race.open()
        if race.several_engines:
            note("Several processes compute: the models are asked one after the other.")
        if race.in_turn:
            note("The models do not fit in memory together: they are loaded and asked one after the other.")
        if not cancel.is_set:
            race.ask(prompt)
            await race.finished()
        line.clear()
        written = await _report(options, workers, race)
    finally:
        await race.close()
        await workers.engines.shutdown()
    if cancel.is_set:
        return INTERRUPTED
    return 1 if any(lane.error is not None for lane in race.lanes) or not written else 0


async def _report(options: argparse.Namespace, workers: Workers, race: Race) -> bool:
    """Print, keep and write the result, after the warnings about Modelfiles and the errors of lanes.

    Returns whether the file that was asked for is written.
    """
    result = result_of(race)
    for lane in race.lanes:
        if lane.info is not None and lane.info.model.recipe is not None:
            for text in lane.info.warnings:
                note(f"workbench: {lane.spec.ref}: {text}")
        if lane.error is not None:
            note(f"workbench: {lane.label}: {error_text(lane.error)}")
    document = with_errors(as_json(result), [lane.error for lane in result.lanes])
    print_result(document, as_markdown(result), json=options.json)
    # The result is out: what fails now is a note, and no second document.
    try:
        await workers.races.keep(workers.races.new_id(), document_of(race))
    except WorkbenchError as error:
        note_error(error)
    return await write_result(options.output, lambda form: FORMS[form](result))


def _state(lane: Lane) -> str:
    name = clean((lane.info.model.quant if lane.info else None) or lane.label)
    if lane.state == "writing" and lane.answer is not None:
        return f"{name}: {lane.answer.meter.tokens} tokens"
    return f"{name}: {lane.state}"
