"""The dialogs of the Models screen: filters, folders to search, and the places that could not be read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.getters import query_one
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from workbench.core.models import ScanProblem
from workbench.core.user_path import expanded
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.dialogs.typed_models import completed
from workbench.ui.keys import key
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, cut_path, paragraph, styled
from workbench.ui.models.model_list import Filter
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.options import Options
from workbench.ui.widgets.text_rows import TextRows

_KINDS = {"source": "place", "architecture": "architecture", "state": ""}
_WORDS = 44
MARGIN = 8
"""Rows of the screen that the list of problems leaves free."""


class FilterDialog(Dialog[tuple[Filter | None] | None]):
    """Asks for a filter of the list. Gives it in a tuple (None keeps all models); gives None if it was dismissed.

    `filters` come with the number of models that each keeps; `count` is the number of all models.
    """

    CSS_PATH = "screen.tcss"

    list = query_one("#filter-list", OptionList)

    def __init__(self, filters: Sequence[tuple[Filter, int]], current: Filter | None, count: int) -> None:
        super().__init__()
        self._filters: Sequence[tuple[Filter | None, int]] = [(None, count), *filters]
        self._current = current

    def compose(self) -> ComposeResult:
        with dialog_box("filter-box", "Show only", "Enter applies · Esc closes"):
            yield Options(*(Option(_row(each, count)) for each, count in self._filters), id="filter-list", markup=False)

    def on_mount(self) -> None:
        kept = [each for each, _ in self._filters]
        self.list.highlighted = kept.index(self._current) if self._current in kept else 0
        self.list.focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss((self._filters[event.option_index][0],))


def _row(each: Filter | None, count: int) -> Content:
    kind = _KINDS[each.kind] if each is not None else ""
    shorten = cut_path if each is not None and each.kind == "source" and "/" in each.value else cut
    words = shorten(each.value if each is not None else "all models", _WORDS - len(kind) - 2)
    label = f"{kind}  " if kind else ""
    gap = " " * max(1, _WORDS - len(words) - len(label))
    return Content.assemble((label, "$text-muted"), words, gap, (f"{count:>6,}", "$text-accent"))


class FolderDialog(Dialog[Path | None]):
    """Asks for a folder to search for models; `folders` are those in the config file `config`."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("folder.complete", "tab", "Complete", "Complete the typed path.", show=False, priority=True),
    ]  # fmt: skip

    path = query_one("#folder-path", InputLine)
    state = query_one("#folder-state", Label)

    def __init__(self, folders: Sequence[str], config: Path) -> None:
        super().__init__()
        self._folders = folders
        self._config = config

    def compose(self) -> ComposeResult:
        known = f"Searched already: {', '.join(self._folders)}. " if self._folders else ""
        with dialog_box("folder-box", "A folder to search for models", "Enter adds it · Tab completes · Esc closes"):
            yield InputLine("folder-path", "/path/to/models")
            text = f"{known}The config file keeps it as `model_folders`: {self._config}"
            yield Label(clean_line(text), id="folder-state", markup=False)

    @on(Input.Submitted)
    async def _take(self, event: Input.Submitted) -> None:
        folder = expanded(event.value.strip()).absolute()
        found = await asyncio.to_thread(folder.is_dir)
        if found and event.value.strip():
            self.dismiss(folder)
        else:
            self.state.update(f"There is no folder {clean_line(str(folder))}.")

    async def action_complete(self) -> None:
        self.path.value = await asyncio.to_thread(completed, self.path.value)
        self.path.cursor_position = len(self.path.value)


class ProblemsDialog(Dialog[None]):
    """Lists the places that could not be read."""

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#problems-rows"

    rows = query_one("#problems-rows", TextRows)

    def __init__(self, problems: Sequence[ScanProblem]) -> None:
        super().__init__()
        self._problems = problems

    def compose(self) -> ComposeResult:
        title = f"{fmt.counted(len(self._problems), 'place')} could not be read"
        with dialog_box("problems-box", title, "Esc closes"):
            yield TextRows("problems-rows")

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        width = self.rows.room
        lines: list[Content] = []
        for problem in self._problems:
            lines.append(styled((cut_path(str(problem.path), width), "rows--strong")))
            lines += paragraph(clean_line(problem.message), width, 2, "rows--error")
        self.rows.styles.height = max(1, min(len(lines), self.size.height - MARGIN))
        self.rows.show_lines(lines)
