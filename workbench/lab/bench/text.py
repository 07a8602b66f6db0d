"""A run as text: Markdown to read, and lines of JSON for scripts. The command line and the screen write the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping

from workbench.core.origins import settings_text
from workbench.lab.bench.pairs import Design
from workbench.lab.bench.record import BenchRecord
from workbench.lab.bench.report import (
    as_fields,
    build_lines,
    comparison_fields,
    latency_fields,
    latency_table,
    notes,
    parallel_fields,
    parallel_table,
    result_table,
    sweep_fields,
    sweep_notes,
    sweep_table,
)
from workbench.lab.bench.sweep import ENDINGS, SweepRecord

DESIGNS: dict[Design, str] = {
    "interleaved": "both loaded, in the order AB BA AB BA",
    "blocks": "the two do not fit in memory together: each was loaded again for every pair, in random order",
}


def record_lines(record: BenchRecord, skip: int = 0) -> Iterator[dict[str, object]]:
    """A run as lines of JSON; `skip` is the number of results, or of levels of a sweep, to leave out."""
    for result in record.results[skip:]:
        yield parallel_fields(result) if record.kind == "parallel" else as_fields(result, record.machine)
    for duel in record.duels:
        for result in duel.results(record.at):
            yield as_fields(result, record.machine)
        yield comparison_fields(duel)
    for felt in record.felt:
        for one in felt.results:
            yield latency_fields(one, felt.model, felt.settings)
    if record.sweep is not None:
        yield from map(sweep_fields, record.sweep.levels[skip:])


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
            result_table(duel.results(record.at)),
            f"\n{duel.a.test.label}: {found.sentence(*duel.names)}",
            f"{duel.names[1]} was ahead in {found.ahead} of {found.pairs}; {DESIGNS[duel.design]}",
            *(
                f"* pair {number} was disturbed: {'; '.join(pair.disturbed)}"
                for number, pair in enumerate(duel.pairs, 1)
                if pair.disturbed
            ),
            "",
        ]
    for felt in record.felt:
        lines += [
            latency_table(felt.results, felt.model),
            f"\nsampling: {settings_text(felt.settings) or 'the defaults'}",
        ]
    if record.sweep is not None:
        lines += _sweep_lines(record.sweep)
    else:
        timed = [*record.results, *(result for duel in record.duels for result in duel.results(record.at))]
        lines += ["", *notes(record.results), *build_lines(record.machine, timed)]
    if record.memory is not None and any(result.roof_pct is not None for result in record.results):
        lines.append(f"memory bandwidth: {record.memory.bytes_per_s / 1e9:.1f} GB/s ({record.memory.method})")
    return "\n".join(lines)


def _sweep_lines(sweep: SweepRecord) -> list[str]:
    target, settings = sweep.target, sweep.settings
    lines = [sweep_table(sweep.levels), "", *sweep_notes(sweep.levels, settings.n_gen)]
    if sweep.ending:
        lines.append(ENDINGS[sweep.ending])
    lines.append(
        f"server: {target.name} at {target.url}, {target.model}; prompts of {settings.n_prompt} tokens, "
        f"answers of {settings.n_gen}, {settings.repetitions} questions a user"
    )
    return lines


def kept_text(record: BenchRecord) -> str:
    """A kept run as Markdown, with the command that reproduces it."""
    early = "  (stopped early)" if record.interrupted else ""
    return f"{record.id}  {record.at}{early}\nworkbench {shlex.join(record.command)}\n\n{record_text(record)}"


FORMS: Mapping[str, Callable[[BenchRecord], str]] = {
    ".md": lambda record: f"{kept_text(record)}\n",
    ".jsonl": lambda record: "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in record_lines(record)),
}
"""How a run is exported, by the suffix of the file."""
