"""The entry point: runs the command, and reports errors as a sentence and an exit status.

Exit status: 0 success, 1 the work failed, 2 bad usage, 130 interrupted. Only the command that runs is imported, so that
`workbench --help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NoReturn, Protocol

from workbench import __version__
from workbench.core.errors import ParameterError, WorkbenchError, did_you_mean
from workbench.core.gc_tuning import collect_later

COMMANDS = {
    "run": "stream one answer to standard output",
    "compare": "race several models on one prompt, side by side",
    "bench": "measure the speed of models, and which of two is faster",
    "models": "list the models on this machine",
    "inspect": "show the metadata, tensors and template of a model file, and warnings",
    "fit": "estimate whether a model fits in memory, and with how long a context",
    "quantize": "make a smaller variant of a model",
    "sessions": "list and search the stored conversations",
    "export": "write a conversation as a Modelfile, Markdown or JSON",
    "import": "store a conversation that was exported as JSON",
    "modelfile": "check a Modelfile",
    "doctor": "check this machine and the llama.cpp build, and say how to fix what is wrong",
    "paths": "list the folders that the program uses",
}
"""The commands with their summaries for `--help`; each is a module of this package."""
MODULES = {"import": "importing"}
"""The modules of commands whose names are keywords of Python."""

_USAGE = """\
usage: workbench [MODEL] [--resume SESSION] [--set NAME=VALUE] [--system TEXT]
       workbench COMMAND …

Choose and tune local language models, full-screen.

MODEL is `demo`, a path to a .gguf file or a Modelfile, or NAME:QUANT from the model folders.

commands:
"""


class Command(Protocol):
    """The functions of a command's module."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, options: argparse.Namespace) -> int:
        """Do the work; gives the exit status."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}", file=sys.stderr)
        print(f"Try `{self.prog} --help`.", file=sys.stderr)
        raise SystemExit(2)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    lines += [
        "",
        "`workbench COMMAND --help` explains a command. Every command takes --json.",
        "Other options: --version, --help.",
    ]
    return _USAGE + "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with these arguments, or those of the process; gives the exit status."""
    # A failed native assertion would otherwise start a debugger, which takes seconds and writes to the terminal.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files, and texts of others, need not be valid text.
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    name = arguments[0] if arguments else ""
    if name in {"--version", "-V"}:
        print(f"workbench {__version__}")
        return 0
    if name in {"--help", "-h"}:
        print(_help())
        return 0
    module = MODULES.get(name, name) if name in COMMANDS else "screen"
    with collect_later() if module == "screen" else nullcontext():
        command: Command = importlib.import_module(f"workbench.cli.{module}")
        parser = _Parser(prog=f"workbench {name}" if name in COMMANDS else "workbench")
        command.add_arguments(parser)
        # Options may stand before, between and after the arguments.
        options = parser.parse_intermixed_args(arguments[1:] if name in COMMANDS else arguments)
        return _run(command, options, parser)


def _run(command: Command, options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    as_json = bool(getattr(options, "json", False))
    try:
        return command.run(options)
    except ParameterError as error:
        parser.error(str(error))
    except WorkbenchError as error:
        if as_json:
            from workbench.cli.output import error_document, print_json

            print_json({"error": error_document(error)})
        else:
            print(f"workbench: {error.message}", *filter(None, [error.hint]), sep="\n  ", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output is gone. Python would complain again when it flushes the stream at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def unknown_word(word: str, known: Sequence[str], what: str) -> ParameterError:
    """The error of an unknown word on the command line, with the nearest known ones."""
    hint = did_you_mean(word, known) or f"It is one of {', '.join(known)}."
    return ParameterError(f"There is no {what} {word!r}.", hint)


if __name__ == "__main__":
    sys.exit(main())
