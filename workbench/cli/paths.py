"""`workbench paths`: every folder and file that the program uses."""

from __future__ import annotations

import argparse

from workbench.cli.options import add_json
from workbench.cli.output import print_json, print_table
from workbench.store.paths import find_paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "Every folder and file that the program uses. WORKBENCH_HOME moves them under one folder."
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the paths."""
    paths = {name: str(path) for name, path in find_paths().as_dict().items()}
    if options.json:
        print_json(paths)
    else:
        print_table(("name", "path"), paths.items())
    return 0
