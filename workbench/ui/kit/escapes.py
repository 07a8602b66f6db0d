"""Sequences that a terminal obeys beside what is drawn: the title of its window, and notifications."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.core.config import Notifications
from workbench.ui.kit.sanitize import clean_line

PLAIN_TERMINALS = {"linux": "The console of Linux", "dumb": "This terminal", "vt100": "A VT100", "vt220": "A VT220"}
"""Terminals, by `TERM`, that know no such sequences, and their names in a sentence."""
LONGEST = 120
"""Characters of a title or a notification; terminals truncate longer ones."""
BELL = "\x07"
SAVE_TITLE = "\x1b[22;2t"
"""Puts the title on the terminal's stack (XTWINOPS)."""
RESTORE_TITLE = "\x1b]2;\x1b\\\x1b[23;2t"
"""Takes it from there. A terminal without a stack shows its own title in place of an empty one."""

_OSC_9 = {"iTerm.app", "WezTerm", "ghostty"}
"""Values of `TERM_PROGRAM` of terminals that show OSC 9 as a notification of the desktop."""
_OSC_777 = ("foot", "rxvt")
"""Beginnings of `TERM` of terminals that show OSC 777, and may know no other one."""


def takes_sequences(environ: Mapping[str, str]) -> bool:
    """Whether the terminal takes the title of its window, as far as its name tells."""
    return environ.get("TERM", "") not in PLAIN_TERMINALS.keys() | {""}


def title(text: str) -> str:
    """The sequence (OSC 2) that sets the title of the window; nothing in `text` ends it or begins another one."""
    return f"\x1b]2;{_harmless(text)}\x1b\\"


def notification(text: str, how: Notifications, environ: Mapping[str, str]) -> str:
    """The sequence that notifies somebody who looks elsewhere; empty where the user wants none.

    A "message" is one of the desktop (OSC 9, or OSC 777 with a title) where the terminal is known to show them, else
    the bell: that is what tmux and screen hand on, as an alert of their window.
    """
    if how == "off" or environ.get("TERM") in {"dumb", None}:
        return ""
    inside = "TMUX" in environ or "STY" in environ
    if how == "message" and not inside:
        term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
        if "VTE_VERSION" in environ or term.startswith(_OSC_777):
            return f"\x1b]777;notify;workbench;{_harmless(text)}\x1b\\"
        if program in _OSC_9 or term in {"xterm-kitty", "xterm-ghostty"}:
            return f"\x1b]9;workbench: {_harmless(text)}\x1b\\"
    return BELL


def _harmless(text: str) -> str:
    return clean_line(text)[:LONGEST]
