"""The screens of model files: one file inspected, and two compared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from textual.content import Content
from textual.screen import Screen

from workbench.core.errors import ModelFileError
from workbench.core.models import ModelEntry
from workbench.gguf.header import TensorInfo
from workbench.gguf.inspect import FoldedArray, ModelReport, TensorChange
from workbench.ui.dialogs.text_viewer import ArrayDialog, ValueDialog
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, cut_path, styled
from workbench.ui.model_files.compare_pages import compare_pages, tensor_form
from workbench.ui.model_files.inspect_pages import MetadataRow, inspect_pages, tensor_text, title_line
from workbench.ui.model_files.pages import Page
from workbench.ui.model_files.pages_screen import PagesScreen
from workbench.ui.services import Services

# Highlighting and counting take a while for large files: pages are made in a thread.


def inspect_screen(services: Services, entry: ModelEntry) -> PagesScreen:
    """The screen with everything that a model file contains."""
    report: ModelReport | None = None

    async def read() -> Sequence[Page]:
        nonlocal report
        report = await services.files.inspect(_path(entry, "Only a model in a file can be inspected."))
        return await asyncio.to_thread(inspect_pages, report, entry.label_mismatch)

    def title(width: int) -> list[Content]:
        more = len(entry.places) - 1
        also = f"  and {fmt.counted(more, 'other location')}" if more > 0 else ""
        path = cut_path(entry.path or "", max(10, width - 2 - len(also)))
        return [title_line(entry, report, width), styled((f" {path}{also}", "gauge--label"))]

    def view(row: TensorInfo | MetadataRow) -> Screen[None]:
        if isinstance(row, TensorInfo):
            return ValueDialog(row.name, tensor_text(row))
        key, value = row
        if isinstance(value, FoldedArray):
            return ArrayDialog(services.files, Path(entry.path or ""), key)
        return ValueDialog(key, str(value))

    return PagesScreen(read, title, view)


def compare_screen(services: Services, first: ModelEntry, second: ModelEntry) -> PagesScreen:
    """The screen with the differences of two model files."""

    async def read() -> Sequence[Page]:
        hint = "Only models in files can be compared."
        reports = await asyncio.gather(*(services.files.inspect(_path(entry, hint)) for entry in (first, second)))
        return await asyncio.to_thread(compare_pages, *reports)

    def title(width: int) -> list[Content]:
        return [
            styled(
                (f" {letter} ", f"gauge--{letter.casefold()}"),
                (cut(entry.name, max(12, width - 30)), "gauge--model"),
                (f"  {clean_line(entry.quant or fmt.DASH)}", "gauge--figure"),
                (f"  {fmt.size(entry.size_bytes)}", "gauge--value"),
            )
            for letter, entry in (("A", first), ("B", second))
        ]

    def view(row: TensorChange | tuple[str, str, str]) -> Screen[None]:
        key, old, new = row if isinstance(row, tuple) else (row.name, tensor_form(row.first), tensor_form(row.second))
        return ValueDialog(key, f"{old}\n\n→ {new}")

    return PagesScreen(read, title, view)


def _path(entry: ModelEntry, hint: str) -> Path:
    if entry.path is None:
        raise ModelFileError(f"{entry.name} has no file to look at.", hint)
    return Path(entry.path)
