"""The help dialog: an introduction, and the keys in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content, Span

from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.widgets.lines import Lines

INTRODUCTION = """\
Choose a model, talk to it, and watch its speed and memory. The figures on the right are measured where the tokens are \
generated; drawing this screen is not included.

First token is the time from Enter to the first word. Prefill is the speed at which the prompt was processed; prompt \
tokens that were already in the KV cache are counted as cached, not as processed. Decode is the speed of the answer. \
A dash stands for an unknown value. Every figure names its source: the engine, the server, or this program as a client.

When you change the model, the conversation continues with the new one. Settings that need a reload say so, and a \
model is loaded only when you ask for it. Every turn is stored on disk before the next one begins."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key and its action."""

    key: str
    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class KeyTable:
    """The keys of one screen or widget."""

    title: str
    rows: Sequence[KeyRow]


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
        for table in self._tables:
            lines += [Content(""), Content(table.title, [Span(0, len(table.title), "help--heading")])]
            key_width = max(len(row.key) for row in table.rows) + 2
            for row in table.rows:
                indent = " " * key_width
                text = Content(f"{row.name}. {row.meaning}" if row.meaning else row.name)
                first, *rest = text.wrap(max(10, width - key_width))
                key = row.key.ljust(key_width)
                lines.append(Content(key, [Span(0, len(row.key), "help--key")]) + first)
                lines += [Content(indent) + line for line in rest]
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
