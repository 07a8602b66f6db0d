"""`workbench sessions`: the stored conversations."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from workbench.cli.composition import compose
from workbench.cli.options import add_json
from workbench.cli.output import note, print_json, print_table
from workbench.core.errors import ParameterError
from workbench.core.session import SessionHit, SessionSummary
from workbench.core.units import UNKNOWN
from workbench.ui.kit.sanitize import clean_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "The stored conversations: the pinned ones, then the others, the one changed last first."
    parser.add_argument("--search", metavar="WORDS", help="only those with all of these words in one message")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the sessions."""
    store = compose().sessions
    if options.search is None:
        _print_summaries(asyncio.run(store.summaries()), as_json=options.json)
        return 0
    if not options.search.strip():
        raise ParameterError("There are no words to search for.", "Write --search WORDS.")
    _print_hits(asyncio.run(store.search(options.search)), as_json=options.json)
    return 0


def _values(summary: SessionSummary) -> dict[str, object]:
    values = asdict(summary)
    del values["deleted"]
    return values


def _print_summaries(summaries: Sequence[SessionSummary], *, as_json: bool) -> None:
    if as_json:
        print_json([_values(summary) for summary in summaries])
    elif not summaries:
        note("No conversations are stored yet.")
    else:
        rows = [
            (
                summary.id,
                _changed(summary),
                str(summary.messages),
                clean_line(summary.model) or UNKNOWN,
                ("* " if summary.pinned else "") + clean_line(summary.title),
            )
            for summary in summaries
        ]
        print_table(("id", "changed", "messages", "model", "title"), rows)


def _print_hits(hits: Sequence[SessionHit], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {**_values(hit.session), "snippet": hit.snippet, "marks": hit.marks, "message": hit.message or None}
                for hit in hits
            ]
        )
    elif not hits:
        note("No conversation has all of these words in one message.")
    else:
        rows = [
            (hit.session.id, _changed(hit.session), clean_line(hit.session.title), clean_line(hit.snippet))
            for hit in hits
        ]
        print_table(("id", "changed", "title", "found"), rows)


def _changed(summary: SessionSummary) -> str:
    return datetime.fromtimestamp(summary.updated_at).strftime("%Y-%m-%d %H:%M")
