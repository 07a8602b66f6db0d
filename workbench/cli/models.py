"""`workbench models`: the models at hand."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from workbench.cli.composition import compose
from workbench.cli.options import add_json
from workbench.cli.output import note, print_json, print_table, size_text
from workbench.core.models import ModelEntry
from workbench.library.catalog import LibraryCatalog
from workbench.store.paths import expanded

HEADINGS = ("model", "quant", "bits", "size", "weights", "context", "where", "to open")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "The models at hand: the demo model, recent files, those in the configured folders, and those that Ollama, "
        "Hugging Face, LM Studio and llama.cpp keep. Quantizations of one model stand together."
    )
    parser.add_argument("folders", nargs="*", metavar="DIR", help="look in these folders only")
    parser.add_argument("--filter", metavar="TEXT", default="", help="only models whose name, type or place has TEXT")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the models."""
    workers = compose()
    catalog = workers.catalog
    if options.folders:
        folders = [expanded(Path(folder)) for folder in options.folders]
        catalog = LibraryCatalog(folders, find_demo_file=lambda: None, cache=workers.paths.library_cache)
    entries = [entry for entry in catalog.list_models() if _matches(entry, options.filter)]
    for problem in catalog.problems:
        note(f"{problem}")
    if options.json:
        print_json([_as_json(entry) for entry in entries])
        return 0
    if not entries:
        found = "No model matches." if options.filter else "No models."
        note(f"{found} Put their folders into `model_folders` of the config file (`workbench paths`).")
        return 0
    print_table(HEADINGS, _rows(entries))
    for entry in entries:
        if entry.label_mismatch:
            note(f"{entry.label}: {entry.label_mismatch}")
    return 0


def _matches(entry: ModelEntry, text: str) -> bool:
    places = (part for place in entry.places for part in (place.source, place.path, place.name))
    return any(text.casefold() in part.casefold() for part in (entry.label, entry.architecture or "", *places))


def grouped(entries: Sequence[ModelEntry]) -> list[ModelEntry]:
    """The entries with the quantizations of one model together, the models in the order of their first."""
    order: dict[str, int] = {}
    for entry in entries:
        order.setdefault(_base(entry), len(order))
    return sorted(entries, key=lambda entry: (order[_base(entry)], entry.size_bytes or 0))


def _base(entry: ModelEntry) -> str:
    return entry.group or entry.name


def _rows(entries: Sequence[ModelEntry]) -> Iterable[tuple[str, ...]]:
    for _, variants in groupby(grouped(entries), key=_base):
        for number, entry in enumerate(variants):
            weights = "—" if entry.parameters is None else f"{entry.parameters / 1e9:.2f}B"
            more = f" +{len(entry.places) - 1}" if len(entry.places) > 1 else ""
            yield (
                entry.name if not number else "",
                (entry.quant or "—") + (" ?" if entry.label_mismatch else ""),
                "—" if entry.bits_per_weight is None else f"{entry.bits_per_weight:.2f}",
                size_text(entry.size_bytes),
                weights,
                str(entry.context_length or "—"),
                entry.problem or f"{entry.source}{more}",
                entry.ref,
            )


def _as_json(entry: ModelEntry) -> Mapping[str, object]:
    return {
        "id": entry.ref,
        "name": entry.name,
        "quant": entry.quant,
        "tensor_quant": entry.tensor_quant,
        "label_mismatch": entry.label_mismatch or None,
        "bits_per_weight": entry.bits_per_weight,
        "size_bytes": entry.size_bytes,
        "path": entry.path,
        "source": entry.source,
        "architecture": entry.architecture,
        "parameters": entry.parameters,
        "context_length": entry.context_length,
        "complete": not entry.problem,
        "problem": entry.problem or None,
        "group": entry.group or None,
        "digest": entry.digest,
        "places": [asdict(place) for place in entry.places],
    }
