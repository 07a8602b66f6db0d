"""The home folder, the environment and the system of a user, by which the stores of models are found."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """Where the stores of one user are searched for."""

    home: Path
    environ: Mapping[str, str]
    platform: str = sys.platform
    """As `sys.platform`."""
    root: Path = Path("/")
    """The folders of system-wide services are below it."""

    def named(self, variable: str) -> Path | None:
        """The folder that an environment variable names; None where it is not set."""
        text = self.environ.get(variable, "").strip()
        return self.expanded(text) if text else None

    def expanded(self, text: str) -> Path:
        """`text` as a path, with a leading `~` as the home folder."""
        if text == "~" or text.startswith(("~/", "~\\")):
            return self.home / text[2:]
        return Path(text)

    @property
    def cache(self) -> Path:
        """The cache folder by the XDG specification."""
        return self.named("XDG_CACHE_HOME") or self.home / ".cache"


def find_places() -> Places:
    """The places of the user who runs the program."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(os.sep)
    return Places(home, os.environ)
