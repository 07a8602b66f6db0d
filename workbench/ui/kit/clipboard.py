"""Copying out of the program: by a sequence that most terminals obey, and into a file where one is known not to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.app import App
from textual.message import Message

from workbench.core.errors import WorkbenchError
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line

MOST_BYTES = 74_994
"""Bytes of a text that every terminal takes which takes any: many cut the sequence, in base64, at 100,000 bytes."""
VTE_SINCE, KONSOLE_SINCE = 7_800, 241_200
"""The versions, as the terminals put them into the environment, that obey the sequence for all that is known."""
FILE_SECONDS = 12.0
"""How long is said where a copy lies."""

_TERMS = {"linux": "The console of Linux", "dumb": "This terminal", "vt100": "A VT100", "vt220": "A VT220"}
_PROGRAMS = {"Apple_Terminal": "Apple's Terminal"}
_VERSIONS = (
    ("VTE_VERSION", VTE_SINCE, "A terminal of VTE before 0.78"),
    ("KONSOLE_VERSION", KONSOLE_SINCE, "Konsole before 24.12"),
)


@dataclass
class CopyOut(Message):
    """Somebody wants a text copied."""

    text: str
    said: str = "Copied."
    """What is said when it is."""
    to_file: bool = False
    """Whether it is to be in a file, whatever the terminal does."""


def refusing(environ: Mapping[str, str]) -> str:
    """The terminal, in words, if it is one that is known to take no copies; else empty.

    No terminal answers the sequence (OSC 52), so that nothing but its name can tell. Inside tmux and screen the names
    in the environment are those of a terminal that may long be gone.
    """
    if "TMUX" in environ or "STY" in environ:
        return ""
    if name := _TERMS.get(environ.get("TERM", "")) or _PROGRAMS.get(environ.get("TERM_PROGRAM", "")):
        return name
    for variable, since, words in _VERSIONS:
        version = environ.get(variable, "")
        if version.isascii() and version.isdecimal() and int(version) < since:
            return words
    return ""


def obstacle(text: str, environ: Mapping[str, str]) -> str:
    """Why the terminal may not have taken a copy, as a sentence; empty where nothing is known against it."""
    if name := refusing(environ):
        return f"{name} takes no copies."
    size = len(text.encode("utf-8", "surrogatepass"))
    return f"Many terminals cut a copy of {fmt.size(size)}." if size > MOST_BYTES else ""


class Copier:
    """Copies texts, and says where they are.

    Args:
        app: The program.
        keep: Writes a text to a new file, and gives its path. Raises WorkbenchError.
    """

    def __init__(self, app: App[Any], keep: Callable[[str], Path]) -> None:
        self._app = app
        self._keep = keep

    def copy(self, wanted: CopyOut) -> None:
        """Copy a text; into a file as well where that is wanted, or the terminal may not take it."""
        # A name of a file need not be text, and the terminal is sent nothing else.
        self._app.copy_to_clipboard(wanted.text.encode("utf-8", "replace").decode())
        why = "" if wanted.to_file else obstacle(wanted.text, os.environ)
        if why or wanted.to_file:
            write = self._write(wanted.text, why)
            self._app.run_worker(write, group="copy", exit_on_error=False, description="write a copy")
        else:
            self._app.notify(wanted.said, timeout=2, markup=False)

    async def _write(self, text: str, why: str) -> None:
        try:
            path = await asyncio.to_thread(self._keep, text)
        except WorkbenchError as error:
            self._app.notify(clean_line(f"{why} {error}".lstrip()), severity="error", markup=False)
        else:
            said = f"{why} The text is in {path}" if why else f"Copied to {path}"
            self._app.notify(clean_line(said), timeout=FILE_SECONDS, markup=False)
