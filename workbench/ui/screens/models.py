"""Every model on the machine: found, understood, compared, and fitted to memory before it is loaded."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.getters import query_one
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Label
from textual.worker import Worker, WorkerState

from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.models import LibraryView, ModelEntry, variants_of
from workbench.core.parameters import Value
from workbench.ui.desk import Desk
from workbench.ui.fitter import Fitter
from workbench.ui.sanitize import clean_line
from workbench.ui.services import Services
from workbench.ui.shelf import Filter, Heading, Row, Shelf
from workbench.ui.shelfpanel import empty_lines, panel_lines, state_text, strip_lines, title_line
from workbench.ui.shelving import order_at, short_problem
from workbench.ui.whatif import BATCHES, FLASH, next_context, typed_context
from workbench.ui.widgets.keybar import KeyBar
from workbench.ui.widgets.rows import Rows
from workbench.ui.widgets.shelf import ModelRows, ShelfLines, TextRows

WIDE = 108
"""Columns from which there is room for the panel beside the list."""
SETTLE_SECONDS = 0.08
"""How long the cursor has to rest on a model before its file is read."""
LOOK_SECONDS = 2.0
"""How often it is looked at what is free."""
SAY_SECONDS = 4.0


class ModelsScreen(Screen[None]):
    """The list of models, and what the one in hand would take.

    Args:
        services: What the program works with.
        desk: The conversation of the chat: its model and its settings.
        key_for: Tells the key that a binding has.
    """

    CSS_PATH = "models.tcss"
    AUTO_FOCUS = "#models-list"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "load", "Load", id="models.load",
                tooltip="Load the model in the chat; the conversation goes on with it."),
        Binding("slash", "search", "Search", id="models.search", tooltip="Find models by a few letters."),
        Binding("s", "sort", "Sort", id="models.sort", tooltip="Sort by what comes next."),
        Binding("f", "next_source", "Filter", id="models.source",
                tooltip="Keep the models of one source, with each press of the next one; at last all."),
        Binding("space", "mark", "Mark", id="models.mark", tooltip="Mark the model; two can be compared."),
        Binding("c", "compare", "Compare", id="models.compare",
                tooltip="Compare the two marked models, or the marked one with the one in hand."),
        Binding("m", "quantize", "Quantize", id="models.quantize", tooltip="Make another quantization of the model."),
        Binding("L", "load_with", "Load so", id="models.load_with",
                tooltip="Load the model with the settings on trial; they become those of the conversation."),
        Binding("tab", "details", "Panel", id="models.details",
                tooltip="Go to the panel and back; on a narrow screen, show it."),
        Binding("escape", "back", "Back", id="models.back", show=False,
                tooltip="End the search, close the panel, then take marks and filter away."),
        Binding("S", "turn", "Turn round", id="models.turn", show=False, tooltip="Turn the order round."),
        Binding("F", "filter", "Filters", id="models.filter", show=False,
                tooltip="Keep the models of one source, of one architecture, or in one state."),
        Binding("g", "regroup", "Group", id="models.group", show=False,
                tooltip="Show quantizations under their models, or every file in one row."),
        Binding("left", "fold(True)", "Fold", id="models.fold", show=False, tooltip="Fold the group in hand."),
        Binding("right", "fold(False)", "Unfold", id="models.unfold", show=False, tooltip="Unfold the group in hand."),
        Binding("z", "fold_all", "Fold all", id="models.fold_all", show=False,
                tooltip="Fold all groups, or unfold all."),
        Binding("y", "copy", "Copy path", id="models.copy", show=False, tooltip="Copy the path of the model in hand."),
        Binding("r", "scan", "Scan again", id="models.scan", show=False, tooltip="Look for models again."),
        Binding("p", "problems", "Problems", id="models.problems", show=False, tooltip="List what could not be read."),
        Binding("left_square_bracket", "context(-1)", "Shorter context", id="models.shorter", show=False,
                tooltip="What if: half the context."),
        Binding("right_square_bracket", "context(1)", "Longer context", id="models.longer", show=False,
                tooltip="What if: twice the context."),
        Binding("n", "number", "Context", id="models.number", show=False,
                tooltip="What if: type the context, such as 16384 or 16k; a digit begins it too."),
        Binding("x", "longest", "Longest context", id="models.longest", show=False,
                tooltip="What if: the longest context that fits."),
        Binding("k", "next('type_k')", "K type", id="models.type_k", show=False,
                tooltip="What if: another type of the keys in the cache."),
        Binding("v", "next('type_v')", "V type", id="models.type_v", show=False,
                tooltip="What if: another type of the values in the cache."),
        Binding("minus", "layers(-1)", "Fewer GPU layers", id="models.fewer_layers", show=False,
                tooltip="What if: one layer fewer on the GPUs."),
        Binding("plus,equals_sign", "layers(1)", "More GPU layers", id="models.more_layers", show=False,
                tooltip="What if: one layer more on the GPUs."),
        Binding("a", "next('flash_attn')", "Flash attention", id="models.flash", show=False,
                tooltip="What if: flash attention on, off, or left to llama.cpp."),
        Binding("b", "next('num_batch')", "Batch", id="models.batch", show=False,
                tooltip="What if: another batch size."),
        Binding("0,backspace", "reset", "Reset", id="models.reset", show=False,
                tooltip="What if: back to the settings of the conversation."),
    ]
    # fmt: on

    title_line = query_one("#models-title", ShelfLines)
    search = query_one("#models-search", Input)
    number = query_one("#models-number", Input)
    list = query_one("#models-list", ModelRows)
    panel = query_one("#models-panel", TextRows)
    strip = query_one("#models-strip", ShelfLines)
    state = query_one("#models-state", Label)

    @dataclass
    class Load(Message):
        """A model is to be loaded in the chat."""

        model: ModelEntry
        values: Mapping[str, Value]
        """Load settings that the conversation is to have, by parameter name."""

    def __init__(self, services: Services, desk: Desk, key_for: Callable[[str], str]) -> None:
        super().__init__(id="models")
        self._services = services
        self._desk = desk
        self._key_for = key_for
        self._moved = False
        """Whether the user has taken another row in hand."""
        self._said = ""
        self._failure = ""
        self._in_hand: Row | None = None
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
        self.state.update(self._said or clean_line(self._failure) or state_text(self.shelf, keys))

    def _show_panel(self, *, top: bool) -> None:
        row = self.shelf.row
        panel = panel_lines(row, self.fitter, self._key_for, max(20, self.panel.room or self.size.width - 4))
        self.panel.show_lines(panel, top=top)
        if self.has_class("-narrow"):
            self.strip.set_lines(strip_lines(row, self.fitter, self._key_for("models.details"), self.size.width - 2))

    def say(self, text: str) -> None:
        """Say something below the list for a moment."""
        said = self._said = clean_line(text)
        self._show_state()

        def forget() -> None:
            if self._said is said:
                self._said = ""
                self._show_state()

        self.set_timer(SAY_SECONDS, forget)

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

    @on(Rows.Chosen, "#models-list")
    def _open(self) -> None:
        row = self.shelf.row
        if isinstance(row, Heading):
            self._rearrange(lambda: self.shelf.fold(folded=not row.folded))
        elif row is not None and self._has_file(row):
            from workbench.ui.screens.inspect import InspectScreen

            self.app.push_screen(InspectScreen(self._services, row))

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
        from workbench.ui.screens.models_dialogs import FilterDialog

        def chosen(choice: tuple[Filter | None] | None) -> None:
            if choice is not None:
                self._rearrange(lambda: self.shelf.keep(choice[0]))

        shelf = self.shelf
        self.app.push_screen(FilterDialog(shelf.filters(), shelf.filter, len(shelf.view.models)), chosen)

    def action_search(self) -> None:
        """Ask for a few letters."""
        self._close_line(self.number)
        self.remove_class("-details")
        self.search.add_class("-open")
        self.search.focus()

    @on(Input.Changed, "#models-search")
    def _search(self, event: Input.Changed) -> None:
        if event.value.strip() != self.shelf.query:
            self._rearrange(lambda: self.shelf.search(event.value))

    @on(Input.Submitted, "#models-search")
    def _searched(self) -> None:
        self.list.focus()

    def _close_line(self, line: Input) -> bool:
        """Close a line to type in. Returns whether it was open."""
        if not line.has_class("-open"):
            return False
        line.remove_class("-open")
        line.value = ""
        (self.panel if self.has_class("-details") else self.list).focus()
        return True

    def action_back(self) -> None:
        """End what was begun last."""
        if self._close_line(self.number) or self._close_line(self.search):
            return
        if self.has_class("-details") or self.focused is self.panel:
            self.action_details()
        elif self.shelf.clear_marks():
            self._show()
        elif self.shelf.filter is not None:
            self._rearrange(lambda: self.shelf.keep(None))
        else:
            self.say(f"{self._key_for('app.chat')} goes to the chat.")

    def action_details(self) -> None:
        """Go to the panel and back."""
        narrow = self.has_class("-narrow")
        to_panel = not self.has_class("-details") if narrow else self.focused is not self.panel
        self.set_class(narrow and to_panel, "-details")
        (self.panel if to_panel else self.list).focus()
        self.call_after_refresh(self._show)

    def on_key(self, event: events.Key) -> None:
        """A digit begins a context; while a search is typed, the list can be gone through."""
        typing = isinstance(self.focused, Input)
        if not typing and event.character is not None and event.character in "123456789":
            event.stop()
            self._ask_context(event.character)
        elif self.focused is self.search and event.key in {"up", "down", "pageup", "pagedown"}:
            event.stop()
            event.prevent_default()
            step = 1 if "down" in event.key else -1
            self.list.action_page(step) if "page" in event.key else self.list.action_move(step)

    # Marks, and what is done with models

    def action_mark(self) -> None:
        """Mark the model in hand and go on to the next."""
        if self._wanted() is not None:
            self.shelf.mark()
            self._show_list()
            self._show_title()
            self.list.action_move(1)

    def action_compare(self) -> None:
        """Compare two models."""
        chosen, here = self.shelf.marked, self.shelf.model
        if len(chosen) == 1 and here is not None and here not in chosen:
            chosen = [*chosen, here]
        if len(chosen) != 2:
            key = self._key_for("models.mark")
            self.say(f"{key} marks the models to compare: two of them, and {len(chosen)} marked now.")
        elif all(self._has_file(model) for model in chosen):
            from workbench.ui.screens.compare import CompareScreen

            self.app.push_screen(CompareScreen(self._services, chosen[0], chosen[1]))

    def action_quantize(self) -> None:
        """Make another quantization of the model in hand."""
        row = self.shelf.row
        model = row.members[0] if isinstance(row, Heading) else self._wanted()
        if model is not None and self._has_file(model):
            from workbench.ui.screens.quantize import QuantizeDialog

            variants = variants_of(model, self.shelf.view.models)
            self.app.push_screen(QuantizeDialog(self._services, model, variants))

    def action_copy(self) -> None:
        """Copy the path of the model in hand."""
        model = self._wanted()
        if model is not None and self._has_file(model):
            self.app.copy_to_clipboard(model.path or "")
            self.say(f"Copied: {model.path}")

    def action_problems(self) -> None:
        """List what could not be read."""
        from workbench.ui.screens.models_dialogs import ProblemsDialog

        if self.shelf.view.problems:
            self.app.push_screen(ProblemsDialog(self.shelf.view.problems))
        else:
            self.say("Every place could be read.")

    def action_load(self) -> None:
        """Load the model in hand in the chat."""
        self._load({})

    def action_load_with(self) -> None:
        """Load the model in hand with the settings on trial."""
        self._load(self.fitter.what_if.values)

    def _load(self, values: Mapping[str, Value]) -> None:
        model = self._wanted()
        if model is None:
            return
        if model.problem:
            self.say(f"It cannot be loaded: {short_problem(model)}")
            return
        self.post_message(self.Load(model, dict(values)))

    # What if

    def _try(self, name: str, value: Value) -> None:
        try:
            self.fitter.what_if = self.fitter.what_if.put(name, value)
        except ParameterError as error:
            self.say(str(error))
        self._show_panel(top=False)

    def action_context(self, step: int) -> None:
        """Try a longer or shorter context."""
        model = self.shelf.model
        answer = self.fitter.answer(model) if model is not None else None
        now = answer.question.n_ctx if answer else self.fitter.what_if.settings.num_ctx or 8192
        self._try("num_ctx", next_context(now, step, answer.trained if answer else None))

    def action_longest(self) -> None:
        """Try the longest context that fits."""
        model = self._wanted()
        answer = self.fitter.answer(model) if model is not None else None
        if answer is not None and answer.largest:
            self._try("num_ctx", answer.largest)
        elif answer is not None:
            self.say("No context fits with these settings.")

    def action_number(self) -> None:
        """Ask for a context."""
        self._ask_context("")

    def _ask_context(self, begun: str) -> None:
        self.number.add_class("-open")
        self.number.value = begun
        self.number.focus()
        self.number.cursor_position = len(begun)

    @on(Input.Submitted, "#models-number")
    def _take_context(self, event: Input.Submitted) -> None:
        try:
            tokens = typed_context(event.value) if event.value.strip() else None
        except ParameterError as error:
            self.say(str(error))
            return
        self._close_line(self.number)
        if tokens is not None:
            self._try("num_ctx", tokens)

    def action_next(self, name: str) -> None:
        """Try the next value of a setting."""
        what_if = self.fitter.what_if
        if name == "type_k":
            self.fitter.what_if = what_if.turn_keys()
        elif name == "type_v":
            self.fitter.what_if = what_if.turn_values()
        else:
            self.fitter.what_if = what_if.turn(name, FLASH if name == "flash_attn" else BATCHES)
        self._show_panel(top=False)

    def action_layers(self, step: int) -> None:
        """Try more or fewer layers on the GPUs."""
        model = self._wanted()
        answer = self.fitter.answer(model) if model is not None else None
        if answer is None:
            return
        if not answer.gpus:
            self.say("This build of llama.cpp sees no GPU.")
            return
        self._try("num_gpu", max(0, min(answer.layers, answer.fit.gpu_layers + step)))

    def action_reset(self) -> None:
        """Go back to the settings of the conversation."""
        self.fitter.what_if = self.fitter.what_if.reset()
        self._show_panel(top=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Work that failed in a way that nobody foresaw is told, and does not end the program."""
        if event.state is WorkerState.ERROR and (error := event.worker.error) is not None:
            for line in "".join(traceback.format_exception(error)).rstrip().split("\n"):
                self._services.logs.add("error", "screen", line)
            self.say(f"{event.worker.description} failed: {type(error).__name__}. The log has more.")
