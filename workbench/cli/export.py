"""`workbench export`: write a conversation to a file."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from workbench.cli.composition import Workers, compose
from workbench.cli.main import unknown_word
from workbench.cli.options import add_json
from workbench.cli.output import print_json
from workbench.cli.progress import INTERRUPTED
from workbench.cli.sending import add_sending_arguments, check_sending, send_session, sent_fields, sent_text
from workbench.core.errors import ParameterError
from workbench.core.session import ExportFormat, Session
from workbench.store.export.session import export_session, session_text

STANDARD_OUTPUT = "-"
PATH = "path"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Write a conversation as a Modelfile, Markdown, JSON, or the commands that start its model elsewhere."
    )
    parser.add_argument("session", metavar="SESSION", help="the id of a conversation, the beginning of one, or `last`")
    parser.add_argument("--format", default="modelfile", metavar="F[,F…]", help="modelfile, md, json or sh")
    parser.add_argument(
        "--from",
        dest="base",
        metavar="WHAT",
        default=PATH,
        help="the FROM of a Modelfile: path, ollama or hf for the model's name there, or another name",
    )
    parser.add_argument("-o", "--output", metavar="PATH", help="a file or folder; - is standard output")
    add_sending_arguments(parser)
    add_json(parser)


def _formats(text: str) -> list[ExportFormat]:
    known = get_args(ExportFormat)
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise unknown_word(name, known, "format")
    return cast("list[ExportFormat]", list(dict.fromkeys(names)))


def _base(wanted: str, session: Session, workers: Workers) -> str:
    """The value of FROM; empty for the file of the model.

    Raises:
        UnknownModelError: The model has no such name.
    """
    match wanted:
        case "path":
            return ""
        case "ollama" | "hf":
            return asyncio.run(workers.catalog.name_elsewhere(session.model_path, wanted))
    return wanted


def run(options: argparse.Namespace) -> int:
    """Write the conversation; print the paths."""
    workers = compose()
    formats = _formats(options.format)
    check_sending(options, list(formats))
    to_stdout = options.output == STANDARD_OUTPUT
    if to_stdout and (options.json or len(formats) > 1):
        raise ParameterError("Only one format, and no --json, goes to standard output.", "Name a folder with -o.")
    session = asyncio.run(workers.sessions.open_session(options.session))
    base = _base(options.base, session, workers) if {"modelfile", "sh"} & {*formats} else ""
    sent = None
    if options.to_ollama is not None:
        sent = send_session(options, session, replace(workers.sender, base=base))
        if sent is None:
            return INTERRUPTED
    if to_stdout:
        sys.stdout.buffer.write(session_text(session, formats[0], base).encode("utf-8", "backslashreplace"))
        return 0
    if sent is not None and not options.output:
        formats = []
    target = Path(options.output) if options.output else workers.paths.exports_dir
    if (not options.output and formats) or len(formats) > 1:
        target.mkdir(parents=True, exist_ok=True)
    written = [(form, export_session(session, form, target, base=base)) for form in formats]
    if options.json:
        files = [{"format": form, "path": str(path)} for form, path in written]
        print_json({"session": session.id, "files": files, **({"ollama": sent_fields(sent)} if sent else {})})
    else:
        print(*(path for _, path in written), *([sent_text(sent)] if sent else []), sep="\n")
    return 0
