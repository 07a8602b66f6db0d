"""`workbench share`: use one model file from several programs, and join the copies that they have."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from workbench.cli.composition import Workers, compose, find_file
from workbench.cli.options import add_json
from workbench.cli.output import ask, note, print_json, say
from workbench.core.errors import ParameterError
from workbench.core.models import ModelEntry
from workbench.core.sharing import Joining
from workbench.core.units import size_text
from workbench.core.user_path import user_path

PROGRAMS = ("lmstudio", "ollama", "huggingface", "own")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Use a model from another program too, by a reflink where the file system has them, else by a hard link: "
        "nothing is ever copied. Without --to, list where it can be used from. With --duplicates, list the copies of "
        "one file in several places, and let them share their space."
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a .gguf file, or the name of a model")
    parser.add_argument(
        "--to", metavar="PLACE", help=f"{', '.join(PROGRAMS[:-1])}, own (the program's models folder), or a folder"
    )
    parser.add_argument("--as", metavar="NAME", dest="name", default="", help="its name in Ollama, or its repository")
    parser.add_argument(
        "--duplicates", action="store_true", help="list copies, of MODEL or of all models, and join them"
    )
    parser.add_argument("--yes", action="store_true", help="join without a question")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Share, or join."""
    workers = compose()
    if options.duplicates:
        return _duplicates(options, workers)
    if options.model is None:
        raise ParameterError("Name a model, or list the copies of all with --duplicates.")
    model, _ = find_file(workers, options.model)
    model = _listed(workers, model)
    if options.to is None:
        return _destinations(options, workers, model)
    place = options.to if options.to in PROGRAMS else str(user_path(options.to).absolute())
    said = workers.sharing.share(model, place, options.name)
    if options.json:
        print_json({"to": place, "done": list(said)})
        return 0
    for text in said:
        say(text)
    return 0


def _listed(workers: Workers, model: ModelEntry) -> ModelEntry:
    """A model with all places that the library knows."""
    models = asyncio.run(workers.catalog.models())
    return next((each for each in models if each.is_same(model)), model)


def _destinations(options: argparse.Namespace, workers: Workers, model: ModelEntry) -> int:
    found = workers.sharing.destinations(model)
    if options.json:
        print_json([asdict(each) for each in found])
        return 0
    for each in found:
        say(f"{each.program:<12}  {each.title}: {each.problem or each.path}")
    return 0


def _duplicates(options: argparse.Namespace, workers: Workers) -> int:
    if options.model is not None:
        models: Iterable[ModelEntry] = [_listed(workers, find_file(workers, options.model)[0])]
    else:
        models = asyncio.run(workers.catalog.models())
    sharing = workers.sharing
    found = [
        (model, joining)
        for model in models
        if model.path is not None and not model.problem and Path(model.path).exists()
        if (joining := sharing.copies(model)).paths or joining.lines
    ]
    if options.json and not options.yes:
        print_json([{"model": model.label, **asdict(joining)} for model, joining in found])
        return 0
    for model, joining in found:
        _tell(model, joining)
    joinable = [joining for _, joining in found if joining.paths]
    if not joinable:
        note("There are no copies that could be joined.")
        return 0
    freed = size_text(sum(joining.freed_bytes for joining in joinable))
    if not options.yes and not ask(f"Join them? {freed} come free; each copy is read whole first, and must be equal."):
        return 1
    done = [text for joining in joinable for text in sharing.join(joining)]
    if options.json:
        print_json({"done": done})
        return 0
    for text in done:
        say(text)
    return 0


def _tell(model: ModelEntry, joining: Joining) -> None:
    note(f"{model.label}: {joining.keep}")
    for path in joining.paths:
        note(f"  a copy: {path}")
    for line in joining.lines:
        note(f"  {line}")
