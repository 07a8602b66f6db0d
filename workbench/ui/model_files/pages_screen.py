"""The screen of model files: a title, a bar of pages, and the rows of the visible one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen
from textual.widgets import Input, Label
from textual.worker import Worker

from workbench.core.errors import WorkbenchError
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut_line, paragraph, styled
from workbench.ui.model_files.pages import Page, TablePage, TextPage
from workbench.ui.model_files.section_bar import SectionBar
from workbench.ui.widgets.clipboard import CopyOut
from workbench.ui.widgets.input_line import HiddenLine
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.lines import Lines
from workbench.ui.widgets.rows import Rows
from workbench.ui.widgets.worker_errors import report_worker_error

SECTIONS = 6
"""Pages that have a key of their own."""


class FileTitle(Lines):
    """Two rows: what the pages are about."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "gauge--model", "gauge--figure", "gauge--value", "gauge--label", "gauge--a", "gauge--b",
    }  # fmt: skip


class PageRows(Rows):
    """The rows of a page; some of them are source code."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--special", "doc--comment", "doc--keyword", "doc--builtin", "doc--function", "doc--string",
    }  # fmt: skip


class PagesScreen(Screen[None]):
    """Shows what is in model files, page by page.

    Args:
        read: Reads the files and makes the pages. Raises WorkbenchError.
        title: Gives the two rows of the title for a width; asked again after reading.
        view: Gives the dialog that shows a row of a table in full.
    """

    CSS_PATH = "pages_screen.tcss"
    AUTO_FOCUS = "#pages-rows"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        key("pages.back", "escape", "Back", "End the search, or go back to the previous screen."),
        key("pages.next", "tab,right,l", "Next page", "Go to the next page.", action="next(1)"),
        key("pages.previous", "left,shift+tab,h", "Previous page",
            "Go to the previous page.", action="next(-1)", show=False),
        key("pages.search", "slash", "Search", "Show only the rows that have some words."),
        key("pages.sort", "s", "Sort", "Sort by the next column; after the last one, in the order of the file."),
        key("pages.turn", "S", "Reverse", "Reverse the order of the rows.", action="sort(True)", show=False),
        key("pages.copy", "y", "Copy", "Copy the selected row, or the text of the page."),
        *(key(f"pages.page_{number}", str(number), f"Page {number}",
              f"Go to page {number}.", action=f"open({number - 1})", show=False) for number in range(1, SECTIONS + 1)),
    ]
    # fmt: on

    title_lines = query_one(FileTitle)
    sections = query_one(SectionBar)
    search = query_one("#pages-search", HiddenLine)
    rows = query_one("#pages-rows", Rows)
    state = query_one("#pages-state", Label)

    def __init__(
        self,
        read: Callable[[], Awaitable[Sequence[Page]]],
        title: Callable[[int], Sequence[Content]],
        view: Callable[[Any], Screen[None]],
    ) -> None:
        super().__init__()
        self._read_pages = read
        self._title_for = title
        self._view = view
        self._pages: Sequence[Page] = ()
        self._opened = 0
        self._failure: WorkbenchError | None = None

    def compose(self) -> ComposeResult:
        yield FileTitle()
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
            self._pages = await self._read_pages()
        except WorkbenchError as error:
            self._failure = error
        self._show()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_worker_error(event, self._fail)

    def _fail(self, text: str) -> None:
        self._failure = WorkbenchError(text)
        self._show()

    # The visible page

    @property
    def page(self) -> Page | None:
        return self._pages[self._opened] if self._opened < len(self._pages) else None

    @property
    def table(self) -> TablePage[Any] | None:
        """The visible page, if it is a table."""
        return self.page if isinstance(self.page, TablePage) else None

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        if not self.is_attached or not self.size.width:
            return
        width = self.size.width
        self.title_lines.set_lines([cut_line(line, width - 1) for line in self._title_for(width)])
        self.sections.show([(page.name, page.badge) for page in self._pages], self._opened)
        page, width = self.page, self.rows.room
        if self._failure is not None:
            self._show_text(self._failed(self._failure))
        elif page is None:
            self._show_text([styled(("Reading…", "rows--dim"))])
        elif isinstance(page, TextPage):
            self.rows.show(len(page.lines(width)), page.row)
        elif not page.shown:
            self._show_text([styled(("Nothing matches.", "rows--dim"))], page.header(width))
        else:
            self.rows.show(len(page.shown), page.row, header=page.header(width), choosable=True, cursor=page.cursor)
        self.state.update(self.table.note() if self.table else "", layout=False)
        self.refresh_bindings()

    def _show_text(self, lines: Sequence[Content], header: Content | None = None) -> None:
        self.rows.show(len(lines), lambda index, _: lines[index], header=header)

    def _failed(self, error: WorkbenchError) -> list[Content]:
        lines = paragraph(clean_line(error.message), self.rows.room, 0, "rows--error")
        return [*lines, *paragraph(clean_line(error.hint), self.rows.room, 0, "rows--dim")]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action not in {"search", "sort"} or self.table is not None

    # Keys

    def action_back(self) -> None:
        if not self._close_search():
            self.dismiss(None)

    def action_open(self, index: int) -> None:
        if index < len(self._pages) and index != self._opened:
            self._close_search()
            self._opened = index
            self._show()
            self.rows.focus()

    def action_next(self, step: int) -> None:
        if self._pages:
            self.action_open((self._opened + step) % len(self._pages))

    @on(SectionBar.Wanted)
    def _clicked(self, event: SectionBar.Wanted) -> None:
        self.action_open(event.index)

    def action_search(self) -> None:
        self.search.open()

    def _close_search(self) -> bool:
        """Close the search. Returns whether it was open."""
        if not self.search.close():
            return False
        if self.table is not None:
            self.table.search("")
        self._show()
        self.rows.focus()
        return True

    @on(Input.Changed, "#pages-search")
    def _search(self, event: Input.Changed) -> None:
        if self.table is not None and self.search.is_open:
            self.table.search(event.value)
            self._show()

    @on(Input.Submitted, "#pages-search")
    def _searched(self) -> None:
        self.rows.focus()

    def action_sort(self, reverse: bool = False) -> None:
        if self.table is not None:
            self.table.sort(reverse=reverse)
            self._show()

    @on(Rows.HeaderClicked)
    def _sort_at(self, event: Rows.HeaderClicked) -> None:
        if self.table is not None:
            self.table.sort_at(event.x, self.rows.room)
            self._show()

    @on(Rows.Moved)
    def _moved(self, event: Rows.Moved) -> None:
        if self.table is not None:
            self.table.cursor = event.index

    @on(Rows.Chosen)
    def _chosen(self, event: Rows.Chosen) -> None:
        if self.table is not None and event.index < len(self.table.shown):
            self.app.push_screen(self._view(self.table.shown[event.index]))

    def action_copy(self) -> None:
        page, cursor = self.page, self.rows.cursor
        text = ""
        if isinstance(page, TextPage):
            text = page.copied
        elif page is not None and cursor is not None and cursor < len(page.shown):
            text = page.copied(page.shown[cursor])
        if text:
            self.post_message(CopyOut(text))
