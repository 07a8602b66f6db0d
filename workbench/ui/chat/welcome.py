"""The welcome text of an empty conversation, and the offer to resume an interrupted session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.content import Content
from textual.geometry import Size
from textual.message import Message

from workbench.core.session import Session
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import styled
from workbench.ui.widgets.lines import Lines


class Welcome(Lines):
    """The name of the program, and the first keys."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"welcome--name", "welcome--key", "welcome--text"}

    def __init__(self, keys: Sequence[tuple[str, str]], hint: str = "") -> None:
        super().__init__(widget_id="welcome")
        self._keys = keys
        self._hint = clean(hint)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        lines = [
            styled(("▌", "welcome--name"), ("workbench", "welcome--name")),
            styled(("  the right model, quantization and settings for your machine", "welcome--text")),
            Content(""),
        ]
        lines += [styled((f"  {key:<14}", "welcome--key"), (name, "welcome--text")) for key, name in self._keys]
        if self._hint:
            lines += [Content(""), *(Content("  ") + line for line in Content(self._hint).wrap(max(10, width - 2)))]
        self._lines = lines
        self.forget_drawn()
        return len(lines)


class ResumeOffer(Lines):
    """Offers a session whose program died; the prompt keeps the focus."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"offer--title", "offer--key"}

    class Clicked(Message):
        """The user accepts the offer."""

    def __init__(self, session: Session, key_for: Callable[[str], str]) -> None:
        super().__init__(widget_id="offer")
        self.session = session
        what = f"“{clean_line(session.title)}”, {len(session.turns)} turns"
        resume, dismiss = (key_for("chat.resume"), "offer--key"), (key_for("chat.stop"), "offer--key")
        self._lines = [
            styled(("A session was interrupted: ", "offer--title"), (what, "")),
            styled(resume, (" resumes it   ", ""), dismiss, (" not now", "")),
        ]

    def on_click(self) -> None:
        self.post_message(self.Clicked())
