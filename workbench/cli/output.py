"""What commands print."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

from workbench.core.errors import WorkbenchError


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # The name of a file need not be text; escaped, it can be read back.
        text = json.dumps(value)
    print(text)


def error_document(error: WorkbenchError) -> dict[str, str]:
    """An error as `--json` has it."""
    return {"kind": error.kind, "message": error.message, "hint": error.hint}


def note(text: str) -> None:
    """Tell something that is no result, on standard error."""
    print(text, file=sys.stderr, flush=True)


def size_text(size: int | None) -> str:
    """A size in bytes for people: `98.4 MB`; an em dash where it is not known."""
    if size is None:
        return "—"
    if size >= 10**9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB"


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as wide as they need."""
    table = [tuple(headings), *map(tuple, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
