"""`workbench verify`: whether the files of a model are what they should be, and repairing those that are not."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from functools import partial

from workbench.cli.composition import compose, find_file
from workbench.cli.options import add_json
from workbench.cli.output import note, print_json, say
from workbench.cli.progress import ProgressLine, cancelled_by, stoppable
from workbench.core.errors import CancelledError
from workbench.core.pulls import PullProgress
from workbench.core.units import size_pair
from workbench.library.pull.check import check_model
from workbench.library.pull.verify import Verification


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Read all files of a model: their SHA-256 against the one that the store of Hugging Face or Ollama states, or "
        "that the file had when `workbench pull` fetched it; whether all tensor data is there; and whether weights and "
        "scales of quantized blocks are finite. The exit status is 1 where something is wrong."
    )
    parser.add_argument("model", metavar="MODEL", help="a .gguf file, or the name of a model")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="fetch what is wrong: the wrong ranges where they can be told, else the whole file beside the old one",
    )
    parser.add_argument("--from", metavar="REF", dest="source", default="", help="the model of a registry to repair by")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Check the files."""
    workers = compose()
    entry, path = find_file(workers, options.model)
    line = ProgressLine()

    def report(progress: PullProgress) -> None:
        line.say(f"{progress.fraction:4.0%}  {size_pair(progress.done_bytes, progress.total_bytes)}")

    work = partial(check_model, workers.pulls, path, entry.places, report, repair=options.repair, source=options.source)
    found = asyncio.run(stoppable(cancelled_by(work, CancelledError("Stopped."))))
    line.clear()
    if options.json:
        print_json(_as_json(found.files))
        return 0 if found.ok else 1
    for text in found.repairs:
        note(text)
    for text in found.lines:
        say(text)
    if not found.ok and not options.repair:
        note("`workbench verify MODEL --repair` fetches what is wrong.")
    return 0 if found.ok else 1


def _as_json(found: Sequence[Verification]) -> dict[str, object]:
    documents = [
        {
            "path": str(each.path),
            "sha256": each.sha256,
            "expected": each.expected,
            "ok": each.ok,
            "problems": each.problems,
            "repaired_bytes": each.repaired_bytes,
        }
        for each in found
    ]
    repaired = sum(each.repaired_bytes for each in found)
    return {**documents[0], "ok": all(each.ok for each in found), "repaired_bytes": repaired, "files": documents}
