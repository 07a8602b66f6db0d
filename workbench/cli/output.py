"""Output of commands: one JSON document, or sections, pairs and tables for people."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from workbench.core.errors import WorkbenchError
from workbench.ui.kit.sanitize import clean_line

_WIDEST = 110


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # A file name need not be valid text; escaped, it can still be read back.
        text = json.dumps(value)
    print(text)


def error_document(error: WorkbenchError) -> dict[str, str]:
    """An error as `--json` has it."""
    return {"kind": error.kind, "message": error.message, "hint": error.hint}


def note(text: str) -> None:
    """Print what is not part of the result, on standard error."""
    print(text, file=sys.stderr, flush=True)


def print_section(title: str) -> None:
    """Print the heading of a section, after an empty line."""
    print(f"\n{title}")


def print_pairs(rows: Iterable[tuple[str, str]], *, wrap: bool = False) -> None:
    """Print keys and values in two columns; with `wrap`, long values continue below themselves.

    No control character reaches the terminal.
    """
    pairs = [(clean_line(key), clean_line(value)) for key, value in rows]
    width = max((len(key) for key, _ in pairs), default=0) + 2
    for key, value in pairs:
        line = f"{key:<{width}}{value}".rstrip()
        print(wrapped(line, indent=" " * width) if wrap else line)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as wide as they need; no control character reaches the terminal."""
    table = [tuple(headings), *(tuple(map(clean_line, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def wrapped(text: str, indent: str = "  ") -> str:
    """`text` in lines that fit the terminal; lines after the first begin with `indent`."""
    width = max(40, min(_WIDEST, shutil.get_terminal_size().columns))
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
