"""Access to private parts of Textual where it has no public API. Checked against Textual 8.2.8, which is pinned."""

from __future__ import annotations

import os
import selectors
import sys
import time
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING

from textual.cache import LRUCache
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.binding import Binding
    from textual.driver import Driver
    from textual.widget import Widget

ESCAPE = "\x1b"
ALT_ENTER, NEW_LINE = "\x1b\r", "\n"
"""The bytes of Alt+Enter in most terminals, which Textual would read as Enter; and of a new line."""
QUIET_SECONDS = 0.1
"""How often the thread that reads keys checks whether the program ends."""
PENDING_SECONDS = 0.01
"""How often it checks after an Escape: only time shows whether that was the key or the start of a sequence."""
THEMES_KEPT = 8
"""The number of themes whose parsed style sheets are cached."""
SHEETS_KEPT = 256
"""The number of sheets that are cached for each theme; there is one for each class of widget and of screen."""


def prompt_driver() -> type[Driver] | None:
    """A terminal driver that reports an Escape key within `ESCDELAY`; None where Textual's own driver is used.

    Textual's driver checks for the end of that delay ten times a second only, so that a key which stops a model would
    be late by up to 0.1 s.
    """
    if sys.platform == "win32" or "TEXTUAL_DRIVER" in os.environ:
        return None
    from textual import constants
    from textual._xterm_parser import XTermParser
    from textual.drivers.linux_driver import LinuxDriver

    class PromptDriver(LinuxDriver):
        """Reads keys as its base does, and checks more often while an Escape is pending."""

        def run_input_thread(self) -> None:
            parser = XTermParser()
            decode = getincrementaldecoder("utf-8")("replace").decode
            pending_until = 0.0
            with selectors.SelectSelector() as selector:
                selector.register(self.fileno, selectors.EVENT_READ)
                while not self.exit_event.is_set():
                    pending = time.monotonic() < pending_until
                    if selector.select(PENDING_SECONDS if pending else QUIET_SECONDS):
                        text = decode(os.read(self.fileno, 4096)).replace(ALT_ENTER, NEW_LINE)
                        if ESCAPE in text:
                            pending_until = time.monotonic() + constants.ESCAPE_DELAY + QUIET_SECONDS
                        for event in parser.feed(text) if text else ():
                            self.process_message(event)
                    for event in parser.tick():
                        self.process_message(event)

    return PromptDriver


def bindings_of(widget: Widget, key: str) -> Sequence[Binding]:
    """The bindings that a widget itself has for a key, without those of its parents."""
    return widget._bindings.key_to_bindings.get(key, ())


class KeptStylesheet(Stylesheet):
    """Parses the same text with the same variables once in a process.

    Textual parses every sheet again whenever the variables are set, even to the same values: twice before the first
    screen is drawn, and all sheets of all screens for each theme that is tried.
    """

    def __init__(self, *, variables: dict[str, str] | None = None) -> None:
        super().__init__(variables=variables)
        self._parse_cache = _parsed_with(self._variables)

    def set_variables(self, variables: dict[str, str]) -> None:
        # The base class clears the cache, which other sheets share.
        self._parse_cache = LRUCache(1)
        super().set_variables(variables)
        self._parse_cache = _parsed_with(variables)

    def reparse(self) -> None:
        self.parse()


_parsed: LRUCache[frozenset[tuple[str, str]], LRUCache[tuple, list[RuleSet]]] = LRUCache(THEMES_KEPT)
"""The parsed rules by the variables. No sheet changes a rule after parsing."""


def _parsed_with(variables: dict[str, str]) -> LRUCache[tuple, list[RuleSet]]:
    key = frozenset(variables.items())
    if (kept := _parsed.get(key)) is None:
        kept = _parsed[key] = LRUCache(SHEETS_KEPT)
    return kept
