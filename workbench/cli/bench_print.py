"""How `workbench bench` prints a run, fresh or kept."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from workbench.core.bench import BenchResult
from workbench.lab.bench_pairs import Design
from workbench.lab.bench_record import BenchRecord, Change, DuelRecord
from workbench.lab.bench_report import (
    as_fields,
    build_line,
    comparison_fields,
    felt_fields,
    felt_table,
    markdown,
    notes,
    parallel_fields,
    parallel_table,
    result_table,
)

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


def _sides(record: BenchRecord, duel: DuelRecord) -> Sequence[BenchResult]:
    """The repetitions of either side of a comparison."""
    a = tuple(sample for pair in duel.pairs for sample in pair.a)
    b = tuple(sample for pair in duel.pairs for sample in pair.b)
    return (
        BenchResult(duel.a, duel.models[0], record.at, a),
        BenchResult(duel.b, duel.models[1], record.at, b),
    )


def print_record(record: BenchRecord) -> None:
    """Print a run as Markdown."""
    if record.kind == "parallel":
        print(parallel_table(record.results))
    elif record.results:
        print(result_table(record.results))
    for duel in record.duels:
        print(result_table(_sides(record, duel)))
        found = duel.comparison
        print(f"\n{duel.a.test.label}: {found.sentence(*duel.names)}")
        print(f"{duel.names[1]} was ahead in {found.ahead} of {found.pairs}; {DESIGNS[duel.design]}")
        _print_disturbed(duel)
    for felt in record.felt:
        print(felt_table(felt.results, felt.model))
    print()
    for line in notes(record.results):
        print(line)
    print(f"{build_line(record.machine)}")
    if record.memory is not None and any(result.roof_pct is not None for result in record.results):
        print(f"memory bandwidth: {record.memory.bytes_per_s / 1e9:.1f} GB/s ({record.memory.method})")


def _print_disturbed(duel: DuelRecord) -> None:
    for number, pair in enumerate(duel.pairs, 1):
        if pair.disturbed:
            print(f"* pair {number} was disturbed: {'; '.join(pair.disturbed)}")
    print()


def print_kept(record: BenchRecord) -> None:
    """Print a kept run, with what reproduces it."""
    print(f"{record.id}  {record.at}{'  (stopped early)' if record.interrupted else ''}")
    print(f"workbench {shlex.join(record.command)}\n")
    print_record(record)


def print_changes(first: BenchRecord, second: BenchRecord, changes: Sequence[Change]) -> None:
    """Print two runs beside each other."""
    rows = [
        (change.label, f"{change.first:.2f}", f"{change.second:.2f}", f"{(change.ratio - 1) * 100:+.1f} %")
        for change in changes
    ]
    print(markdown(("test", first.id, second.id, "change"), rows))
    if first.machine != second.machine:
        print("\nThe two ran on another machine or another build.")
    print("\nTwo runs at different times: what the machine did in between is in the change. `--pairs` is fair.")
