"""The screen that compares two model files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from textual import on
from textual.content import Content
from typing_extensions import override

from workbench.core.errors import ModelFileError
from workbench.core.models import ModelEntry
from workbench.gguf.inspect import ModelReport
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, styled
from workbench.ui.model_files.compare_pages import compare_pages
from workbench.ui.model_files.pages import Page, TablePage
from workbench.ui.model_files.pages_screen import PagesScreen
from workbench.ui.services import Services
from workbench.ui.widgets.rows import Rows


class CompareScreen(PagesScreen):
    """How two model files differ."""

    def __init__(self, services: Services, first: ModelEntry, second: ModelEntry) -> None:
        super().__init__(services)
        self._entries = (first, second)

    @override
    async def read(self) -> Callable[[], Sequence[Page]]:
        first, second = await asyncio.gather(*(self._report(entry) for entry in self._entries))
        return partial(compare_pages, (first, second))

    async def _report(self, entry: ModelEntry) -> ModelReport:
        if entry.path is None:
            raise ModelFileError(f"{entry.name} has no file to look at.", "Only models in files can be compared.")
        return await self._services.files.inspect(Path(entry.path))

    @override
    def title_for(self, width: int) -> Content:
        return _named("A", self._entries[0], width)

    @override
    def place_for(self, width: int) -> Content:
        return _named("B", self._entries[1], width)

    @on(Rows.Chosen, "#pages-rows")
    def _open_value(self, event: Rows.Chosen) -> None:
        page = self.page
        if isinstance(page, TablePage) and event.index < len(page.shown):
            from workbench.ui.dialogs.text_viewer import ValueDialog

            key, _, values = page.text(event.index).partition(": ")
            self.app.push_screen(ValueDialog(key, values.replace(" -> ", "\n\n→ ", 1)))


def _named(letter: str, entry: ModelEntry, width: int) -> Content:
    room = max(12, width - 30)
    return styled(
        (f" {letter} ", f"gauge--{letter.casefold()}"),
        (cut(entry.name, room), "gauge--model"),
        (f"  {clean_line(entry.quant or fmt.DASH)}", "gauge--figure"),
        (f"  {fmt.size(entry.size_bytes)}", "gauge--value"),
    )
