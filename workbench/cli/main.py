"""The entry point: runs the command, and reports errors as a sentence and an exit status.

Exit status: 0 success, 1 the work failed, 2 bad usage, 130 interrupted. Only the command that runs is imported, so that
`workbench --help` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import itertools
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NoReturn, Protocol

from typing_extensions import override

from workbench import __version__
from workbench.core.errors import ParameterError, StoppedError, WorkbenchError, did_you_mean
from workbench.core.gc_tuning import collect_later

COMMANDS = {
    "run": "stream one answer to standard output",
    "compare": "race several models on one prompt, side by side",
    "bench": "measure the speed of models, and which of two is faster",
    "tune": "find the fastest settings of a model that fit, and prove them in pairs",
    "lock": "keep figures in a file, and check later that nothing got worse",
    "eval": "ask models your own prompts, check the answers, and say which is better",
    "abx": "vote on the answers of two models without their names",
    "quality": "measure how much quantizations and cache types differ from a reference on a text",
    "serve": "answer other programs: OpenAI's, Anthropic's and Ollama's API for a model",
    "decide": "choose a quantization from everything that was measured",
    "models": "list the models on this machine",
    "pull": "fetch a model from Hugging Face or Ollama's registry",
    "verify": "check the digest and the data of a model's files",
    "share": "use one model file from several programs, and join copies, without a second one on disk",
    "remove": "delete a model, and say who else loses it",
    "inspect": "show the metadata, tensors and template of a model file, and warnings",
    "fit": "estimate whether a model fits in memory, and with how long a context",
    "quantize": "make a smaller variant of a model",
    "settings": "keep settings for a model, and show where its settings come from",
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

INTERRUPTED = 130
"""The exit status of a command that the user stopped."""

_USAGE = """\
usage: workbench [MODEL] [--resume SESSION] [--set NAME=VALUE] [--system TEXT] [--web [--port N]]
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


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are ParameterErrors."""

    @override
    def error(self, message: str) -> NoReturn:
        raise ParameterError(message)


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
    if arguments is None:
        _prepare_process()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files, and texts of others, need not be valid text.
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            return _main(words)
        except KeyboardInterrupt:
            if arguments is None:
                _end_at_signals()
            # Where one interrupted an `exec`, as in the making of a dataclass, Python would end with SIGINT instead of
            # the exit status, unless another `exec` follows.
            exec("")
            return _report(StoppedError("Stopped."), words)
        finally:
            # What cannot be written shows here, and not in Python's own flush at exit.
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        _drop_output()
        # A reader that is gone needs no message.
        if error.errno != errno.EPIPE:
            from workbench.cli.output import note

            note(f"workbench: the output cannot be written: {error.strerror or error}.")
        return 1
    finally:
        if arguments is None:
            _end_at_signals()


def _prepare_process() -> None:
    """Replace standard streams that are closed, and let SIGINT and SIGTERM stop the program; a second one kills it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)


def _stop(_number: int, _frame: object) -> NoReturn:
    # Python may lose the exception, or hold a lock of its own for good: the next signal has to end the process.
    _end_at_signals()
    raise KeyboardInterrupt


def _end_at_signals() -> None:
    """Let signals end the process from here on, without a traceback of Python's exit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _drop_output() -> None:
    """Send what the streams still hold nowhere: Python would complain again when it flushes them at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())


def _main(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if name in {"--version", "-V"}:
        print(f"workbench {__version__}")
        return 0
    if name in {"--help", "-h"}:
        print(_help())
        return 0
    module = MODULES.get(name, name) if name in COMMANDS else "screen"
    try:
        with collect_later() if module == "screen" else nullcontext():
            return _run(module, _program(arguments), arguments[name in COMMANDS :])
    except WorkbenchError as error:
        return _report(error, arguments)


def _program(arguments: list[str]) -> str:
    return f"workbench {arguments[0]}" if arguments and arguments[0] in COMMANDS else "workbench"


def _run(module: str, program: str, arguments: list[str]) -> int:
    # Imported late: `workbench --help` answers at once.
    from workbench.cli.logfile import logged
    from workbench.cli.output import NoteHandler, OutputError, Printed
    from workbench.store.paths import find_paths

    Printed.json = False
    with logged(find_paths().log_file, NoteHandler()):
        try:
            command: Command = importlib.import_module(f"workbench.cli.{module}")
            parser = CommandParser(prog=program)
            command.add_arguments(parser)
            # Options may stand before, between and after the arguments.
            return command.run(parser.parse_intermixed_args(arguments))
        except (WorkbenchError, OutputError):
            raise
        except Exception as error:
            logging.getLogger("workbench.cli").info("%s failed", program, exc_info=True)
            raise WorkbenchError(f"The command failed: {error!r}.", "The log (F12) has the details.") from error


def _report(error: WorkbenchError, arguments: list[str]) -> int:
    """Print an error, as a document with `--json` unless the command has printed one; gives the exit status."""
    from workbench.cli.output import Printed, error_document, hint_of, note, print_json

    bad_usage = isinstance(error, ParameterError)
    as_json = _wants_json(arguments) and not Printed.json
    if as_json:
        print_json({"error": error_document(error)})
    if bad_usage:
        program = _program(arguments)
        note(f"{program}: {error}\nTry `{program} --help`.")
    elif not as_json:
        note("\n  ".join(filter(None, (f"workbench: {error.message}", hint_of(error)))))
    return 2 if bad_usage else INTERRUPTED if isinstance(error, StoppedError) else 1


def _wants_json(arguments: list[str]) -> bool:
    """Whether `--json` is among the options, where they could not be parsed; options may be abbreviated."""
    options = itertools.takewhile("--".__ne__, arguments)
    return any(len(word) > len("--") and "--json".startswith(word) for word in options)


def unknown_word(word: str, known: Sequence[str], what: str) -> ParameterError:
    """The error of an unknown word on the command line, with the nearest known ones."""
    hint = did_you_mean(word, known) or f"It is one of {', '.join(known)}."
    return ParameterError(f"There is no {what} {word!r}.", hint)


if __name__ == "__main__":
    sys.exit(main())
