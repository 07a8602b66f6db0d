"""Paths as a user writes them, with `~` for a home folder."""

from __future__ import annotations

from pathlib import Path

from workbench.core.errors import PathError


def user_path(text: str | Path) -> Path:
    """The path that a user means.

    Raises:
        PathError: `~NAME` stands for the home folder of a user that does not exist, or of nobody.
    """
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError):
        name = str(text).replace("\\", "/").partition("/")[0]
        raise PathError(
            f"{str(text)!r}: this system knows no home folder for {name!r}.",
            "Write the whole path; a file whose name begins with ~ is ./~NAME.",
        ) from None


def expanded(text: str | Path) -> Path:
    """`user_path` of a path that need not exist: unchanged where there is no such home folder."""
    try:
        return user_path(text)
    except PathError:
        return Path(text)
