"""The screen of one model file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from textual import on
from textual.content import Content
from typing_extensions import override

from workbench.core.errors import ModelFileError
from workbench.core.models import ModelEntry
from workbench.gguf.header import TensorInfo
from workbench.gguf.inspect import FoldedArray, ModelReport
from workbench.ui.kit.text import cut_path, styled
from workbench.ui.model_files.inspect_pages import MetadataRow, inspect_pages, tensor_text, title_lines
from workbench.ui.model_files.pages import Page, TablePage
from workbench.ui.model_files.pages_screen import PagesScreen
from workbench.ui.services import Services
from workbench.ui.widgets.rows import Rows


class InspectScreen(PagesScreen):
    """Everything that a model file contains."""

    def __init__(self, services: Services, entry: ModelEntry) -> None:
        super().__init__(services)
        self._entry = entry
        self._report: ModelReport | None = None

    @override
    async def read(self) -> Callable[[], Sequence[Page]]:
        if self._entry.path is None:
            raise ModelFileError(
                f"{self._entry.name} has no file to look at.", "Only a model in a file can be inspected."
            )
        report = self._report = await self._services.files.inspect(Path(self._entry.path))
        return partial(inspect_pages, report, self._entry.label_mismatch)

    @override
    def title_for(self, width: int) -> Content:
        return title_lines(self._entry, self._report, width)

    @override
    def place_for(self, width: int) -> Content:
        path = self._entry.path or ""
        more = len(self._entry.places) - 1
        also = f"  and {more} other location{'s' * (more != 1)}" if more > 0 else ""
        return styled((f" {cut_path(path, max(10, width - 2 - len(also)))}{also}", "gauge--label"))

    @on(Rows.Chosen, "#pages-rows")
    def _open_value(self, event: Rows.Chosen) -> None:
        page = self.page
        if not isinstance(page, TablePage) or event.index >= len(page.shown):
            return
        from workbench.ui.dialogs.text_viewer import ArrayDialog, ValueDialog

        row = page.shown[event.index]
        if isinstance(row, TensorInfo):
            self.app.push_screen(ValueDialog(row.name, tensor_text(row)))
        elif isinstance(row, MetadataRow) and self._entry.path is not None:
            if isinstance(row.value, FoldedArray):
                self.app.push_screen(ArrayDialog(self._services.files, Path(self._entry.path), row.key))
            else:
                self.app.push_screen(ValueDialog(row.key, str(row.value)))
