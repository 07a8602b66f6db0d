"""The Models screen: every model on the machine, searched, compared, and fitted to memory before it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.getters import query_one
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Label
from textual.worker import Worker

from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.models import LibraryView, ModelEntry
from workbench.core.parameters import Value
from workbench.ui.keys import keys_of
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import short_problem
from workbench.ui.models.browser import ARRANGEMENTS, ModelBrowser
from workbench.ui.models.fit import FitEstimator
from workbench.ui.models.keys import KEYS, SEARCH, WHAT_IF
from workbench.ui.models.model_actions import ACTIONS, ModelActions
from workbench.ui.models.model_list import Filter, Heading, ModelList, Row
from workbench.ui.models.panel import empty_lines, panel_lines, state_text, strip_lines, title_line
from workbench.ui.models.rows import order_at
from workbench.ui.services import Services
from workbench.ui.widgets.input_line import HiddenLine
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.list_lines import ListLines
from workbench.ui.widgets.rows import Rows
from workbench.ui.widgets.text_rows import TextRows
from workbench.ui.widgets.transient import TransientText
from workbench.ui.widgets.worker_errors import report_worker_error
from workbench.ui.workspace.workspace import Workspace

if TYPE_CHECKING:
    from workbench.ui.models.file_actions import FileActions

WIDE = 108
"""Width of the screen from which the panel is beside the list."""
LOOK_SECONDS = 2.0
"""Interval at which the free memory is measured."""


class FitPanel(TextRows, inherit_bindings=False):
    """What is known of the selected model; its keys try other settings."""

    BINDINGS: ClassVar[list[BindingType]] = [*TextRows.BINDINGS, *WHAT_IF]


class ModelsScreen(Screen[None]):
    """The list of models, and the memory that the selected one would take."""

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#models-list"
    BINDINGS: ClassVar[list[BindingType]] = KEYS

    @dataclass
    class Load(Message):
        """A model is to be loaded in the chat."""

        model: ModelEntry
        values: Mapping[str, Value]
        """Load settings that the conversation takes over, by parameter name."""

    title_line = query_one("#models-title", ListLines)
    search = query_one("#models-search", HiddenLine)
    number = query_one("#models-number", HiddenLine)
    panel = query_one("#models-panel", FitPanel)
    strip = query_one("#models-strip", ListLines)
    state = query_one("#models-state", Label)

    def __init__(self, services: Services, workspace: Workspace, key_for: Callable[[str], str]) -> None:
        super().__init__(id="models")
        self._services = services
        self._key_for = key_for
        self._message = TransientText(self, self._show_state)
        self._failure = ""
        self._shown_row: Row | None = None
        """The row that the panel shows."""
        self._show_pending = False
        self.list = ModelBrowser(
            lambda: workspace.model, lambda models, width: empty_lines(models, services, key_for, width)
        )
        self.models = self.list.models
        self.estimator = FitEstimator(
            services, lambda: workspace.conversation.load, lambda: workspace.engine.info if workspace.engine else None
        )
        self._files: FileActions | None = None
        self.actions = ModelActions(services, self.models, key_for, self.say, self)

    def compose(self) -> ComposeResult:
        yield ListLines(widget_id="models-title")
        for name, hint in (("search", "Type a few letters…"), ("number", "Context in tokens, such as 16384 or 16k…")):
            yield HiddenLine(f"models-{name}", hint, "models-line")
        with Horizontal(id="models-body"):
            yield self.list
            yield FitPanel("models-panel")
        yield ListLines(widget_id="models-strip")
        yield Label("", id="models-state", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        self._timer = self.set_interval(LOOK_SECONDS, self._look)

    def on_screen_resume(self) -> None:
        self._timer.resume()
        self.estimator.follow()
        self._shown_row = None
        self._find()
        self._show_soon()

    def on_screen_suspend(self) -> None:
        self._timer.pause()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < WIDE, "-narrow")
        self._show_soon()

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
        if self.list.update(view) or not view.models:
            self._show()
        else:
            self._show_state()

    def action_scan(self) -> None:
        self._find(again=True)

    # Drawing

    def _show_soon(self) -> None:
        """Show everything once, after the layout that is on its way."""
        if not self._show_pending:
            self._show_pending = True
            self.call_after_refresh(self._show)

    def _show(self) -> None:
        self._show_pending = False
        if self.is_attached and self.size.width:
            self.list.show_models()
            self._show_rest()

    def _show_rest(self) -> None:
        self._show_state()
        self._show_selected()

    def _show_state(self) -> None:
        self.title_line.set_lines([title_line(self.models, self.size.width)])
        state = clean_line(self._failure) or state_text(self.models, self._key_for("models.problems"))
        self.state.update(self._message.text or state, layout=False)

    def _show_panel(self, *, top: bool = False) -> None:
        row, width = self.models.row, max(20, self.panel.room or self.size.width - 4)
        self.panel.show_lines(panel_lines(row, self.estimator, self._key_for, width), top=top)
        if self.has_class("-narrow"):
            self.strip.set_lines(strip_lines(row, self.estimator, self._key_for, self.size.width - 2))

    def say(self, text: str) -> None:
        self._message.say(Content(clean_line(text)))

    # The selected model

    @on(Rows.Moved, "#models-list")
    def _show_selected(self) -> None:
        """Show what is known of the selected row, and read what is not."""
        row, before = self.models.row, self._shown_row
        changed, self._shown_row = row != before, row
        self._show_panel(top=changed)
        if changed and row is not None:
            self._estimate(row.members if isinstance(row, Heading) else (row,))

    @work(group="fit", exclusive=True, exit_on_error=False, description="read the model's header")
    async def _estimate(self, models: Sequence[ModelEntry]) -> None:
        async for _ in self.estimator.learn(models):
            self._show_panel()

    @work(group="room", exclusive=True, exit_on_error=False, description="measure the free memory")
    async def _look(self) -> None:
        if await self.estimator.look():
            self._show_panel()

    # Keys

    def _arrange(self, change: Callable[[ModelList], object]) -> None:
        self.list.rearrange(change)
        self._show_rest()

    @on(Rows.HeaderClicked, "#models-list")
    def _sort_at(self, event: Rows.HeaderClicked) -> None:
        if order := order_at(event.x, self.models, self.list.room):
            self._arrange(lambda models: models.sort_by(order))

    def action_arrange(self, change: str) -> None:
        self._arrange(ARRANGEMENTS[change])

    def action_filter(self) -> None:
        from workbench.ui.models.dialogs import FilterDialog

        def chosen(choice: tuple[Filter | None] | None) -> None:
            if choice is not None:
                self._arrange(lambda models: models.set_filter(choice[0]))

        models = self.models
        self.app.push_screen(FilterDialog(models.filters(), models.filter, len(models.view.models)), chosen)

    def action_what_if(self, name: str, step: int = 1) -> None:
        if name != "longest" or self.actions.selected() is not None:
            self._try(lambda: self.estimator.try_next(name, step, self.models.model))

    def _try(self, change: Callable[[], None]) -> bool:
        """Change the settings on trial. Returns whether that was possible."""
        try:
            change()
        except ParameterError as error:
            self.say(str(error))
            return False
        self._show_panel()
        return True

    def action_type(self, line: str, begun: str = "") -> None:
        if line == "search":
            self._close_line(self.number)
            self.remove_class("-details")
            self.search.open()
        else:
            self.number.open(begun)

    def _close_line(self, line: HiddenLine) -> bool:
        """Close an input line. Returns whether it was open."""
        if not line.close():
            return False
        (self.panel if line is self.number or self.has_class("-details") else self.list).focus()
        return True

    @on(Input.Changed, "#models-search")
    def _search(self, event: Input.Changed) -> None:
        if event.value.strip() != self.models.query:
            self._arrange(lambda models: models.search(event.value))

    @on(Input.Submitted, "#models-search")
    def _searched(self) -> None:
        self.search.is_typed_in = False
        self.list.focus()

    @on(Input.Submitted, "#models-number")
    def _take_context(self, event: Input.Submitted) -> None:
        if self._try(lambda: self.estimator.try_context(event.value)):
            self._close_line(self.number)

    def on_key(self, event: events.Key) -> None:
        """In the panel, a digit begins a context; while a search is typed, up and down move through the list."""
        typing = isinstance(self.focused, Input)
        typed_in = next((line for line in (self.search, self.number) if line.is_typed_in), None)
        if typed_in is not None and event.is_printable and event.character:
            # It was pressed before the line had the focus.
            event.stop()
            event.prevent_default()
            typed_in.insert_text_at_cursor(event.character)
        elif not typing and event.key in keys_of(SEARCH, self._services.config.keymap):
            # Bindings are looked up later, when letters typed fast are on their way as keys already.
            event.stop()
            self.action_type("search")
        elif self.focused is self.panel and event.character is not None and event.character in "123456789":
            event.stop()
            self.action_type("number", event.character)
        elif self.focused is self.search and event.key in {"up", "down", "pageup", "pagedown"}:
            event.stop()
            event.prevent_default()
            step = 1 if "down" in event.key else -1
            self.list.action_page(step) if "page" in event.key else self.list.action_move(step)

    def action_back(self) -> None:
        if self._close_line(self.number) or self._close_line(self.search) or (self._files and self._files.stop()):
            return
        if self.has_class("-details") or self.focused is self.panel:
            self.action_details()
        elif self.models.clear_marks():
            self._show()
        elif self.models.filter is not None:
            self._arrange(lambda models: models.set_filter(None))
        else:
            self.say(f"{self._key_for('app.chat')} goes to the chat.")

    def action_details(self) -> None:
        narrow = self.has_class("-narrow")
        to_panel = not self.has_class("-details") if narrow else self.focused is not self.panel
        self.set_class(narrow and to_panel, "-details")
        (self.panel if to_panel else self.list).focus()
        self._show_soon()

    # Actions on models

    def action_mark(self) -> None:
        if self.actions.selected() is not None:
            self._arrange(lambda models: models.toggle_mark())
            self.list.action_move(1)

    @on(Rows.Chosen, "#models-list")
    def _open(self) -> None:
        row = self.models.row
        if isinstance(row, Heading):
            self._arrange(lambda models: models.fold(folded=not row.folded))
        elif row is not None:
            self.actions.inspect(row)

    def action_act(self, name: str) -> None:
        ACTIONS[name](self.actions)

    def action_file(self, name: str) -> None:
        from workbench.ui.models.file_actions import FileActions

        if self._files is None:
            self._files = FileActions(self._services, self.actions.selected, self.say, self)
        self._files.run(name)

    @work(group="servers", exit_on_error=False, description="unload a model of a server")
    async def action_unload(self) -> None:
        if await self.actions.unload():
            self._find()

    def action_load(self, with_trial: bool = False) -> None:
        model = self.actions.selected()
        if model is not None and model.problem:
            self.say(f"It cannot be loaded: {short_problem(model)}")
        elif model is not None:
            self.post_message(self.Load(model, dict(self.estimator.what_if.values) if with_trial else {}))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_worker_error(event, self.say)
