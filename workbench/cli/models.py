"""`workbench models`: the models on this machine, and those of servers."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from workbench.cli.composition import Workers, compose
from workbench.cli.options import add_json
from workbench.cli.output import note, print_json, print_table
from workbench.core.models import LibraryView, ModelEntry
from workbench.core.units import UNKNOWN, size_text
from workbench.core.user_path import expanded
from workbench.library.catalog import LibraryCatalog
from workbench.library.entries import printable

HEADINGS = ("model", "quant", "bits", "size", "weights", "context", "location", "open with")
LONGEST = 60
"""Characters of a cell. The reference that opens a model is never truncated."""

SORTINGS: Mapping[str, Callable[[ModelEntry], Any]] = {
    "name": lambda entry: entry.name.casefold(),
    "size": lambda entry: entry.size_bytes or 0,
    "bits": lambda entry: entry.bits_per_weight or 0.0,
    "parameters": lambda entry: entry.parameters or 0,
    "context": lambda entry: entry.context_length or 0,
}
"""Sort keys by name; all ascending."""

FIELDS = (
    "name", "quant", "tensor_quant", "bits_per_weight", "size_bytes", "path", "source", "architecture", "parameters",
    "context_length", "digest", "loaded",
)  # fmt: skip
"""The fields of an entry that `--json` prints as they are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "All models on this machine: the demo model, recent files, the configured folders, and the stores of Ollama, "
        "Hugging Face, LM Studio and llama.cpp. Quantizations of one model are listed together."
    )
    parser.add_argument("folders", nargs="*", metavar="DIR", help="search only these folders of this machine")
    parser.add_argument("--filter", metavar="TEXT", default="", help="only models whose name or location has TEXT")
    parser.add_argument("--servers", action="store_true", help="include models of servers, which takes a second or two")
    parser.add_argument("--sort", choices=tuple(SORTINGS), help="sort key; by default the order of the models screen")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the models."""
    workers = compose()
    if options.folders:
        folders = [expanded(folder) for folder in options.folders]
        workers.catalog = LibraryCatalog(folders, find_demo_file=lambda: None, cache=workers.paths.library_cache)
    if options.servers:
        view = asyncio.run(_with_servers(workers))
    else:
        view = LibraryView(tuple(workers.catalog.list_models()), tuple(workers.catalog.problems))
    entries = [entry for entry in view.models if _matches(entry, options.filter)]
    if options.sort:
        entries.sort(key=SORTINGS[options.sort])
    for problem in view.problems:
        note(printable(str(problem)))
    if options.json:
        print_json([_as_json(entry) for entry in entries])
        return 0
    if not entries:
        found = "No model matches." if options.filter else "No models."
        note(f"{found} Add their folders to `model_folders` in the config file (`workbench paths` shows where it is).")
        return 0
    ordered = entries if options.sort else grouped(entries)
    print_table(HEADINGS, _rows(ordered))
    for entry in ordered:
        for remark in filter(None, (entry.problem, entry.label_mismatch)):
            note(printable(f"{entry.label}: {remark}"))
    return 0


async def _with_servers(workers: Workers) -> LibraryView:
    view = LibraryView()
    try:
        async for each in workers.served.watch():
            view = each
    finally:
        await workers.engines.shutdown()
    return view


def _matches(entry: ModelEntry, text: str) -> bool:
    places = [part for place in entry.places for part in (place.source, place.path, place.name)] or [entry.source]
    return any(text.casefold() in part.casefold() for part in (entry.label, entry.architecture or "", *places))


def grouped(entries: Sequence[ModelEntry]) -> list[ModelEntry]:
    """The entries with the quantizations of one model together, in the order of the first entry of each model."""
    order: dict[str, int] = {}
    for entry in entries:
        order.setdefault(_base(entry), len(order))
    return sorted(entries, key=lambda entry: (order[_base(entry)], entry.size_bytes or 0))


def _base(entry: ModelEntry) -> str:
    return entry.group or entry.name


def _rows(entries: Iterable[ModelEntry]) -> Iterator[tuple[str, ...]]:
    above: ModelEntry | None = None
    for entry in entries:
        same = above is not None and (above.name, _base(above)) == (entry.name, _base(entry))
        more = f" +{len(entry.places) - 1}" if len(entry.places) > 1 else ""
        yield (
            "" if same else _cut(entry.name),
            (entry.quant or UNKNOWN) + (" ?" if entry.label_mismatch else ""),
            UNKNOWN if entry.bits_per_weight is None else f"{entry.bits_per_weight:.2f}",
            size_text(entry.size_bytes),
            UNKNOWN if entry.parameters is None else count_text(entry.parameters),
            str(entry.context_length or UNKNOWN),
            _cut(printable(entry.source)) + more,
            UNKNOWN if entry.problem else printable(entry.ref),
        )
        above = entry


def count_text(count: int) -> str:
    """A number of weights, such as `8.03 B`."""
    return f"{count / 1e9:.2f} B" if count >= 10**9 else f"{count / 1e6:.0f} M"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _as_json(entry: ModelEntry) -> Mapping[str, object]:
    return {
        "id": entry.ref,
        **{name: getattr(entry, name) for name in FIELDS},
        "label_mismatch": entry.label_mismatch or None,
        "complete": not entry.problem,
        "problem": entry.problem or None,
        "group": entry.group or None,
        "places": [asdict(place) for place in entry.places],
    }
