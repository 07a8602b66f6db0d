"""What reaches into Textual where it offers no public way. Checked against Textual 8.2.8, which is pinned."""

from __future__ import annotations

import os
import selectors
import sys
import time
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.driver import Driver

ESCAPE = "\x1b"
ALT_ENTER, NEW_LINE = "\x1b\r", "\n"
"""What most terminals send for Alt+Enter, which Textual would take for Enter alone; and what stands for a new line."""
QUIET_SECONDS = 0.1
"""How often the thread that reads keys looks whether the program ends."""
PENDING_SECONDS = 0.01
"""How often it looks after an Escape: whether that was the key, or the start of a sequence, only time tells."""


def prompt_driver() -> type[Driver] | None:
    """A terminal driver that tells an Escape key within `ESCDELAY`; None where Textual's own has to do.

    Textual's driver looks for the end of that delay ten times a second only, so that a key which stops a model would
    be late by up to a tenth of a second.
    """
    if sys.platform == "win32" or "TEXTUAL_DRIVER" in os.environ:
        return None
    from textual import constants
    from textual._xterm_parser import XTermParser
    from textual.drivers.linux_driver import LinuxDriver

    class PromptDriver(LinuxDriver):
        """Reads keys as its base does, and looks more often while an Escape is pending."""

        def run_input_thread(self) -> None:
            """Turn what the terminal sends into events until the program ends."""
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
