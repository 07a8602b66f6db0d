"""Output of commands: one JSON document, or sections, pairs and tables for people.

This is the one place where text leaves for a terminal. File names, metadata and the words of servers may hold escape
sequences: `say` and `note` clean all text, `print_json` escapes it. An answer and an exported session
are the same text in a pipe or a file (`write_exactly`).
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import override

from workbench.core.config import ConfigProblem
from workbench.core.errors import ParameterError, WorkbenchError
from workbench.store.paths import find_paths
from workbench.ui.kit.sanitize import clean, clean_line

Record = TypeVar("Record")
_WIDEST = 110
_HARMFUL = re.compile(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")
"""What `clean` replaces and JSON leaves as it is."""


class OutputError(OSError):
    """Standard output cannot be written."""


def write(text: str, *, flush: bool = False) -> None:
    """Write to standard output.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        sys.stdout.write(text)
        if flush:
            sys.stdout.flush()
    except OSError as error:
        raise OutputError(*error.args) from error


def write_exactly(text: str) -> None:
    """Write a text of a model or a session as it is to a file or a pipe, and cleaned to a terminal."""
    write(clean(text) if sys.stdout.isatty() else text, flush=True)


class Printed:
    """What the command that runs has printed."""

    json = False


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        value = _finite(value)
        text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # A file name need not be valid text; escaped, it can still be read back.
        text = json.dumps(value)
    # The same text for whoever reads the document, and harmless on a terminal.
    text = _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    Printed.json = True
    write(f"{text}\n")


def print_result(document: object, text: str, *, json: bool) -> None:
    """Print a result as its JSON document, or as a text for people."""
    if json:
        print_json(document)
    else:
        say(text.rstrip("\n"))


def _finite(value: object) -> object:
    """`value` with None for the numbers that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def error_document(error: WorkbenchError) -> dict[str, str]:
    """An error as `--json` has it."""
    return {"kind": error.kind, "message": error.message, "hint": hint_of(error)}


def hint_of(error: WorkbenchError) -> str:
    """The hint of an error for somebody without the screen, where F12 shows the log."""
    return error.hint.replace("(F12)", f"({find_paths().log_file})")


def error_text(error: WorkbenchError) -> str:
    """An error in a sentence or two."""
    return f"{error.message} {hint_of(error)}".rstrip()


def with_errors(document: Mapping[str, Any], errors: Iterable[WorkbenchError | None]) -> dict[str, Any]:
    """A document with the errors of its lanes as `--json` has them."""
    lanes = zip(document["lanes"], errors, strict=True)
    return {**document, "lanes": [lane | {"error": error and error_document(error)} for lane, error in lanes]}


async def write_result(path: Path | None, text_of: Callable[[str], str]) -> bool:
    """Write a result that is printed already to a file, where one is named; whether that worked.

    `text_of` gives the text for the suffix of the file. A failure is a note, and no second document.
    """
    if path is None:
        return True
    from workbench.store.documents import write_document

    try:
        note(f"Written to {await write_document(path, text_of(path.suffix.casefold()))}")
    except WorkbenchError as error:
        note_error(error)
        return False
    return True


class NoteHandler(logging.Handler):
    """Prints the warnings and errors of this program on standard error.

    Their tracebacks, and what llama.cpp writes unless it ends the process, are in the log file alone.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "workbench.llama_cpp" or record.levelno >= logging.CRITICAL:
            note(record.getMessage())


def say(text: str = "") -> None:
    """Print a part of the result for people; nothing that a terminal would obey gets through."""
    write(f"{clean(text)}\n")


def note(text: str, *, end: str = "\n", start: str = "") -> None:
    """Print what is not part of the result, on standard error.

    Nothing in `text` that a terminal would obey gets through; `start` and `end` are written as they are.
    """
    with suppress(OSError):  # Nobody is left to read it.
        print(f"{start}{clean(text)}", end=end, file=sys.stderr, flush=True)


def note_error(error: WorkbenchError) -> None:
    """Print an error beside which there is a result, on standard error."""
    note(f"workbench: {error_text(error)}")


def describe_problem(problem: ConfigProblem, path: Path) -> str:
    """A problem of the config file, as one line."""
    file = problem.file or path
    place = f"{file}, line {problem.line}" if problem.line else str(file)
    return f"{place}: {problem.message}"


def note_problems(problems: Iterable[ConfigProblem], path: Path) -> None:
    """Print the problems of the config on standard error."""
    for problem in problems:
        note(describe_problem(problem, path))


def ask(question: str) -> bool:
    """Ask a question on the terminal; False, with a note, where there is nobody to ask."""
    if not sys.stdin.isatty():
        note(f"{question} Add --yes to agree.")
        return False
    note(f"{question} [y/N] ", end="")
    return sys.stdin.readline().strip().casefold() in {"y", "yes"}


def print_section(title: str) -> None:
    """Print the heading of a section, after an empty line."""
    say(f"\n{title}")


def print_pairs(rows: Iterable[tuple[str, str]], *, wrap: bool = False) -> None:
    """Print keys and values in two columns; with `wrap`, long values continue below themselves.

    No control character reaches the terminal.
    """
    pairs = [(clean_line(key), clean_line(value)) for key, value in rows]
    width = max((len(key) for key, _ in pairs), default=0) + 2
    for key, value in pairs:
        line = f"{key:<{width}}{value}".rstrip()
        say(wrapped(line, indent=" " * width) if wrap else line)


def show_beside(
    options: argparse.Namespace,
    record: Record,
    others: Sequence[Record],
    as_json: Callable[[Record], object],
    beside: Callable[[Record, Record], str],
) -> int:
    """Show a kept result beside another one; raises ParameterError for more of them, and for a file."""
    if len(others) > 1:
        raise ParameterError("--show takes one of them or two.", "Write --show ID, or --show ID ID.")
    if options.output:
        raise ParameterError("Two beside each other are not written to a file.", "Leave out -o.")
    documents = [as_json(each) for each in (record, *others)]
    print_result(documents, beside(record, others[0]), json=options.json)
    return 0


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as wide as they need; no control character reaches the terminal."""
    table = [tuple(headings), *(tuple(map(clean_line, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def wrapped(text: str, indent: str = "  ") -> str:
    """`text` in lines that fit the terminal; lines after the first begin with `indent`."""
    width = max(40, min(_WIDEST, shutil.get_terminal_size().columns))
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
