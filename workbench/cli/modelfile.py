"""`workbench modelfile check`: the errors and warnings of a Modelfile, with their positions."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from workbench.cli.composition import compose
from workbench.cli.options import add_json
from workbench.cli.output import print_json, say
from workbench.core.user_path import user_path
from workbench.modelfile.meaning import Finding
from workbench.modelfile.syntax import Instruction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = "Read a Modelfile as Ollama does, and say what is wrong with it."
    parser.add_argument("action", choices=["check"], help="what to do")
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="Modelfile", help="the Modelfile; ./Modelfile if none is named"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the errors and warnings; 1 if Ollama would refuse the file."""
    path = user_path(options.file)
    reading = compose().catalog.check_modelfile(path)
    if options.json:
        print_json(
            {
                "ok": not reading.errors,
                "commands": [_as_json(command) for command in reading.commands],
                "errors": [asdict(error) for error in reading.errors],
                "warnings": [asdict(warning) for warning in reading.warnings],
            }
        )
    else:
        for kind, findings in (("error", reading.errors), ("warning", reading.warnings)):
            for finding in findings:
                say(_as_line(path, kind, finding))
        if not reading.errors:
            count = len(reading.commands)
            say(f"{path}: {count} command{'s' * (count != 1)}, no errors")
    return 1 if reading.errors else 0


def _as_json(command: Instruction) -> dict[str, object]:
    names = {"parameter": command.parameter} if command.name == "parameter" else {}
    names |= {"role": command.role} if command.name == "message" else {}
    return {"name": command.name, **names, "args": command.args, "line": command.line}


def _as_line(path: Path, kind: str, finding: Finding) -> str:
    place = f"{path}:{finding.line}:{finding.column}" if finding.line else str(path)
    return f"{place}: {kind}: {finding.message}" + (f". {finding.hint}" if finding.hint else "")
