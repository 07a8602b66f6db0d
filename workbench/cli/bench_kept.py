"""`workbench bench --list` and `--show`: the kept runs."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict

from workbench.cli.output import note, print_json, print_table, say
from workbench.core.errors import BenchRunError, ParameterError
from workbench.lab.bench.record import BenchRecord, lay_beside
from workbench.lab.bench.report import DIFFERENT_MACHINES, UNPAIRED, markdown
from workbench.lab.bench.text import kept_text
from workbench.store.kept_runs import RunFolder


def list_runs(options: argparse.Namespace, runs: RunFolder[BenchRecord]) -> int:
    """Print the kept runs, the newest first."""
    records = runs.records()
    if options.json:
        names = ("id", "at", "kind", "models", "command", "interrupted")
        found = [{name: getattr(record, name) for name in names} for record in records]
        print_json([values | {"command": shlex.join(("workbench", *values["command"]))} for values in found])
    elif not records:
        note("No benchmark runs are kept yet.")
    else:
        rows = [
            (record.id, record.kind + (", stopped" if record.interrupted else ""), shlex.join(record.command))
            for record in records
        ]
        print_table(("id", "kind", "command"), rows)
    return 0


def show_runs(options: argparse.Namespace, runs: RunFolder[BenchRecord]) -> int:
    """Print one run, or compare two."""
    if len(options.show) > 2:
        raise ParameterError("--show takes one run or two.", "Write --show ID, or --show ID ID.")
    records = [runs.load(name) for name in options.show]
    if len(records) == 1:
        if options.json:
            print_json(asdict(records[0]))
        else:
            say(kept_text(records[0]))
        return 0
    first, second = records
    changes = lay_beside(first, second)
    if not changes:
        raise BenchRunError("The two runs have no test in common.", "Compare runs with the same -p, -n and -d.")
    if options.json:
        found = [{**asdict(change), "ratio": change.ratio} for change in changes]
        print_json({"first": first.id, "second": second.id, "tests": found})
        return 0
    rows = [
        (change.label, f"{change.first:.2f}", f"{change.second:.2f}", f"{(change.ratio - 1) * 100:+.1f} %")
        for change in changes
    ]
    say(markdown(("test", first.id, second.id, "change"), rows))
    if first.machine != second.machine:
        say(f"\n{DIFFERENT_MACHINES}")
    say(f"\n{UNPAIRED} `--pairs` is fair.")
    return 0
