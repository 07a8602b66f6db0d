"""The entry point: finds the command, and turns every error into a sentence and an exit status.

Exit status: 0 done, 1 the work failed, 2 bad usage, 130 interrupted. Commands are imported when they are called, so
that `workbench --help` pays for none of them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NoReturn, Protocol

from workbench import __version__
from workbench.core.errors import ParameterError, WorkbenchError, did_you_mean
from workbench.core.gc_tuning import collect_later

COMMANDS = {
    "run": "one answer, streamed to standard output",
    "compare": "a race: one prompt to several models, side by side",
    "bench": "how fast models are, and which of two is faster",
    "models": "the models at hand",
    "inspect": "what a model file says of itself, and what is odd about it",
    "fit": "whether a model fits in memory, and with how long a context",
    "quantize": "make a smaller variant of a model",
    "sessions": "the stored conversations",
    "export": "write a conversation as a Modelfile, Markdown or JSON",
    "import": "store a conversation that was exported as JSON",
    "modelfile": "check a Modelfile",
    "doctor": "this machine, what computes on it, what is wrong and what to type",
    "paths": "every folder that the program uses",
}
"""Command names, each a module of this package, and what `--help` says of them."""
MODULES = {"import": "importing"}
"""The modules of commands whose names Python keeps for itself."""

_USAGE = """\
usage: workbench [MODEL] [--resume SESSION] [--set NAME=VALUE] [--system TEXT]
       workbench COMMAND …

Choose and tune local language models, full-screen.

MODEL is `demo`, a path to a .gguf file or a Modelfile, or NAME:QUANT from the model folders.

commands:
"""


class Command(Protocol):
    """What a command module holds."""

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
    """Run the program.

    Args:
        arguments: The command line without the program's name; None for that of the process.

    Returns:
        The exit status.
    """
    # A failed native assertion would otherwise start a debugger, which takes seconds and writes to the terminal.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
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
        # Options may stand before, between and after the words.
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
        # Whoever read our output has gone. Python would complain again when it flushes the stream at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def unknown_word(word: str, known: Sequence[str], what: str) -> ParameterError:
    """The error of a word on the command line that is none of those known."""
    hint = did_you_mean(word, known) or f"It is one of {', '.join(known)}."
    return ParameterError(f"There is no {what} {word!r}.", hint)


if __name__ == "__main__":
    sys.exit(main())
