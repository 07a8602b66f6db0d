"""Short messages in a line that otherwise shows something else."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.message_pump import MessagePump

SAY_SECONDS = 4.0
"""Seconds that a message stays."""


def _always() -> bool:
    return True


class TransientText:
    """A message that disappears by itself; `changed` is called whenever it changes or disappears."""

    def __init__(self, host: MessagePump, changed: Callable[[], object]) -> None:
        self._text = Content("")
        self._holds: Callable[[], bool] = _always
        self._host = host
        self._changed = changed
        self._count = 0

    @property
    def text(self) -> Content:
        """The message; empty where there is none, and where what it says is no longer so."""
        if not self._holds():
            self.clear()
        return self._text

    def say(self, text: Content, seconds: float = SAY_SECONDS, holds: Callable[[], bool] = _always) -> None:
        """Show a message for some seconds, but not longer than `holds` finds that it is so."""
        self._text = text
        self._holds = holds
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
        self._text = Content("")
        self._holds = _always
        self._count += 1
