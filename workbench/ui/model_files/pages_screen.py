"""The screen of model files: a title, a bar of pages, and the rows of the visible one."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen
from textual.widgets import Input, Label
from textual.worker import Worker
from typing_extensions import override

from workbench.core.errors import WorkbenchError
from workbench.ui.kit.clipboard import CopyOut
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import paragraph, styled
from workbench.ui.kit.worker_errors import report_worker_error
from workbench.ui.model_files.pages import Page, TablePage
from workbench.ui.model_files.section_bar import SectionBar
from workbench.ui.services import Services
from workbench.ui.widgets.input_line import HiddenLine
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.lines import Lines
from workbench.ui.widgets.rows import Rows

SECTIONS = 6
"""Pages that have a key of their own."""


class TitleLine(Lines):
    """One row with the name of a file."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "gauge--model", "gauge--figure", "gauge--value", "gauge--label", "gauge--a", "gauge--b",
    }  # fmt: skip


class PageRows(Rows):
    """The rows of a page; some of them are source code."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--special", "doc--comment", "doc--keyword", "doc--builtin", "doc--function", "doc--string",
    }  # fmt: skip


class PagesScreen(Screen[None]):
    """Reads files in a thread and shows what is in them, page by page."""

    CSS_PATH = "pages_screen.tcss"
    AUTO_FOCUS = "#pages-rows"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="pages.back",
                tooltip="End the search, or go back to the previous screen."),
        Binding("tab,right,l", "next(1)", "Next page", id="pages.next", tooltip="Go to the next page."),
        Binding("left,shift+tab,h", "next(-1)", "Previous page", id="pages.previous", show=False,
                tooltip="Go to the previous page."),
        Binding("slash", "search", "Search", id="pages.search", tooltip="Show only the rows that have some words."),
        Binding("s", "sort", "Sort", id="pages.sort",
                tooltip="Sort by the next column; after the last one, in the order of the file."),
        Binding("r", "turn", "Reverse", id="pages.turn", show=False, tooltip="Reverse the order of the rows."),
        Binding("y", "copy", "Copy", id="pages.copy", tooltip="Copy the selected row, or the text of the page."),
        *(Binding(str(number), f"open({number - 1})", f"Page {number}", id=f"pages.page_{number}", show=False,
                  tooltip=f"Go to page {number}.") for number in range(1, SECTIONS + 1)),
    ]
    # fmt: on

    title_line = query_one("#pages-title", TitleLine)
    place = query_one("#pages-place", TitleLine)
    sections = query_one(SectionBar)
    search = query_one("#pages-search", HiddenLine)
    rows = query_one("#pages-rows", Rows)
    state = query_one("#pages-state", Label)

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._pages: Sequence[Page] = ()
        self._opened = 0
        self._failure: WorkbenchError | None = None

    @override
    def compose(self) -> ComposeResult:
        yield TitleLine(widget_id="pages-title")
        yield TitleLine(widget_id="pages-place")
        yield SectionBar()
        yield HiddenLine("pages-search", "Type words to show only the rows that have them…")
        yield PageRows("pages-rows")
        yield Label("", id="pages-state", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        self._show()
        self._read()

    @work(group="pages", exclusive=True, exit_on_error=False, description="read the file")
    async def _read(self) -> None:
        try:
            make = await self.read()
            # Highlighting and counting take a while for large files.
            self._pages = await asyncio.to_thread(make)
        except WorkbenchError as error:
            self._failure = error
        self._show()
        self._say()

    @abstractmethod
    async def read(self) -> Callable[[], Sequence[Page]]:
        """Read the files; gives the function that makes the pages, which is called in a thread.

        Raises:
            WorkbenchError: It cannot be read.
        """

    @abstractmethod
    def title_for(self, width: int) -> Content:
        """The first row."""

    @abstractmethod
    def place_for(self, width: int) -> Content:
        """The second row."""

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_worker_error(event, self._fail)

    def _fail(self, text: str) -> None:
        self._failure = WorkbenchError(text)
        self._show()

    # The visible page

    @property
    def page(self) -> Page | None:
        return self._pages[self._opened] if self._opened < len(self._pages) else None

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        if not self.is_attached or not self.size.width:
            return
        width = self.size.width
        self.title_line.set_lines([self.title_for(width)])
        self.place.set_lines([self.place_for(width)])
        self.sections.show([(page.name, page.badge) for page in self._pages], self._opened)
        page = self.page
        if self._failure is not None:
            self._show_text(self._failed(self._failure))
        elif page is None:
            self._show_text([styled(("Reading…", "rows--dim"))])
        elif not (count := page.count(self.rows.room)) and page.choosable:
            self._show_text([styled(("Nothing matches.", "rows--dim"))], page.header(self.rows.room))
        else:
            self.rows.show(
                count,
                page.row,
                header=page.header(self.rows.room),
                choosable=page.choosable,
                cursor=page.cursor,
            )
        self._say()
        self.refresh_bindings()

    def _show_text(self, lines: Sequence[Content], header: Content | None = None) -> None:
        self.rows.show(len(lines), lambda index, _: lines[index], header=header)

    def _failed(self, error: WorkbenchError) -> list[Content]:
        lines = paragraph(clean_line(error.message), self.rows.room, 0, "rows--error")
        return [*lines, *paragraph(clean_line(error.hint), self.rows.room, 0, "rows--dim")]

    def _say(self) -> None:
        page = self.page
        self.state.update(page.note() if page else "", layout=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {"search", "sort", "turn"}:
            return self.page is not None and self.page.searchable
        return True

    # Keys

    def action_back(self) -> None:
        if not self._close_search():
            self.dismiss(None)

    def action_open(self, index: int) -> None:
        if index < len(self._pages) and index != self._opened:
            self._close_search()
            self._remember()
            self._opened = index
            self._show()
            self.rows.focus()

    def action_next(self, step: int) -> None:
        if self._pages:
            self.action_open((self._opened + step) % len(self._pages))

    def _remember(self) -> None:
        if self.page is not None and self.rows.cursor is not None:
            self.page.cursor = self.rows.cursor

    @on(SectionBar.Wanted)
    def _clicked(self, event: SectionBar.Wanted) -> None:
        self.action_open(event.index)

    def action_search(self) -> None:
        self.search.open()

    def _close_search(self) -> bool:
        """Close the search. Returns whether it was open."""
        if not self.search.close():
            return False
        if self.page is not None:
            self.page.search("")
        self._show()
        self.rows.focus()
        return True

    @on(Input.Changed, "#pages-search")
    def _search(self, event: Input.Changed) -> None:
        if self.page is not None and self.search.is_open:
            self.page.search(event.value)
            self._show()

    @on(Input.Submitted, "#pages-search")
    def _searched(self) -> None:
        self.rows.focus()

    def action_sort(self) -> None:
        if self.page is not None:
            self.page.sort()
            self._show()

    def action_turn(self) -> None:
        if self.page is not None:
            self.page.sort(reverse=True)
            self._show()

    @on(Rows.HeaderClicked)
    def _sort_at(self, event: Rows.HeaderClicked) -> None:
        if isinstance(self.page, TablePage):
            self.page.sort_at(event.x, self.rows.room)
            self._show()

    @on(Rows.Moved)
    def _moved(self, event: Rows.Moved) -> None:
        if self.page is not None:
            self.page.cursor = event.index

    def action_copy(self) -> None:
        text = self.page.text(self.rows.cursor) if self.page else ""
        if text:
            self.post_message(CopyOut(text))
