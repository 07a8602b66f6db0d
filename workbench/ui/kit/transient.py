"""What is said for a moment, in a line that otherwise shows something else."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.message_pump import MessagePump

SAY_SECONDS = 4.0
"""How long a sentence is read."""


class TransientText:
    """A line of text that goes away by itself.

    Args:
        host: Whose timers it uses.
        changed: Called when something else is said, or nothing any more.
    """

    def __init__(self, host: MessagePump, changed: Callable[[], object]) -> None:
        self.text = Content("")
        self._host = host
        self._changed = changed
        self._count = 0

    def say(self, text: Content, seconds: float = SAY_SECONDS) -> None:
        """Say something in place of what was said before."""
        self.text = text
        self._count += 1
        this = self._count
        self._changed()

        def forget() -> None:
            # The same words may have been said again meanwhile.
            if self._count == this:
                self.clear()
                self._changed()

        self._host.set_timer(seconds, forget)

    def clear(self) -> None:
        """Say nothing any more; whoever asks paints."""
        self.text = Content("")
        self._count += 1
