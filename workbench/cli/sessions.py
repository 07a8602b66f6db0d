"""`workbench sessions`: the stored conversations."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict
from datetime import datetime

from workbench.cli.composition import compose
from workbench.cli.options import add_json
from workbench.cli.output import note, print_json, print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "The stored conversations, the one changed last first."
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the sessions."""
    summaries = asyncio.run(compose().sessions.summaries())
    if options.json:
        print_json([asdict(summary) for summary in summaries])
    elif not summaries:
        note("No conversations are stored yet.")
    else:
        rows = [
            (
                summary.id,
                datetime.fromtimestamp(summary.updated_at).strftime("%Y-%m-%d %H:%M"),
                str(summary.messages),
                summary.model or "—",
                summary.title,
            )
            for summary in summaries
        ]
        print_table(("id", "changed", "messages", "model", "title"), rows)
    return 0
