"""The dialog in which a model is chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.events import Click
from textual.getters import query_one
from textual.widgets import Input, Label

from workbench.core.errors import ServerAddressError, WorkbenchError, did_you_mean
from workbench.core.models import LibraryView, ModelEntry, variants_of
from workbench.core.servers import server_url
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.dialogs.typed_models import completed, models_at, typed_address, typed_path
from workbench.ui.keys import key
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.model_search import ModelSearch
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, padded, short_problem, styled
from workbench.ui.services import Services
from workbench.ui.widgets.input_line import InputLine
from workbench.ui.widgets.rows import Rows

_PLACEHOLDER = "Type to search; or a path, a folder, or host:port…"
_NAME, _QUANT, _BITS, _SIZE = 34, 9, 10, 11


def ordered(models: Sequence[ModelEntry], current: ModelEntry | None) -> list[ModelEntry]:
    """The other quantizations of the open model first, the smallest file on top; then all others in their order."""
    if current is None:
        return list(models)
    family = variants_of(current, models)
    family.sort(key=lambda model: model.is_same(current))
    return family + [model for model in models if model not in family]


def matching(models: Sequence[ModelEntry], query: str, search: ModelSearch | None = None) -> list[ModelEntry]:
    """The models that match some words or the address of a server, the best first; all where nothing is searched.

    `search` is the one that the letters before were put to.
    """
    query = query.strip()
    if not query:
        return list(models)
    if typed_path(query) is not None:
        # Letters of a path are not searched for, either.
        return [model for model in models if model.path == query]
    if address := typed_address(query):
        # An address is not searched for by letters: a server that is not listed can be asked.
        return [model for model in models if model.ref.casefold().startswith(_address_of(address))]
    scores = (search or ModelSearch()).scores(query, models)
    return sorted((model for model in models if model.ref in scores), key=lambda model: -scores[model.ref])


def _address_of(query: str) -> str:
    """The beginning of the references of a server's models."""
    try:
        return server_url(query.partition("#")[0])
    except ServerAddressError:
        return query.casefold()


def row(model: ModelEntry, width: int, *, current: bool) -> Content:
    """A model in the list; one that cannot be opened has the reason in place of its figures."""
    columns = max(12, min(_NAME, width - _QUANT - _BITS - _SIZE - 3))
    mark, name = ("● " if current else "  ", "rows--good"), (f"{padded(model.name, columns)} ", "rows--strong")
    quant = (padded(model.quant or fmt.DASH, _QUANT), "rows--accent")
    if model.problem:
        return styled(mark, name, quant, (cut(f" {short_problem(model)}", width - columns - _QUANT - 3), "rows--error"))
    bits = fmt.bits(model.bits_per_weight, " bpw")
    if model.loaded and model.bits_per_weight is None:
        # The state on the server says more than a dash.
        bits = "loaded"
    figures = bits.rjust(_BITS) + fmt.size(model.size_bytes).rjust(_SIZE) + "  "
    room = width - columns - _QUANT - _BITS - _SIZE - 5
    return styled(mark, name, quant, (figures, ""), (cut(model.source, room), "rows--dim"))


