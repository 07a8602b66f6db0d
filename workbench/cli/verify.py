"""`workbench verify`: whether the files of a model are what they should be."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from workbench.cli.composition import Workers, compose, find_file
from workbench.cli.options import add_json
from workbench.cli.output import note, print_json, say
from workbench.cli.progress import ProgressLine, stoppable
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError
from workbench.core.units import size_pair
from workbench.library.folders import model_file
from workbench.library.pull.verify import Verification, stated_digest, verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Read all files of a model: their SHA-256 against the one that the store of Hugging Face or Ollama states, or "
        "that the file had when `workbench pull` fetched it; whether all tensor data is there; and whether weights and "
        "scales of quantized blocks are finite. The exit status is 1 where something is wrong."
    )
    parser.add_argument("model", metavar="MODEL", help="a .gguf file, or the name of a model")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Check the files."""
    workers = compose()
    _, path = find_file(workers, options.model)
    files = list(model_file(path).paths)

    async def work(cancel: CancelToken) -> list[Verification]:
        return await asyncio.to_thread(_verify, workers, files, cancel)

    found = asyncio.run(stoppable(work))
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

    found = [verify(file, stated_digest(file) or workers.pulled.digest(file), on_bytes) for file in files]
    line.clear()
    return found


def _as_json(found: Sequence[Verification]) -> dict[str, object]:
    documents = [
        {
            "path": str(each.path),
            "sha256": each.sha256,
            "expected": each.expected,
            "ok": each.ok,
            "problems": each.problems,
        }
        for each in found
    ]
    return {**documents[0], "ok": all(each.ok for each in found), "files": documents}


def _print(found: Sequence[Verification]) -> None:
    for each in found:
        stated = "the digest is right" if each.expected else "nothing states its digest"
        say(f"{each.path}: {'; '.join(each.problems) if each.problems else f'sound, {stated}'}")
        say(f"  SHA-256 {each.sha256}")
    for each in found:
        if not each.ok:
            note(f"To fetch it again, remove {each.path.resolve()} and run `workbench pull`.")
