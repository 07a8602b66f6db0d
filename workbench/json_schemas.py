"""JSON schemas: checking values against them, with jsonschema_rs. No other document is fetched.

Patterns are matched with a limit on backtracking, so that none runs for ever; `^` and `$` are the ends of the text.
Formats such as `date` are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BACKTRACKS = 200_000
"""Steps back in one match of a pattern: some ten milliseconds."""
LONGEST_MESSAGE = 200

Place = tuple[str | int, ...]
"""The way to a part of a JSON value."""


class UndecidedError(Exception):
    """It cannot be found out whether a value matches."""


def pointer(place: Place) -> str:
    """A JSON pointer (RFC 6901); the root is `the root`."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in place)
    return "/".join(("", *parts)) or "the root"


def validator(schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - jsonschema_rs has a class for each draft
    """The validator of a schema, by the draft that it names, else by 2020-12.

    Raises:
        ValueError: The schema is not valid; a `jsonschema_rs.ValidationError` says where.
    """
    import jsonschema_rs

    options = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS)
    return jsonschema_rs.validator_for(dict(schema), validate_formats=True, pattern_options=options, offline=True)


def mismatch(value: object, valid: Any) -> str:  # noqa: ANN401 - a validator
    """What is wrong with a value, and where; empty where the validator `valid` finds nothing.

    Raises:
        UndecidedError: A pattern takes too long, or the value is nested too deep.
    """
    try:
        error = next(iter(valid.iter_errors(value)), None)
    except ValueError as failure:
        raise UndecidedError(f"it cannot be checked ({first_line(failure)})") from None
    if error is None:
        return ""
    if "BacktrackLimit" in type(error.kind).__name__:
        raise UndecidedError("the regular expression takes too long")
    return f"{error.message[:LONGEST_MESSAGE]}, at {pointer(tuple(error.instance_path))}"


def first_line(error: Exception) -> str:
    """The message of an error in one line, without a full stop."""
    return (str(error).strip().splitlines() or ["it is not valid"])[0][:LONGEST_MESSAGE].rstrip(".")
