"""`workbench import`: store a conversation that was exported as JSON."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from workbench.cli.composition import compose
from workbench.cli.options import add_json
from workbench.cli.output import note, print_json, say
from workbench.core.errors import SessionError
from workbench.core.session import Session
from workbench.store.export.session_json import session_from_json
from workbench.store.sessions.store import new_id

STANDARD_INPUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Store a conversation that `workbench export --format json` wrote, with everything it holds, under a new id."
    )
    parser.add_argument("file", metavar="FILE", help="the exported conversation; - is standard input")
    add_json(parser)


def _read(name: str) -> Session:
    try:
        data = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SessionError(f"{name} cannot be read: {reason}.") from error
    try:
        return session_from_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SessionError(f"{name} is not a session exported as JSON: it is not UTF-8 text.") from error
    except SessionError as error:
        raise SessionError(f"{name}: {error.message}", error.hint) from error


def run(options: argparse.Namespace) -> int:
    """Store the conversation; print its id."""
    session = _read(options.file)
    if not session.tree.nodes:
        raise SessionError(f"{options.file}: this session has no messages.", "Nothing was stored.")
    # The id in the file is data of somebody else, and ids name files: this program makes one of its own.
    session = replace(session, id=new_id(session.created_at))
    name = asyncio.run(compose().sessions.keep(session))
    if options.json:
        print_json({"session": name, "title": session.title, "messages": len(session.tree.nodes)})
        return 0
    say(name)
    if name != session.id:
        note(f"There is a session {session.id} already: this one is stored as {name}.")
    return 0
