"""`workbench bench --list` and `--show`: the runs that are kept."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict

from workbench.cli.bench_print import print_changes, print_kept
from workbench.cli.output import note, print_json, print_table
from workbench.core.errors import BenchRunError, ParameterError
from workbench.lab.bench.record import lay_beside
from workbench.store.bench_runs import BenchRunFolder


def list_runs(options: argparse.Namespace, runs: BenchRunFolder) -> int:
    """Print what is kept, the newest first."""
    records = runs.records()
    if options.json:
        print_json(
            [
                {
                    "id": record.id,
                    "at": record.at,
                    "kind": record.kind,
                    "models": record.models,
                    "command": shlex.join(("workbench", *record.command)),
                    "interrupted": record.interrupted,
                }
                for record in records
            ]
        )
    elif not records:
        note("No benchmark runs are kept yet.")
    else:
        rows = [
            (record.id, record.kind + (", stopped" if record.interrupted else ""), shlex.join(record.command))
            for record in records
        ]
        print_table(("id", "kind", "command"), rows)
    return 0


def show_runs(options: argparse.Namespace, runs: BenchRunFolder) -> int:
    """Print one run, or two beside each other."""
    if len(options.show) > 2:
        raise ParameterError("--show takes one run or two.", "Write --show ID, or --show ID ID.")
    records = [runs.load(name) for name in options.show]
    if len(records) == 1:
        if options.json:
            print_json(asdict(records[0]))
        else:
            print_kept(records[0])
        return 0
    changes = lay_beside(*records)
    if not changes:
        raise BenchRunError("The two runs have no test in common.", "Compare runs with the same -p, -n and -d.")
    if options.json:
        found = [{**asdict(change), "ratio": change.ratio} for change in changes]
        print_json({"first": records[0].id, "second": records[1].id, "tests": found})
    else:
        print_changes(records[0], records[1], changes)
    return 0
