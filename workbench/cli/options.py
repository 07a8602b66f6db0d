"""Options that mean the same in every command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Container, Iterable
from pathlib import Path

from workbench.core.config import Config
from workbench.core.errors import ParameterError
from workbench.core.formats import FORMAT_WORDS
from workbench.core.kept import SYSTEM
from workbench.core.origins import Origins, from_origin
from workbench.core.parameters import LoadSettings, Sampling, Value, check_value, parse_value, with_values
from workbench.core.recipe import Recipe
from workbench.core.servers import is_server_ref
from workbench.core.user_path import user_path

MODEL_HELP = "`demo`, a .gguf file, a Modelfile, NAME:QUANT, or http://HOST:PORT#MODEL"


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def add_output(parser: argparse.ArgumentParser, what: str = "result") -> None:
    """`--output`, for a result that is printed too."""
    text = f"also write the {what} to a .md, .csv or .json file"
    parser.add_argument("-o", "--output", metavar="FILE", help=text)


def output_path(given: str | None, forms: Container[str] | None = None) -> Path | None:
    """The file to write; None where none is named.

    Raises:
        ParameterError: Its suffix is not among `forms`.
    """
    path = user_path(given) if given else None
    if path is not None and forms is not None and path.suffix.casefold() not in forms:
        raise ParameterError(f"{path}: the kind of file is not known.", "Name a .md, .csv or .json file.")
    return path


def add_settings(parser: argparse.ArgumentParser) -> None:
    """`--set`, `--system`, `--seed`, `--max-tokens`, and the formats of answers."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="set a parameter, such as temperature=0.2"
    )
    host = parser.add_mutually_exclusive_group()
    host.add_argument(
        "--engine-host", metavar="process|child", help="compute in this process, or in a child that may crash alone"
    )
    host.add_argument("--build", metavar="NAME", help="compute with the llama.cpp of a build that the config names")
    parser.add_argument("--system", metavar="TEXT", help="the system prompt")
    parser.add_argument("--seed", type=int, metavar="N", help="the seed; the same seed repeats the answer")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="the most tokens of the answer")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", metavar="json|FILE", help="the answer is JSON, or has the format that FILE describes")
    form.add_argument("--schema", metavar="FILE", help="the answer is JSON that matches a JSON schema")
    form.add_argument("--grammar", metavar="FILE", help="the answer matches a grammar in GBNF, llama.cpp's notation")


def settings(
    options: argparse.Namespace, config: Config, recipe: Recipe | None = None
) -> tuple[Sampling, LoadSettings]:
    """The parameters of the command line over those of the model's Modelfile over the configured ones.

    Raises:
        ParameterError: A parameter is unknown, or its value out of range.
    """
    sampling, load = (recipe or Recipe()).settings(config.sampling, config.load)
    return with_values(sampling, load, given_values(options))


def origins(options: argparse.Namespace, config: Config, recipe: Recipe | None = None) -> Origins:
    """Where each value of `settings` comes from."""
    recipe = recipe or Recipe()
    return {
        **config.origins,
        **from_origin(dict(recipe.parameters), "Modelfile"),
        **from_origin(recipe.kept, "model"),
        **from_origin(given_values(options), "command line"),
        **from_origin([SYSTEM] if options.system is not None else [], "command line"),
    }


def system_prompt(options: argparse.Namespace, config: Config, recipe: Recipe | None = None) -> str:
    """The system prompt of the command line, else of the model's Modelfile, else of the config."""
    if options.system is not None:
        return _checked(options.system, "The text of --system")
    return recipe.system if recipe is not None and recipe.system else config.system


def given_values(options: argparse.Namespace) -> dict[str, Value]:
    """The parameters of the command line, by name; raises a ParameterError where one is not valid."""
    values: dict[str, Value] = {}
    for assignment in options.set:
        name, equals, text = _checked(assignment, "The text of --set").partition("=")
        if not equals:
            raise ParameterError(f"--set {assignment!r} has no value.", "Write --set NAME=VALUE.")
        value = parse_value(name.strip(), text)
        if isinstance(value, tuple):
            before = values.get(name.strip(), ())
            value = (*before, *value) if isinstance(before, tuple) else value
        values[name.strip()] = value
    shorthands = (
        ("seed", options.seed),
        ("num_predict", options.max_tokens),
        ("engine_host", getattr(options, "engine_host", None) or getattr(options, "build", None)),
    )
    for name, given in shorthands:
        if given is not None:
            values[name] = check_value(name, given)
    for kind in ("format", "schema", "grammar"):
        if (file := getattr(options, kind, None)) is not None:
            values["format"] = _format(_checked(file, f"The text of --{kind}"), kind)
    return values


def _format(text: str, kind: str) -> Value:
    """The value of `format` for --format, --schema or --grammar, which names its file."""
    value = check_value("format", text if kind == "format" else f"./{text}" if text in FORMAT_WORDS else text)
    if kind != "format":
        from workbench.engine.formats.answer_format import read_format

        form = read_format(str(value))
        if form is None or form.kind != kind:
            found = "a JSON schema" if form is not None and form.kind == "schema" else "a grammar"
            raise ParameterError(f"--{kind} {text} names {found}.", "Write --format FILE for either.")
    return value


def check_formats(models: Iterable[tuple[str, Sampling]]) -> None:
    """Check the format of each model, by its reference, before anything is loaded.

    Raises:
        FormatError: One cannot be read; or it cannot be held exactly, and the model runs in process.
    """
    for ref, sampling in models:
        if sampling.format:
            from workbench.engine.formats.answer_format import check_format

            check_format(sampling.format, exact=not is_server_ref(ref))


def prompt_of(given: str | None) -> str:
    """The prompt of the command line, else standard input.

    Raises:
        ParameterError: It is no text.
    """
    if given is not None:
        return _checked(given, "The prompt")
    try:
        return _checked("" if sys.stdin is None else sys.stdin.read(), "Standard input")
    except UnicodeDecodeError:
        # Other locales take any bytes, as lone surrogates.
        return _checked("\udc80", "Standard input")
    except OSError as error:
        raise ParameterError(f"Standard input cannot be read: {error.strerror or error}.") from None


def _checked(text: str, what: str) -> str:
    """`text`; raises a ParameterError where its bytes were no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        hint = "Convert it first, such as with `iconv -f LATIN1 -t UTF-8`."
        raise ParameterError(f"{what} is not UTF-8 text.", hint) from None
    return text
