"""Choosing a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.fuzzy import FuzzySearch
from textual.getters import query_one
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from workbench.core.errors import WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.ports import Catalog
from workbench.ui import format as fmt
from workbench.ui.sanitize import clean_line
from workbench.ui.screens.dialog import Dialog

_NAME, _QUANT, _BITS, _SIZE = 34, 9, 10, 9


def ordered(models: Sequence[ModelEntry], current: ModelEntry | None) -> list[ModelEntry]:
    """The open model's other quantizations first, the smallest file on top; then all others as they came."""
    if current is None:
        return list(models)
    family = [model for model in models if model.name == current.name]
    family.sort(key=lambda model: (model.ref == current.ref, model.size_bytes or 0))
    return family + [model for model in models if model.name != current.name]


def matching(models: Sequence[ModelEntry], query: str) -> list[ModelEntry]:
    """The models that a search finds, the best first; all of them where nothing is searched."""
    query = query.strip()
    if not query:
        return list(models)
    search = FuzzySearch()
    scored = [
        (search.match(query, f"{model.label} {model.source} {model.architecture or ''}")[0], model) for model in models
    ]
    found = [(score, model) for score, model in scored if score > 0]
    return [model for _, model in sorted(found, key=lambda pair: -pair[0])]


def row(model: ModelEntry, *, current: bool) -> Content:
    """A model in the list."""
    bits = f"{model.bits_per_weight:.2f} bpw" if model.bits_per_weight is not None else fmt.DASH
    name = clean_line(model.name)
    name = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
    first = Content.assemble(
        ("● " if current else "  ", "$success"),
        (name.ljust(_NAME + 1), "bold"),
        (clean_line(model.quant or fmt.DASH).ljust(_QUANT), "$accent"),
        bits.rjust(_BITS),
        fmt.size(model.size_bytes).rjust(_SIZE),
        ("  " + clean_line(model.source), "$text-muted"),
    )
    if model.problem:
        return Content.assemble(first, "\n", ("    " + clean_line(model.problem), "$text-error"))
    return first


class ModelPicker(Dialog[ModelEntry | None]):
    """Finds a model by a few letters of its name."""

    CSS_PATH = "picker.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Down", id="picker.down", show=False, tooltip="Go to the next model."),
        Binding("up", "move(-1)", "Up", id="picker.up", show=False, tooltip="Go to the model above."),
        Binding("pagedown", "move(10)", "Page down", id="picker.page_down", show=False, tooltip="Go ten models down."),
        Binding("pageup", "move(-10)", "Page up", id="picker.page_up", show=False, tooltip="Go ten models up."),
    ]

    search = query_one("#picker-search", Input)
    list = query_one("#picker-list", OptionList)
    state = query_one("#picker-state", Label)

    def __init__(self, catalog: Catalog, current: ModelEntry | None, hint: str = "") -> None:
        super().__init__()
        self._catalog = catalog
        self._current = current
        self._hint = hint
        self._models: Sequence[ModelEntry] = ()
        self._shown: Sequence[ModelEntry] = ()

    def compose(self) -> ComposeResult:
        """A search line above the list."""
        with Vertical(id="picker-box", classes="dialog-box") as box:
            box.border_title = "Choose a model"
            box.border_subtitle = "Enter loads · Esc closes"
            search = Input(placeholder="Type to search…", id="picker-search", compact=True)
            search.cursor_blink = False
            yield search
            yield OptionList(id="picker-list", compact=True)
            yield Label("Looking for models…", id="picker-state", markup=False)

    def on_mount(self) -> None:
        """The search has the focus before the models are known."""
        self.list.can_focus = False
        self.search.focus()
        self._find()

    @work(group="models", exit_on_error=False, description="list models")
    async def _find(self) -> None:
        try:
            self._models = ordered(await self._catalog.models(), self._current)
        except WorkbenchError as error:
            self.state.update(clean_line(str(error)))
            return
        self._show(self.search.value)

    def _show(self, query: str) -> None:
        self._shown = matching(self._models, query)
        self.list.clear_options()
        current = self._current.ref if self._current else None
        self.list.add_options([Option(row(model, current=model.ref == current)) for model in self._shown])
        if self._shown:
            self.list.highlighted = 0
        if not self._models:
            self.state.update(self._hint or "There is no model at hand.")
        else:
            self.state.update(f"{len(self._shown)} of {len(self._models)} models")

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        if self._models:
            self._show(event.value)

    @on(Input.Submitted)
    def _load_highlighted(self) -> None:
        index = self.list.highlighted
        if index is not None and index < len(self._shown):
            self.dismiss(self._shown[index])

    @on(OptionList.OptionSelected)
    def _load_clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index])

    def action_move(self, rows: int) -> None:
        """Move the choice by some rows."""
        if self._shown:
            index = (self.list.highlighted or 0) + rows
            self.list.highlighted = max(0, min(len(self._shown) - 1, index))