class ModelPicker(Dialog[ModelEntry | None]):
    """Finds a model by a few letters of its name; `current` is the one that is open."""

    CSS_PATH = "model_picker.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("picker.down", "down", "Down", "Go to the next model.", action="move(1)", show=False),
        key("picker.up", "up", "Up", "Go to the previous model.", action="move(-1)", show=False),
        key("picker.page_down", "pagedown", "Page down", "Go ten models down.", action="move(10)", show=False),
        key("picker.complete", "tab", "Complete", "Complete a typed path.", show=False, priority=True),
        key("picker.page_up", "pageup", "Page up", "Go ten models up.", action="move(-10)", show=False),
    ]

    search = query_one("#picker-search", InputLine)
    list = query_one("#picker-list", Rows)
    state = query_one("#picker-state", Label)

    def __init__(self, services: Services, current: ModelEntry | None, *, enter: str = "loads") -> None:
        super().__init__()
        self._catalog = services.catalog
        self._servers = services.servers
        self._hint = services.no_model_hint
        self._current = current
        self._enter = enter
        self._models: Sequence[ModelEntry] = ()
        self._shown: Sequence[ModelEntry] = ()
        self._matcher = ModelSearch()
        self._complete = False
        self._moved = False
        """Whether the user has moved the cursor since the last letter."""
        self._asking = False
        """Whether a server is being asked for its models."""

    def compose(self) -> ComposeResult:
        with dialog_box("picker-box", "Choose a model", f"Enter {self._enter} · Esc closes"):
            yield InputLine("picker-search", _PLACEHOLDER)
            yield Rows("picker-list")
            yield Label("Looking for models…", id="picker-state", markup=False)

    def on_mount(self) -> None:
        # One that was closed before it was drawn has no widgets.
        if not self.query(Rows):
            return
        self.list.can_focus = False
        self.search.focus()
        self._find()

    @work(group="models", exclusive=True, exit_on_error=False, description="list models")
    async def _find(self) -> None:
        try:
            async with aclosing(self._catalog.watch()) as views:
                async for view in views:
                    self._take(view)
        except WorkbenchError as error:
            self.state.update(clean_line(str(error)))

    def _take(self, view: LibraryView) -> None:
        """Show what a scan has found so far; the cursor stays on its model."""
        models = ordered(view.models, self._current)
        self._complete = view.complete
        if models != self._models or not models:
            chosen = self._chosen if self._moved else None
            self._models = models
            self._show(self.search.value, chosen)
        else:
            self._show_state()

    @property
    def _chosen(self) -> ModelEntry | None:
        return self._shown[self.list.cursor] if self.list.cursor is not None else None

    def _show(self, query: str, chosen: ModelEntry | None = None) -> None:
        self._shown = matching(self._models, query, self._matcher)
        cursor = next((index for index, model in enumerate(self._shown) if chosen and model.ref == chosen.ref), 0)
        self.list.show(len(self._shown), self._row, choosable=True, cursor=cursor)
        self._show_state()

    def _row(self, index: int, width: int) -> Content:
        model, current = self._shown[index], self._current
        return row(model, width, current=current is not None and model.is_same(current))

    def _show_state(self) -> None:
        searching = "" if self._complete else " · scanning"
        if self._asking or self.state.has_class("-error"):
            return
        typed = self.search.value.strip()
        if not self._shown and self._address:
            self.state.update(f"Enter asks {self._address} for its models, and adds them to the list.")
        elif not self._shown and typed_path(typed) is not None:
            self.state.update("Tab completes the path. Enter opens the file, or lists the models of the folder.")
        elif not self._shown and typed and self._complete:
            self.state.update(f"No model is called that. {self._near(typed)}".rstrip())
        elif self._models or not self._complete:
            self.state.update(f"{len(self._shown)} of {len(self._models)} models{searching}")
        else:
            self.state.update(self._hint or "There is no model on this machine.")

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        self._moved = False
        self.state.remove_class("-error")
        self._show(event.value)

    @on(Input.Submitted)
    def _load_highlighted(self) -> None:
        path = typed_path(self.search.value)
        if (chosen := self._chosen) is not None:
            self.dismiss(chosen)
        elif path is not None:
            self._take_path(path)
        elif self._address and not self._asking:
            self._asking = True
            self._ask(self._address)

    @property
    def _address(self) -> str:
        """The typed address of a server; empty where there is none, or servers cannot be asked."""
        return typed_address(self.search.value) if self._servers is not None else ""

    def _near(self, typed: str) -> str:
        """What is near a name that nothing has, and what else can be typed."""
        names = {model.name for model in self._models} | {model.ref for model in self._models}
        return did_you_mean(typed, names) or "Ctrl+U clears it; a path, a folder or host:port can be typed as well."

    @work(group="path", exclusive=True, exit_on_error=False, description="read a folder")
    async def _take_path(self, path: Path) -> None:
        """Open the file at a path, or list the models of a folder."""
        found = await asyncio.to_thread(models_at, path)
        if len(found) == 1 and not await asyncio.to_thread(path.is_dir):
            self.dismiss(found[0])
        elif found:
            self._models, self._complete = found, True
            self.search.value = ""
        else:
            self.state.update(f"There is no model at {clean_line(str(path))}. Tab completes what is there.")
            self.state.add_class("-error")

    async def action_complete(self) -> None:
        """Complete a typed path; else do nothing."""
        if typed_path(self.search.value) is not None:
            self.search.value = await asyncio.to_thread(completed, self.search.value)
            self.search.cursor_position = len(self.search.value)

    @work(group="servers", exclusive=True, exit_on_error=False, description="ask a server for its models")
    async def _ask(self, address: str) -> None:
        assert self._servers is not None
        self.state.update(f"Asking {clean_line(address)}…")
        try:
            added = await self._servers.add(address)
        except WorkbenchError as error:
            self.state.update(clean_line(str(error)))
            self.state.add_class("-error")
            return
        finally:
            self._asking = False
        refs = {model.ref for model in added}
        self._models = [*(model for model in self._models if model.ref not in refs), *added]
        self._show(self.search.value)

    def on_click(self, event: Click) -> None:
        if event.widget is self.list and round(self.list.scroll_y) + event.y < self.list.count:
            self.dismiss(self._chosen)

    def action_move(self, rows: int) -> None:
        self._moved = True
        self.list.action_move(rows)
