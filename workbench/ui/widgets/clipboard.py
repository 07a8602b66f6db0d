"""Copies texts to the clipboard by OSC 52, and into a file where the terminal is known not to support that."""

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
from workbench.ui.kit.escapes import PLAIN_TERMINALS
from workbench.ui.kit.sanitize import clean_line

MOST_BYTES = 74_994
"""The largest copy in bytes that terminals do not truncate: many cut the sequence, in base64, at 100,000 bytes."""
VTE_SINCE, KONSOLE_SINCE = 7_800, 241_200
"""The first versions, as in the environment, that support OSC 52."""
FILE_SECONDS = 12.0
"""Seconds that the path of a copy is shown."""

_PROGRAMS = {"Apple_Terminal": "Apple's Terminal"}
_VERSIONS = (
    ("VTE_VERSION", VTE_SINCE, "A terminal of VTE before 0.78"),
    ("KONSOLE_VERSION", KONSOLE_SINCE, "Konsole before 24.12"),
)


@dataclass
class CopyOut(Message):
    """A request to copy a text."""

    text: str
    said: str = "Copied."
    """The message afterwards."""
    to_file: bool = False
    """Whether to write it to a file even if the terminal supports copies."""


def refusing(environ: Mapping[str, str]) -> str:
    """The name of a terminal that is known not to support copies; else empty.

    Terminals do not answer OSC 52, so that only the name is known. Inside tmux and screen the environment may name
    a terminal that is no longer attached.
    """
    if "TMUX" in environ or "STY" in environ:
        return ""
    if name := PLAIN_TERMINALS.get(environ.get("TERM", "")) or _PROGRAMS.get(environ.get("TERM_PROGRAM", "")):
        return name
    for variable, since, words in _VERSIONS:
        version = environ.get(variable, "")
        if version.isascii() and version.isdecimal() and int(version) < since:
            return words
    return ""


def obstacle(text: str, environ: Mapping[str, str]) -> str:
    """Why the terminal may have refused or truncated a copy; empty where no reason is known."""
    if name := refusing(environ):
        return f"{name} does not support copies."
    size = len(text.encode("utf-8", "surrogatepass"))
    return f"Many terminals truncate a copy of {fmt.size(size)}." if size > MOST_BYTES else ""


class Copier:
    """Copies texts, and shows where they went; `keep` writes one to a new file, or raises WorkbenchError."""

    def __init__(self, app: App[Any], keep: Callable[[str], Path]) -> None:
        self._app = app
        self._keep = keep

    def copy(self, wanted: CopyOut) -> None:
        """Copy a text; also into a file on request, or where the terminal may refuse it."""
        # A file name may hold bytes that are not text, which cannot be sent to the terminal.
        self._app.copy_to_clipboard(wanted.text.encode("utf-8", "replace").decode())
        why = "" if wanted.to_file else obstacle(wanted.text, os.environ)
        if why or wanted.to_file:
            write = self._write(wanted.text, why)
            self._app.run_worker(write, group="copy", exit_on_error=False, description="write a copy")
        else:
            self._app.notify(wanted.said, timeout=2)

    async def _write(self, text: str, why: str) -> None:
        try:
            path = await asyncio.to_thread(self._keep, text)
        except WorkbenchError as error:
            self._app.notify(clean_line(f"{why} {error}".lstrip()), severity="error")
        else:
            said = f"{why} The text is in {path}" if why else f"Copied to {path}"
            self._app.notify(clean_line(said), timeout=FILE_SECONDS)
