"""What stands in an empty conversation, and the offer to go on with one that was cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click
from textual.geometry import Size
from textual.message import Message

from workbench.core.session import Session
from workbench.ui.gauges import styled
from workbench.ui.sanitize import clean, clean_line
from workbench.ui.widgets.lines import Lines


class Welcome(Lines):
    """The name of the program, and the first keys."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"welcome--name", "welcome--key", "welcome--text"}

    def __init__(self, keys: Sequence[tuple[str, str]], hint: str = "") -> None:
        super().__init__(widget_id="welcome")
        self._keys = keys
        self._hint = clean(hint)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as it takes."""
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


class ResumeOffer(Lines, can_focus=True):
    """Offers a session whose program died. It does not stand in the way: what is typed goes to the prompt."""

    DEFAULT_CSS = """
    ResumeOffer {
        margin: 0 1;
        padding: 0 1;
        border-left: thick $accent;
        background: $panel;

        & > .offer--title, & > .offer--key {
            color: $text-accent;
            text-style: bold;
        }

        &:focus {
            background: $accent 20%;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"offer--title", "offer--key"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "resume", "Resume", id="offer.resume", tooltip="Go on with the interrupted session."),
        Binding("escape", "dismiss", "Not now", id="offer.dismiss", tooltip="Do not offer this session again."),
    ]

    @dataclass
    class Answered(Message):
        """The user has decided."""

        offer: ResumeOffer
        session: Session
        resume: bool
        """Whether to go on with it."""

        @property
        def control(self) -> ResumeOffer:
            """The offer."""
            return self.offer

    def __init__(self, session: Session) -> None:
        super().__init__(widget_id="offer")
        self._session = session
        count = len(session.turns)
        words = clean_line(session.title)
        self._lines = [
            styled(("A session was interrupted: ", "offer--title"), (f"“{words}”, {count} turns", "")),
            styled(("Enter", "offer--key"), (" goes on with it   ", ""), ("Esc", "offer--key"), (" not now", "")),
        ]

    def on_click(self, event: Click) -> None:
        """A click focuses it."""
        self.focus()

    def action_resume(self) -> None:
        """Go on with it."""
        self.post_message(self.Answered(self, self._session, resume=True))

    def action_dismiss(self) -> None:
        """Do not offer it again."""
        self.post_message(self.Answered(self, self._session, resume=False))
