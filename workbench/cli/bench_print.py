"""How `workbench bench` prints a run, fresh or kept."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.lab.bench.record import BenchRecord, Change
from workbench.lab.bench.report import markdown
from workbench.lab.bench.text import DESIGNS, kept_text, record_lines, record_text, result_line

__all__ = ["DESIGNS", "print_changes", "print_kept", "print_record", "record_lines", "result_line"]


def print_record(record: BenchRecord) -> None:
    """Print a run as Markdown."""
    print(record_text(record))


def print_kept(record: BenchRecord) -> None:
    """Print a kept run, with what reproduces it."""
    print(kept_text(record))


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
