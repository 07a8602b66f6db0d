"""Short messages in a line that otherwise shows something else."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.message_pump import MessagePump

SAY_SECONDS = 4.0
"""Seconds that a message stays."""


class TransientText:
    """A message that disappears by itself; `changed` is called whenever it changes or disappears."""

    def __init__(self, host: MessagePump, changed: Callable[[], object]) -> None:
        self.text = Content("")
        self._host = host
        self._changed = changed
        self._count = 0

    def say(self, text: Content, seconds: float = SAY_SECONDS) -> None:
        self.text = text
        self._count += 1
        this = self._count
        self._changed()

        def forget() -> None:
            # Another message with the same words may have followed.
            if self._count == this:
                self.clear()
                self._changed()

        self._host.set_timer(seconds, forget)

    def clear(self) -> None:
        """Remove the message; the caller redraws the line."""
        self.text = Content("")
        self._count += 1
