"""`workbench bench --server`: the plan of a sweep, and the consent that another machine needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from workbench.cli.output import note
from workbench.core.errors import CancelledError, ParameterError
from workbench.lab.bench.plan import SweepPlan
from workbench.ui.bench.fields import FIELDS_BY_NAME

_LOCAL_ONLY = (
    *("-d", "-t", "-b", "-ub", "-ngl", "-ctk", "-ctv", "-fa", "-pg", "--parallel", "--pairs", "--felt", "--cache"),
    "--no-warmup",
)
_SWEEP_ONLY = ("--concurrency", "--model", "--seconds", "--all-levels")


def option_help(name: str, *, default: bool = True) -> str:
    """The help of the option that a field of the form stands for, with its default."""
    field = FIELDS_BY_NAME[name]
    return (
        field.about[0].lower() + field.about[1:].rstrip(".") + f" ({field.default})" * bool(default and field.default)
    )


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of a sweep."""
    group = parser.add_argument_group(
        "a server under load",
        "As many users as --concurrency says ask at the same time, each -r times, with prompts of -p tokens (128) and "
        "answers of -n (64), no prompt twice. It ends by itself where more users only wait longer.",
    )
    group.add_argument("--server", metavar="URL", help="the server, as http://HOST:PORT or http://HOST:PORT#MODEL")
    group.add_argument("--concurrency", metavar="LIST", help=option_help("concurrency"))
    group.add_argument("--model", metavar="NAME", help="which of its models; needed where it has several")
    group.add_argument("--seconds", metavar="N", help=option_help("seconds"))
    group.add_argument("--all-levels", action="store_true", help="continue where more users only wait longer")


def sweep_plan(options: argparse.Namespace) -> SweepPlan | None:
    """The plan of a sweep; None where no server is named. Raises ParameterError where the arguments make no sense."""
    if options.server is None:
        if option := _given(options, _SWEEP_ONLY):
            raise ParameterError(f"{option} belongs to --server.", "Write --server http://HOST:PORT.")
        return None
    if options.models:
        raise ParameterError("--server measures no models of this machine.", "Leave them out, or write --model NAME.")
    if option := _given(options, _LOCAL_ONLY):
        raise ParameterError(
            f"{option} has no meaning for a server.", "A sweep takes --concurrency, -p, -n, -r and --seconds."
        )
    texts = {"-p": ",".join(options.p) or None, "-n": ",".join(options.n) or None, "-r": options.r}
    texts |= {"--concurrency": options.concurrency, "--seconds": options.seconds}
    written = {option: text for option, text in texts.items() if text is not None}
    return SweepPlan.parsed(options.server, written, options.model or "", all_levels=options.all_levels)


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> str | None:
    """The first of these options that the command line has."""
    values = {name: getattr(options, name.lstrip("-").replace("-", "_")) for name in names}
    return next((name for name, value in values.items() if value not in (None, False, [])), None)


def confirm_load(plan: SweepPlan, *, yes: bool) -> None:
    """Ask for consent before a server on another machine is loaded.

    Raises ParameterError where standard input is no terminal to ask on, CancelledError where the user declined.
    """
    if plan.warning and not yes and not sys.stdin.isatty():
        raise ParameterError(plan.warning, "Write --yes if you are allowed to load it.")
    confirm([plan.warning] if plan.warning and not yes else [], "Nothing was asked.")


def confirm(doubts: Sequence[str], declined: str, *, yes: bool = False) -> None:
    """Say what speaks against a run; ask whether to continue, where standard input is a terminal.

    Raises CancelledError, with the message `declined`, where the user declined.
    """
    for text in doubts:
        note(text)
    if yes or not doubts or not sys.stdin.isatty():
        return
    note("Continue? [y/N] ", end="")
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise CancelledError(declined, "--yes continues without a question.")
