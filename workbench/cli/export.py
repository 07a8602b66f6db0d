"""`workbench export`: write a conversation to a file, or create a model from it on an Ollama server."""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from collections.abc import Awaitable
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast, get_args

from workbench.cli.composition import Workers, compose
from workbench.cli.main import unknown_word
from workbench.cli.options import add_json
from workbench.cli.output import print_json, say, write_exactly
from workbench.cli.progress import ProgressLine, stoppable
from workbench.core.cancel import CancelToken
from workbench.core.errors import ParameterError
from workbench.core.models import Naming
from workbench.core.sending import ModelSender, SendProgress, SendTarget, Sent
from workbench.core.session import ExportFormat, Session
from workbench.core.units import size_text
from workbench.core.user_path import user_path
from workbench.store.export.session import export_session, session_text
from workbench.store.files import make_folder, not_written

STANDARD_OUTPUT = "-"
PATH = "path"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Write a conversation as a Modelfile, Markdown, JSON, the commands that start its model elsewhere, or a "
        "section of llama-server's presets.ini."
    )
    parser.add_argument("session", metavar="SESSION", help="the id of a conversation, the beginning of one, or `last`")
    parser.add_argument("--format", default="modelfile", metavar="F[,F…]", help="modelfile, md, json, sh or ini")
    parser.add_argument(
        "--from",
        dest="base",
        metavar="WHAT",
        default=PATH,
        help="the FROM of a Modelfile: path, ollama or hf for the model's name there, or another name",
    )
    parser.add_argument("-o", "--output", metavar="PATH", help="a file or folder; - is standard output")
    group = parser.add_argument_group(
        "Ollama", "Create the model that the Modelfile describes there, and ask it a question."
    )
    group.add_argument("--to-ollama", metavar="NAME", help="the name of the new model; no file is written without -o")
    group.add_argument("--server", metavar="URL", help="where Ollama is (OLLAMA_HOST, else this machine)")
    group.add_argument("--overwrite", action="store_true", help="replace a model that has this name")
    add_json(parser)


def _check_sending(options: argparse.Namespace, formats: list[str]) -> None:
    if options.to_ollama is None:
        if options.server is not None or options.overwrite:
            option = "--overwrite" if options.overwrite else "--server"
            raise ParameterError(f"{option} belongs to --to-ollama.", "Write --to-ollama NAME.")
    elif "modelfile" not in formats:
        raise ParameterError("Ollama takes Modelfiles alone.", "Write --format modelfile.")


def _send(options: argparse.Namespace, session: Session, sender: ModelSender) -> Sent:
    """Send a conversation and show the progress."""
    line = ProgressLine()

    def show(progress: SendProgress) -> None:
        share = "" if progress.fraction is None else f"{progress.fraction:4.0%}  "
        verb = "looking who is at" if progress.phase == "looking" else progress.phase
        line.say(f"{share}{verb} {progress.what}")

    target = SendTarget(options.to_ollama, options.server or sender.usual_server, options.overwrite)

    def work(cancel: CancelToken) -> Awaitable[Sent]:
        return sender.send(session, target, show, cancel)

    try:
        return asyncio.run(stoppable(work))
    finally:
        line.clear()


def _formats(text: str) -> list[ExportFormat]:
    known = get_args(ExportFormat)
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise unknown_word(name, known, "format")
    return cast("list[ExportFormat]", list(dict.fromkeys(names)))


def _base(wanted: str, session: Session, workers: Workers) -> str:
    """The value of FROM; empty for the file of the model."""
    if wanted in get_args(Naming):
        return asyncio.run(workers.catalog.name_elsewhere(session.model_path, cast(Naming, wanted)))
    return "" if wanted == PATH else wanted


def _print_text(text: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        # As in a file, whatever the locale of the terminal is.
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    write_exactly(text)


def _target(options: argparse.Namespace, workers: Workers, count: int) -> Path:
    """The file or the folder for so many files; a folder that is needed exists when this returns."""
    target = user_path(options.output) if options.output else workers.paths.exports_dir
    if count > (1 if options.output else 0):
        try:
            make_folder(target)
        except OSError as error:
            raise not_written(f"The export cannot be written to {target}", error, "Name another path.") from error
    return target


def run(options: argparse.Namespace) -> int:
    """Write the conversation; print the paths."""
    workers = compose()
    formats = _formats(options.format)
    _check_sending(options, list(formats))
    to_stdout = options.output == STANDARD_OUTPUT
    if to_stdout and (options.json or len(formats) > 1):
        raise ParameterError("Only one format, and no --json, goes to standard output.", "Name a folder with -o.")
    session = asyncio.run(workers.sessions.open_session(options.session))
    base = _base(options.base, session, workers) if {"modelfile", "sh"} & {*formats} else ""
    sent = None
    if options.to_ollama is not None:
        sent = _send(options, session, replace(workers.sender, base=base))
    if to_stdout:
        _print_text(session_text(session, formats[0], base))
        return 0
    if sent is not None and not options.output:
        formats = []
    target = _target(options, workers, len(formats))
    written = [(form, export_session(session, form, target, base=base)) for form in formats]
    if options.json:
        files = [{"format": form, "path": str(path)} for form, path in written]
        print_json(
            {"session": session.id, "files": files, **({"ollama": asdict(sent) | {"ref": sent.ref}} if sent else {})}
        )
    else:
        for _, path in written:
            say(str(path))
        if sent is not None:
            what = f"{size_text(sent.sent_bytes)} sent" if sent.sent_bytes else "Ollama had the file"
            say(f"{sent.ref}\n{what}; it answers: {sent.answer}")
    return 0
