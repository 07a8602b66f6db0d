"""`workbench verify`: whether the files of a model are what they should be, and repairing those that are not."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from workbench.cli.composition import Workers, compose, find_file
from workbench.cli.options import add_json
from workbench.cli.output import note, print_json, say
from workbench.cli.progress import ProgressLine, cancelled_by, stoppable
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError
from workbench.core.models import Place
from workbench.core.pulls import PullProgress
from workbench.core.units import size_pair, size_text
from workbench.library.folders import model_file
from workbench.library.pull.repair import Repair
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
    files = list(model_file(path).paths)

    async def check(cancel: CancelToken) -> list[Verification]:
        return await asyncio.to_thread(_verify, workers, files, cancel)

    found = asyncio.run(stoppable(check))
    if options.repair and not all(each.ok for each in found):
        stopped = CancelledError("Stopped. The same command goes on.")
        work = partial(_repair, workers, found, entry.places, options.source)
        found = asyncio.run(stoppable(cancelled_by(work, stopped)))
    if options.json:
        print_json(_as_json(found))
    else:
        _print(found)
    return 0 if all(each.ok for each in found) else 1


def _verify(workers: Workers, files: Sequence[Path], cancel: CancelToken) -> list[Verification]:
    line = ProgressLine()
    total = sum(file.stat().st_size for file in files)
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        if cancel.is_set:
            raise CancelledError("Stopped.")
        line.say(f"{done / (total or 1):4.0%}  {size_pair(done, total)}")

    found = [workers.pulls.verify(file, on_bytes) for file in files]
    line.clear()
    return found


async def _repair(
    workers: Workers, found: Sequence[Verification], places: Sequence[Place], source: str
) -> list[Verification]:
    line = ProgressLine()

    def report(progress: PullProgress) -> None:
        line.say(f"repairing  {progress.fraction:4.0%}  {size_pair(progress.done_bytes, progress.total_bytes)}")

    checked = []
    for each in found:
        if each.ok:
            checked.append(each)
            continue
        note(f"{each.path}: {'; '.join(each.problems)}")
        repair = await workers.pulls.repair(each, places, source, report)
        line.clear()
        note(repair_text(repair))
        (again,) = await asyncio.to_thread(_verify, workers, [each.path], CancelToken())
        checked.append(replace(again, repaired_bytes=repair.fetched_bytes))
    return checked


def repair_text(repair: Repair) -> str:
    """What a repair did, in a sentence or two."""
    if repair.whole:
        text = f"The whole file was fetched ({size_text(repair.fetched_bytes)}), and replaced the damaged one."
        return f"{text} Its {repair.other_names} other names keep the damaged one." if repair.other_names else text
    text = f"{size_text(repair.fetched_bytes)} were fetched, and written into the file."
    return f"{text} Its {repair.other_names} other names (hard links) are repaired too." if repair.other_names else text


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


def _print(found: Sequence[Verification]) -> None:
    for each in found:
        stated = "the digest is right" if each.expected else "nothing states its digest"
        say(f"{each.path}: {'; '.join(each.problems) if each.problems else f'sound, {stated}'}")
        say(f"  SHA-256 {each.sha256}")
    if not all(each.ok or each.repaired_bytes for each in found):
        note("`workbench verify MODEL --repair` fetches what is wrong.")
