"""The welcome text of an empty conversation, and the offer to resume an interrupted session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.content import Content
from textual.geometry import Size
from textual.message import Message

from workbench.core.models import DEMO, ModelEntry
from workbench.core.servers import is_server_ref, split_ref
from workbench.core.session import Session
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import paragraph, styled
from workbench.ui.widgets.lines import Lines

KEYS = 16
"""Columns of the keys, before what they do."""


def ways_to_a_model(models: Sequence[ModelEntry], key_for: Callable[[str], str]) -> list[tuple[str, str]]:
    """How to get a model where none is open: keys or commands, and what they do; `models` are those found so far."""
    choose = key_for("chat.models")
    ways = [(choose, "a path, a folder of models, or a server's host:port")]
    usable = [model for model in models if not model.problem]
    servers = sorted({split_ref(model.ref)[0] for model in usable if is_server_ref(model.ref)})
    files = sum(not is_server_ref(model.ref) and model.ref != DEMO for model in usable)
    if files:
        ways.append((choose, f"{files:,} model{'s were' if files > 1 else ' was'} found on this machine"))
    if servers:
        ways.append((choose, f"the models of {' and '.join(map(clean_line, servers))}, which was found"))
    if any(model.ref == DEMO for model in usable):
        ways.append((f"/load {DEMO}", "the demo model, a small one"))
    return [*ways, (key_for("app.models"), "a download: D searches the registries of models")]


class Welcome(Lines):
    """The name of the program, and the first keys; without a model, first the ways to one."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"welcome--name", "welcome--key", "welcome--text"}

    def __init__(self) -> None:
        super().__init__(widget_id="welcome")
        self.show(())

    def show(self, keys: Sequence[tuple[str, str]], hint: str = "", ways: Sequence[tuple[str, str]] = ()) -> None:
        """Show keys, each with what it does, ways to a model, and a hint below."""
        self._keys, self._hint = keys, clean(hint)
        self.show_ways(ways)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        lines = [
            styled(("▌", "welcome--name"), ("workbench", "welcome--name")),
            *paragraph("the right model, quantization and settings for your machine", width, 2, "welcome--text"),
            Content(""),
        ]
        if self._ways:
            lines += [styled(("  No model is open. One comes from:", "welcome--name"))]
            lines += [row for way in self._ways for row in self._rows(*way, width)] + [Content("")]
        lines += [row for key in self._keys for row in self._rows(*key, width)]
        if self._hint:
            lines += [Content(""), *(Content("  ") + line for line in Content(self._hint).wrap(max(10, width - 2)))]
        self._lines = lines
        self.forget_drawn()
        return len(lines)

    @staticmethod
    def _rows(key: str, text: str, width: int) -> list[Content]:
        first, *rest = paragraph(text, width, KEYS, "welcome--text")
        return [styled((f"  {key:<{KEYS - 2}}", "welcome--key")) + first[KEYS:], *rest]

    def show_ways(self, ways: Sequence[tuple[str, str]]) -> None:
        """Show other ways to a model; the hint says how to install the demo model, where that is none of them."""
        self._ways = ways
        if any(DEMO in key for key, _ in ways):
            self._hint = ""
        self.refresh(layout=True)


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
