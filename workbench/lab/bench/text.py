"""A whole run as a text: Markdown to read, lines of JSON for scripts. The command and the screen write the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

from workbench.core.bench import BenchResult
from workbench.lab.bench.pairs import Design
from workbench.lab.bench.record import BenchRecord, DuelRecord, SweepRecord
from workbench.lab.bench.report import (
    as_fields,
    build_line,
    comparison_fields,
    felt_fields,
    felt_table,
    notes,
    parallel_fields,
    parallel_table,
    result_table,
    sweep_fields,
    sweep_notes,
    sweep_table,
)
from workbench.lab.bench.sweep import ENDINGS

DESIGNS: dict[Design, str] = {
    "interleaved": "both loaded, in the order AB BA AB BA",
    "blocks": "not both fit in memory: each was loaded anew for every pair, in random order",
}


def result_line(result: BenchResult, record: BenchRecord) -> dict[str, object]:
    """A result as one line of JSON."""
    return parallel_fields(result) if record.kind == "parallel" else as_fields(result, record.machine)


def record_lines(record: BenchRecord) -> Iterator[dict[str, object]]:
    """A run as lines of JSON."""
    for result in record.results:
        yield result_line(result, record)
    for duel in record.duels:
        for result in _sides(record, duel):
            yield as_fields(result, record.machine)
        found = comparison_fields(duel.comparison, duel.disturbed, duel.names)
        more = {"test": duel.a.test.label, "a": duel.names[0], "b": duel.names[1], "design": duel.design}
        yield {**found, "ahead": duel.comparison.ahead, **more}
    for felt in record.felt:
        for one in felt.results:
            yield felt_fields(one, felt.model)
    if record.sweep is not None:
        yield from map(sweep_fields, record.sweep.levels)


def _sides(record: BenchRecord, duel: DuelRecord) -> Sequence[BenchResult]:
    """The repetitions of either side of a comparison."""
    a = tuple(sample for pair in duel.pairs for sample in pair.a)
    b = tuple(sample for pair in duel.pairs for sample in pair.b)
    return (
        BenchResult(duel.a, duel.models[0], record.at, a),
        BenchResult(duel.b, duel.models[1], record.at, b),
    )


def record_text(record: BenchRecord) -> str:
    """A run as Markdown, without a line break at its end."""
    lines = []
    if record.kind == "parallel":
        lines.append(parallel_table(record.results))
    elif record.results:
        lines.append(result_table(record.results))
    for duel in record.duels:
        found = duel.comparison
        lines += [
            result_table(_sides(record, duel)),
            f"\n{duel.a.test.label}: {found.sentence(*duel.names)}",
            f"{duel.names[1]} was ahead in {found.ahead} of {found.pairs}; {DESIGNS[duel.design]}",
            *_disturbed(duel),
        ]
    lines += [felt_table(felt.results, felt.model) for felt in record.felt]
    if record.sweep is not None:
        lines += _sweep_lines(record.sweep)
    else:
        lines += ["", *notes(record.results), build_line(record.machine)]
    if record.memory is not None and any(result.roof_pct is not None for result in record.results):
        lines.append(f"memory bandwidth: {record.memory.bytes_per_s / 1e9:.1f} GB/s ({record.memory.method})")
    return "\n".join(lines)


def _sweep_lines(sweep: SweepRecord) -> list[str]:
    target, settings = sweep.target, sweep.settings
    version = f" {target.version}" if target.version else ""
    lines = [sweep_table(sweep.levels), "", *sweep_notes(sweep.levels, settings.n_gen)]
    if sweep.ending:
        lines.append(ENDINGS[sweep.ending])
    lines.append(
        f"server: {target.kind}{version} at {target.url}, {target.model}; prompts of {settings.n_prompt} tokens, "
        f"answers of {settings.n_gen}, {settings.repetitions} questions a user"
    )
    return lines


def _disturbed(duel: DuelRecord) -> list[str]:
    marks = [
        f"* pair {number} was disturbed: {'; '.join(pair.disturbed)}"
        for number, pair in enumerate(duel.pairs, 1)
        if pair.disturbed
    ]
    return [*marks, ""]


def kept_text(record: BenchRecord) -> str:
    """A kept run as Markdown, with what reproduces it."""
    early = "  (stopped early)" if record.interrupted else ""
    return f"{record.id}  {record.at}{early}\nworkbench {shlex.join(record.command)}\n\n{record_text(record)}"


def as_markdown(record: BenchRecord) -> str:
    """A run as a file in Markdown."""
    return f"{kept_text(record)}\n"


def as_json_lines(record: BenchRecord) -> str:
    """A run as a file with a line of JSON for each test."""
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in record_lines(record))


FORMS = {".md": as_markdown, ".jsonl": as_json_lines}
"""The forms that a run can be exported in."""
