"""The list of models on the screen: found, drawn, arranged, and priced in the background."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Sequence
from contextlib import aclosing

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen
from textual.widgets import Input, Label
from textual.worker import Worker, WorkerState

from workbench.core.errors import WorkbenchError
from workbench.core.models import LibraryView, ModelEntry
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.transient import Passing
from workbench.ui.models.fit import Fitter
from workbench.ui.models.list_widget import ModelRows, ShelfLines
from workbench.ui.models.model_list import Filter, Heading, Row, Shelf
from workbench.ui.models.panel import empty_lines, panel_lines, state_text, strip_lines, title_line
from workbench.ui.models.rows import order_at
from workbench.ui.services import Services
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.rows import Rows
from workbench.ui.widgets.text_rows import TextRows
from workbench.ui.workspace.workspace import Desk

WIDE = 108
"""Columns from which there is room for the panel beside the list."""
SETTLE_SECONDS = 0.08
"""How long the cursor has to rest on a model before its file is read."""
LOOK_SECONDS = 2.0
"""How often it is looked at what is free."""


class ModelListScreen(Screen[None]):
    """The parts of the Models screen, and how they are kept up to date.

    Args:
        services: What the program works with.
        desk: The conversation of the chat: its model and its settings.
        key_for: Tells the key that a binding has.
    """

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#models-list"

    title_line = query_one("#models-title", ShelfLines)
    search = query_one("#models-search", Input)
    number = query_one("#models-number", Input)
    list = query_one("#models-list", ModelRows)
    panel = query_one("#models-panel", TextRows)
    strip = query_one("#models-strip", ShelfLines)
    state = query_one("#models-state", Label)

    def __init__(self, services: Services, desk: Desk, key_for: Callable[[str], str]) -> None:
        super().__init__(id="models")
        self._services = services
        self._desk = desk
        self._key_for = key_for
        self._moved = False
        """Whether the user has taken another row in hand."""
        self._said = Passing(self, self._show_state)
        self._failure = ""
        self._in_hand: Row | None = None
        self._typing: Input | None = None
        """The line that was opened to type in, until the focus goes elsewhere."""
        self.shelf = Shelf()
        self.fitter = Fitter(
            services, lambda: desk.conversation.load, lambda: desk.engine.info if desk.engine else None
        )

    def compose(self) -> ComposeResult:
        """Title, search, list and panel, state and keys."""
        yield ShelfLines(widget_id="models-title")
        for name, hint in (("search", "Type a few letters…"), ("number", "Context in tokens, such as 16384 or 16k…")):
            line = Input(placeholder=hint, id=f"models-{name}", classes="models-line", compact=True)
            line.select_on_focus = False
            line.cursor_blink = False
            yield line
        with Horizontal(id="models-body"):
            yield ModelRows("models-list")
            yield TextRows("models-panel")
        yield ShelfLines(widget_id="models-strip")
        yield Label("", id="models-state", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        """Look at the memory now and then."""
        self._timer = self.set_interval(LOOK_SECONDS, self._look)

    def on_screen_resume(self) -> None:
        """Look for models, and take what has changed meanwhile."""
        self._timer.resume()
        self.fitter.follow()
        self._in_hand = None
        self._find()
        self.call_after_refresh(self._show)

    def on_screen_suspend(self) -> None:
        """Nobody looks at the memory."""
        self._timer.pause()

    def on_resize(self, event: events.Resize) -> None:
        """The panel beside the list where there is room for it."""
        self.set_class(event.size.width < WIDE, "-narrow")
        self.call_after_refresh(self._show)

    # The search for models

    @work(group="library", exclusive=True, exit_on_error=False, description="look for models")
    async def _find(self, again: bool = False) -> None:
        self._failure = ""
        try:
            async with aclosing(self._services.catalog.watch(again=again)) as views:
                async for view in views:
                    self.library_changed(view)
        except WorkbenchError as error:
            self._failure = str(error)
            self._show_state()

    def library_changed(self, view: LibraryView) -> None:
        """Show what a search has found."""
        current = self._desk.model
        if self.shelf.take(view):
            if not self._moved and not (current and self.shelf.go_to(current.is_same)):
                self.shelf.go_to(lambda _: True)
            self._show()
        elif not view.models:
            self._show()
        else:
            self._show_state()

    def action_scan(self) -> None:
        """Look for models again."""
        self._find(again=True)

    # Drawing

    def _show(self) -> None:
        """Show everything."""
        if not self.is_attached or not self.size.width:
            return
        self._show_title()
        self._show_list()
        self._show_state()
        self._take_in_hand()

    def _show_title(self) -> None:
        self.title_line.set_lines([title_line(self.shelf, self.size.width)])

    def _show_list(self) -> None:
        shelf = self.shelf
        if shelf.rows:
            self.list.show_shelf(shelf, self._desk.model)
            return
        lines = empty_lines(shelf, self._services, self._key_for, self.list.room)
        self.list.show(len(lines), lambda index, _: lines[index])

    def _show_state(self) -> None:
        self._show_title()
        keys = self._key_for("models.problems")
        self.state.update(self._said.text or clean_line(self._failure) or state_text(self.shelf, keys))

    def _show_panel(self, *, top: bool) -> None:
        row = self.shelf.row
        panel = panel_lines(row, self.fitter, self._key_for, max(20, self.panel.room or self.size.width - 4))
        self.panel.show_lines(panel, top=top)
        if self.has_class("-narrow"):
            self.strip.set_lines(strip_lines(row, self.fitter, self._key_for("models.details"), self.size.width - 2))

    def say(self, text: str) -> None:
        """Say something below the list for a moment."""
        self._said.say(Content(clean_line(text)))

    # The model in hand

    def _take_in_hand(self) -> None:
        """Show what is known of the row in hand, and read what is not."""
        row = self.shelf.row
        other = row != self._in_hand
        self._in_hand = row
        self._show_panel(top=other)
        if other and row is not None:
            self._price(row.members if isinstance(row, Heading) else (row,))

    @work(group="fit", exclusive=True, exit_on_error=False, description="read the model's header")
    async def _price(self, models: Sequence[ModelEntry]) -> None:
        if not all(self.fitter.knows(model) for model in models):
            await asyncio.sleep(SETTLE_SECONDS)
        if not self.fitter.has_looked:
            await self.fitter.look()
        for model in models:
            await self.fitter.read(model)
            await self.fitter.recall(model)
            self._show_panel(top=False)

    @work(group="room", exclusive=True, exit_on_error=False, description="look at the memory")
    async def _look(self) -> None:
        if await self.fitter.look():
            self._show_panel(top=False)

    @on(Rows.Moved, "#models-list")
    def _moved_to(self, event: Rows.Moved) -> None:
        self._moved = True
        self.shelf.move_to(event.index)
        self._take_in_hand()

    @on(Rows.HeaderClicked, "#models-list")
    def _sort_at(self, event: Rows.HeaderClicked) -> None:
        if order := order_at(event.x, self.shelf, self.list.room):
            self._rearrange(lambda: self.shelf.sort_by(order))

    def _has_file(self, model: ModelEntry) -> bool:
        if model.path is None:
            self.say(f"{model.label} has no file to look at.")
        return model.path is not None

    def _wanted(self) -> ModelEntry | None:
        """The model in hand; where it is a heading, the user is told to choose."""
        model = self.shelf.model
        if model is None:
            self.say("Go to one of the quantizations first." if self.shelf.rows else "There is no model in the list.")
        return model

    # Arranging the list

    def _rearrange(self, change: Callable[[], object]) -> None:
        self._moved = True
        change()
        self._show()

    def action_sort(self) -> None:
        """Sort by what comes next."""
        self._rearrange(self.shelf.sort)

    def action_turn(self) -> None:
        """Turn the order round."""
        self._rearrange(self.shelf.turn)

    def action_regroup(self) -> None:
        """Show groups, or one row for every file."""
        self._rearrange(self.shelf.regroup)

    def action_fold(self, folded: bool) -> None:
        """Fold or unfold a group."""
        self._rearrange(lambda: self.shelf.fold(folded=folded))

    def action_fold_all(self) -> None:
        """Fold all groups, or unfold all."""
        self._rearrange(self.shelf.fold_all)

    def action_next_source(self) -> None:
        """Keep the models of the next source."""
        self._rearrange(self.shelf.next_source)

    def action_filter(self) -> None:
        """Ask what to keep in the list."""
        from workbench.ui.models.dialogs import FilterDialog

        def chosen(choice: tuple[Filter | None] | None) -> None:
            if choice is not None:
                self._rearrange(lambda: self.shelf.keep(choice[0]))

        shelf = self.shelf
        self.app.push_screen(FilterDialog(shelf.filters(), shelf.filter, len(shelf.view.models)), chosen)

    def action_search(self) -> None:
        """Ask for a few letters."""
        self._close_line(self.number)
        self.remove_class("-details")
        self._open_line(self.search)

    @on(Input.Changed, "#models-search")
    def _search(self, event: Input.Changed) -> None:
        if event.value.strip() != self.shelf.query:
            self._rearrange(lambda: self.shelf.search(event.value))

    @on(Input.Submitted, "#models-search")
    def _searched(self) -> None:
        self._typing = None
        self.list.focus()

    def _open_line(self, line: Input) -> None:
        line.add_class("-open")
        line.focus()
        self._typing = line

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Who goes elsewhere types no more."""
        if event.widget is not self._typing:
            self._typing = None

    def _close_line(self, line: Input) -> bool:
        """Close a line to type in. Returns whether it was open."""
        if not line.has_class("-open"):
            return False
        line.remove_class("-open")
        line.value = ""
        self._typing = None
        (self.panel if self.has_class("-details") else self.list).focus()
        return True

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Work that failed in a way that nobody foresaw is told, and does not end the program."""
        if event.state is WorkerState.ERROR and (error := event.worker.error) is not None:
            for line in "".join(traceback.format_exception(error)).rstrip().split("\n"):
                self._services.logs.add("error", "screen", line)
            self.say(f"{event.worker.description} failed: {type(error).__name__}. The log has more.")
