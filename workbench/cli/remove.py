"""`workbench remove`: delete a model, after a question that says who else loses it."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict

from workbench.cli.composition import compose, find_file
from workbench.cli.options import add_json
from workbench.cli.output import ask, note, print_json, say
from workbench.core.errors import TargetError
from workbench.core.units import size_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Delete the files of a model. Before the question it says which files go, how many bytes come free, which "
        "other programs lose the model, and where it stays."
    )
    parser.add_argument("model", metavar="MODEL", help="a .gguf file, or the name of a model")
    parser.add_argument("--yes", action="store_true", help="delete without a question")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Say what is lost, and delete it."""
    workers = compose()
    named, _ = find_file(workers, options.model)
    models = asyncio.run(workers.catalog.models())
    model = next((each for each in models if each.is_same(named)), named)
    removal = workers.sharing.removal(model)
    if not removal.paths:
        raise TargetError(f"{model.label} cannot be deleted from here.", " ".join(removal.lines))
    if not options.json:
        for text in (*removal.paths, *removal.lines):
            note(text)
    question = f"Delete {model.label}? {size_text(removal.freed_bytes)} come free."
    if not options.yes and (options.json or not ask(question)):
        if options.json:
            print_json({**asdict(removal), "removed": False})
        return 1
    workers.sharing.remove(removal)
    if options.json:
        print_json({**asdict(removal), "removed": True})
    else:
        say(f"Deleted; {size_text(removal.freed_bytes)} came free.")
    return 0
