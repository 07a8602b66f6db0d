"""`workbench models`: the models at hand."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from workbench.cli.composition import compose
from workbench.cli.options import add_json
from workbench.cli.output import note, print_json, print_table, size_text
from workbench.core.models import ModelEntry
from workbench.library.catalog import LibraryCatalog
from workbench.store.paths import expanded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "The models at hand: the demo model, recent files, and those in the configured folders."
    parser.add_argument("folders", nargs="*", metavar="DIR", help="look in these folders only")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the models."""
    if options.folders:
        folders = [expanded(Path(folder)) for folder in options.folders]
        catalog = LibraryCatalog(folders, find_demo_file=lambda: None)
    else:
        catalog = compose().catalog
    entries = catalog.list_models()
    for problem in catalog.problems:
        note(f"{problem}")
    if options.json:
        print_json([_as_json(entry) for entry in entries])
        return 0
    if not entries:
        note("No models. Put their folders into `model_folders` of the config file (`workbench paths`).")
        return 0
    rows = [
        (entry.name, entry.quant or "—", size_text(entry.size_bytes), entry.problem or entry.source, entry.ref)
        for entry in entries
    ]
    print_table(("name", "quant", "size", "where", "to open"), rows)
    return 0


def _as_json(entry: ModelEntry) -> Mapping[str, object]:
    return {
        "id": entry.ref,
        "name": entry.name,
        "quant": entry.quant,
        "bits_per_weight": entry.bits_per_weight,
        "size_bytes": entry.size_bytes,
        "path": entry.path,
        "source": entry.source,
        "architecture": entry.architecture,
        "parameters": entry.parameters,
        "context_length": entry.context_length,
        "complete": not entry.problem,
        "problem": entry.problem or None,
    }
