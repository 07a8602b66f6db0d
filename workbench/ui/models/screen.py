"""Every model on the machine: found, understood, compared, and fitted to memory before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from workbench.core.errors import WorkbenchError
from workbench.core.models import ModelEntry, variants_of
from workbench.core.parameters import Value
from workbench.core.servers import Servers
from workbench.ui.keys import keys_of
from workbench.ui.kit.clipboard import CopyOut
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.models.model_list import Heading
from workbench.ui.models.rows import short_problem
from workbench.ui.models.what_if_actions import TrialScreen
from workbench.ui.widgets.rows import Rows


class ModelsScreen(TrialScreen):
    """The list of models, and what the one in hand would take.

    Args:
        services: What the program works with.
        desk: The conversation of the chat: its model and its settings.
        key_for: Tells the key that a binding has.
    """

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
        Binding("u", "unload", "Unload", id="models.unload", show=False,
                tooltip="Have the server give the memory of the model in hand back."),
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

    @dataclass
    class Load(Message):
        """A model is to be loaded in the chat."""

        model: ModelEntry
        values: Mapping[str, Value]
        """Load settings that the conversation is to have, by parameter name."""

    @on(Rows.Chosen, "#models-list")
    def _open(self) -> None:
        row = self.shelf.row
        if isinstance(row, Heading):
            self._rearrange(lambda: self.shelf.fold(folded=not row.folded))
        elif row is not None and self._has_file(row):
            from workbench.ui.model_files.inspect_screen import InspectScreen

            self.app.push_screen(InspectScreen(self._services, row))

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

    @property
    def _search_keys(self) -> list[str]:
        binding = next(each for each in self.BINDINGS if isinstance(each, Binding) and each.id == "models.search")
        return keys_of(binding, self._services.config.keymap)

    def on_key(self, event: events.Key) -> None:
        """A digit begins a context; while a search is typed, the list can be gone through."""
        typing = isinstance(self.focused, Input)
        if self._typing is not None and event.is_printable and event.character:
            # It was pressed before the line had the focus.
            event.stop()
            event.prevent_default()
            self._typing.insert_text_at_cursor(event.character)
        elif not typing and event.key in self._search_keys:
            # Bindings are looked up later, when letters typed fast are on their way as keys already.
            event.stop()
            self.action_search()
        elif not typing and event.character is not None and event.character in "123456789":
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
            from workbench.ui.model_files.compare_screen import CompareScreen

            self.app.push_screen(CompareScreen(self._services, chosen[0], chosen[1]))

    def action_quantize(self) -> None:
        """Make another quantization of the model in hand."""
        row = self.shelf.row
        model = row.members[0] if isinstance(row, Heading) else self._wanted()
        if model is not None and self._has_file(model):
            from workbench.ui.quantize.dialog import QuantizeDialog

            variants = variants_of(model, self.shelf.view.models)
            self.app.push_screen(QuantizeDialog(self._services, model, variants))

    def action_copy(self) -> None:
        """Copy the path of the model in hand."""
        model = self._wanted()
        if model is not None and self._has_file(model):
            self.post_message(CopyOut(model.path or "", clean_line(f"Copied: {model.path}")))

    def action_unload(self) -> None:
        """Have the server give the memory of the model in hand back."""
        model, servers = self._wanted(), self._services.servers
        if model is None:
            return
        if model.loaded is None or servers is None:
            self.say(f"{model.label} is not on a server: it is closed when another model is opened.")
        elif not model.loaded:
            self.say(f"{model.label} is not loaded.")
        else:
            self._unload(model, servers)

    @work(group="servers", exit_on_error=False, description="unload a model of a server")
    async def _unload(self, model: ModelEntry, servers: Servers) -> None:
        self.say(f"Unloading {model.label}…")
        try:
            await servers.unload(model.ref)
        except WorkbenchError as error:
            self._services.logs.add("error", "servers", str(error))
            self.say(str(error))
        else:
            self.say(f"{model.label} is unloaded.")
            self._find()

    def action_problems(self) -> None:
        """List what could not be read."""
        from workbench.ui.models.dialogs import ProblemsDialog

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
