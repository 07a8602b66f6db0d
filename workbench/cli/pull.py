"""`workbench pull`: fetch a model from Hugging Face or from Ollama's registry."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from workbench.cli.composition import Workers, compose
from workbench.cli.options import add_json
from workbench.cli.output import Printed, note, print_json, print_table, say
from workbench.cli.progress import ProgressLine, cancelled_by, stoppable
from workbench.core.errors import CancelledError, ParameterError
from workbench.core.pulls import Offer, PullProgress, PullRequest, RepositoryHit
from workbench.core.units import UNKNOWN, duration_text, figure_text, size_pair, size_text
from workbench.core.user_path import user_path
from workbench.library.links import EFFECTS
from workbench.library.pull.pull import PullResult
from workbench.library.pull.service import SEARCH_LIMIT
from workbench.library.pull.variants import RemoteFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Fetch a model. hf.co/USER/REPO[:QUANT], or an address of Hugging Face, goes into its cache, where other "
        "programs find it; ollama:NAME[:TAG] into the program's models folder, with its template, system prompt and "
        "parameters as a Modelfile beside it. Stopped with Ctrl+C or killed, a pull continues where it ended. Set "
        "HF_TOKEN for gated and private repositories; HF_ENDPOINT and HF_HUB_OFFLINE are honoured. With --json, "
        "progress is printed as JSON lines before the result."
    )
    parser.add_argument("ref", metavar="REF", nargs="?", help="the model; without QUANT Q4_K_M, else Q8_0")
    parser.add_argument("--search", metavar="WORDS", help="search Hugging Face for repositories with GGUF files")
    parser.add_argument(
        "--limit", type=int, default=SEARCH_LIMIT, metavar="N", help="the most repositories that are listed"
    )
    parser.add_argument(
        "--list", action="store_true", help="list the quantizations, and which fit in memory; nothing is fetched"
    )
    parser.add_argument("--into", metavar="FOLDER", help="store the files there instead")
    parser.add_argument("--no-mmproj", action="store_true", help="leave out the picture encoder")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Search, list or fetch."""
    if (options.ref is None) == (options.search is None):
        raise ParameterError("Name a model, or search with --search WORDS.")
    workers = compose()
    work = _search if options.search is not None else _list if options.list else _pull
    stopped = CancelledError("Stopped. What was fetched is kept: the same command continues there.")
    return asyncio.run(stoppable(cancelled_by(partial(work, options, workers), stopped)))


async def _search(options: argparse.Namespace, workers: Workers) -> int:
    hits = await workers.pulls.search(options.search, max(1, options.limit))
    if options.json:
        print_json([asdict(hit) for hit in hits])
    elif hits:
        print_table(("repository", "downloads", "likes", "updated", ""), [_hit_row(hit) for hit in hits])
        note("`workbench pull --list hf.co/REPOSITORY` lists the quantizations.")
    else:
        note("No repository with GGUF files has that in its name.")
    return 0


def _hit_row(hit: RepositoryHit) -> tuple[str, ...]:
    gated = "gated" if hit.gated else ""
    return hit.repository, f"{hit.downloads:,}", f"{hit.likes:,}", hit.updated or UNKNOWN, gated


async def _list(options: argparse.Namespace, workers: Workers) -> int:
    found = await workers.pulls.offers(options.ref)
    if options.json:
        print_json([asdict(offer) for offer in found.offers])
        return 0
    headings = ("quant", "bits", "size", "memory", "now", "largest context", "file")
    print_table(headings, list(map(_offer_row, found.offers)))
    if any(offer.estimated for offer in found.offers):
        note(f"~: estimated by size{f', from the header of {found.header_of}' if found.header_of else ''}.")
    if projectors := {offer.mmproj: offer.mmproj_bytes for offer in found.offers if offer.mmproj}:
        names = ", ".join(f"{name} ({size_text(size)})" for name, size in projectors.items())
        note(f"Fetched with each, unless --no-mmproj is given: {names}")
    return 0


def _offer_row(offer: Offer) -> tuple[str, ...]:
    context = offer.largest_ctx
    return (
        offer.quant,
        figure_text(offer.bits_per_weight, ".2f"),
        size_text(offer.size_bytes),
        f"{'~' if offer.estimated else ''}{size_text(offer.needed_bytes)}",
        "is here" if offer.is_here else "fits" if offer.fits else "does not fit",
        UNKNOWN if context is None else f"{context:,}" if context else "none",
        offer.files[0] + (f" and {len(offer.files) - 1} more" if len(offer.files) > 1 else ""),
    )


async def _pull(options: argparse.Namespace, workers: Workers) -> int:
    into = str(user_path(options.into).absolute()) if options.into else ""
    request = PullRequest(options.ref, options.ref, into=into, mmproj=not options.no_mmproj)
    report = _Progress(as_json=options.json)
    result = await workers.pulls.pull(request, report, partial(_announce, options))
    _show(options, report, result)
    return 0


def _announce(options: argparse.Namespace, name: str, files: Sequence[RemoteFile]) -> None:
    if not options.json:
        more = "" if len(files) == 1 else f" in {len(files)} files: {', '.join(file.name for file in files)}"
        note(f"{name}: {size_text(sum(file.size for file in files))}{more}")


class _Progress:
    """Prints progress: a line that is overwritten, or JSON lines."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._line = ProgressLine()

    def __call__(self, progress: PullProgress) -> None:
        """Print it."""
        if self._as_json:
            print_json({"progress": asdict(progress)})
            # An error that follows is a document of its own.
            Printed.json = False
            return
        rate = "" if progress.rate is None else f"  {size_text(round(progress.rate))}/s"
        left = "" if progress.seconds_left is None else f"  {duration_text(progress.seconds_left)} left"
        filled = round(20 * progress.fraction)
        bar = f"[{'#' * filled}{'.' * (20 - filled)}]"
        sizes = size_pair(progress.done_bytes, progress.total_bytes)
        self._line.say(f"{bar} {progress.fraction:4.0%}  {sizes}{rate}{left}")

    def clear(self) -> None:
        """Clear the line."""
        self._line.clear()


def _show(options: argparse.Namespace, report: _Progress, result: PullResult) -> None:
    if options.json:
        fields = ("size_bytes", "resumed_bytes", "seconds", "already")
        figures = {"sha256": result.sha256.get(result.path), **{name: getattr(result, name) for name in fields}}
        modelfile = str(result.modelfile) if result.modelfile else None
        linked = [{"from": str(path), "way": way} for path, way in result.linked]
        files = list(map(str, result.files))
        print_json({"path": str(result.path), "files": files, "modelfile": modelfile, "linked": linked, **figures})
        return
    report.clear()
    resumed = f", {size_text(result.resumed_bytes)} of it earlier" if result.resumed_bytes else ""
    what = "it was there already" if result.already else f"fetched in {result.seconds:.1f} s{resumed}, digest right"
    note(f"{size_text(result.size_bytes)}, {what}")
    for path, way in result.linked:
        note(f"Not fetched but linked, as a {way}: {path}. That is {EFFECTS[way]}.")
    say(str(result.modelfile or result.path))
