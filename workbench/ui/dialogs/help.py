"""The help dialog: an introduction, and the keys in force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.kit.text import styled
from workbench.ui.widgets.lines import Lines

INTRODUCTION = """\
Choose a model, talk to it, and watch its speed and memory. The figures on the right are measured where the tokens are \
generated; drawing this screen is not included.

First token is the time from Enter to the first word. Prefill is the speed at which the prompt was processed; prompt \
tokens that were already in the KV cache are counted as cached, not as processed. Decode is the speed of the answer. \
A dash stands for an unknown value. Every figure names its source: the engine, the server, or this program as a client.

F1 to F5 go from screen to screen. On every screen F6 has its settings, F7 writes a file, F8 changes the theme, F9 \
runs or loads again, F10 shows what is wrong, F12 shows the log. In lists: j and k move, g and G go to the ends, / \
searches, s sorts, f filters, Space marks, Enter opens, d deletes after a question.

When you change the model, the conversation continues with the new one. Settings that need a reload say so, and a \
model is loaded only when you ask for it. Every turn is stored on disk before the next one begins."""


KeyTable = tuple[str, Sequence[tuple[str, str, str]]]
"""The name of a screen or widget, and its keys: each with the name of its action and what that does."""


class HelpText(Lines):
    """The help as styled lines."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"help--heading", "help--key", "help--name"}

    def __init__(self, tables: Sequence[KeyTable]) -> None:
        super().__init__()
        self._tables = tables

    def on_resize(self) -> None:
        lines: list[Content] = []
        width = max(20, self.size.width)
        for paragraph in INTRODUCTION.split("\n"):
            lines += Content(paragraph).wrap(width)
        for title, rows in self._tables:
            lines += [Content(""), styled((title, "help--heading"))]
            key_width = max(len(key) for key, _, _ in rows) + 2
            for key, name, meaning in rows:
                text = Content(f"{name}. {meaning}" if meaning else name)
                first, *rest = text.wrap(max(10, width - key_width))
                lines.append(styled((key, "help--key"), (" " * (key_width - len(key)), "")) + first)
                lines += [line.pad_left(key_width) for line in rest]
        self.set_lines(lines)


class HelpDialog(Dialog[None]):
    """Explains the screen and lists the keys in force."""

    CSS_PATH = "help.tcss"

    def __init__(self, tables: Sequence[KeyTable]) -> None:
        super().__init__()
        self._tables = tables

    def compose(self) -> ComposeResult:
        with dialog_box("help-box", "Help", "↑ ↓ scroll · Esc closes"), VerticalScroll(id="help-scroll"):
            yield HelpText(self._tables)
