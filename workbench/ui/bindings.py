"""Every binding of the program, by the place where it works, and its keys under the keymap of the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.binding import Binding, BindingType
from textual.screen import Screen

from workbench.ui.chat.screen import ChatScreen
from workbench.ui.keys import KeyGroup, keymap_problems, keys_of, spoken
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.transcript.transcript import Earlier
from workbench.ui.transcript.turns import TurnLines

if TYPE_CHECKING:
    from workbench.ui.dialogs.help import KeyTable

# fmt: off
APP_BINDINGS: list[BindingType] = [
    Binding("ctrl+p", "command_palette", "Palette", id="app.palette", tooltip="Find any action by its name."),
    Binding("f2", "chat", "Chat", id="app.chat", tooltip="Go to the chat, and to its prompt."),
    Binding("f3", "experiment('race')", "Race", id="app.race",
            tooltip="Put one prompt to several models, side by side."),
    Binding("f4", "library", "Models", id="app.models",
            tooltip="Show every model on this machine, and the memory that it needs."),
    Binding("f5", "experiment('bench')", "Bench", id="app.bench",
            tooltip="Measure how fast models are; pressed again, choose among everything that was measured."),
    Binding("f11", "experiment('evals')", "Evals", id="app.evals", show=False,
            tooltip="Ask models your own prompts, check the answers, and vote blindly; "
            "pressed again, measure quality over a text."),
    Binding("f1", "help", "Help", id="app.help", tooltip="Explain the screen and list the keys in force."),
    Binding("ctrl+s", "jobs", "Quantizations", id="app.jobs", show=False,
            tooltip="Show the quantizations in progress, stop them, and load those that are ready."),
    Binding("f10", "meters", "What is wrong", id="app.meters", show=False,
            tooltip="Show what is wrong with the machine and what to do, and all its meters."),
    Binding("f6", "settings", "Settings", id="app.settings", show=False,
            tooltip="Change the settings: system prompt, sampling, memory."),
    Binding("f7", "nothing('export')", "Export", id="app.export", show=False,
            tooltip="Write what the screen shows to a file."),
    Binding("f8", "themes", "Theme", id="app.themes", show=False, tooltip="Choose another theme."),
    Binding("f9", "nothing('run')", "Run", id="app.run", show=False,
            tooltip="Run what the screen is for, or load the model again."),
    Binding("f12", "log", "Log", id="app.log", show=False, tooltip="Show or hide the log of the workers."),
    Binding("ctrl+c", "interrupt", "Stop, copy or quit", id="app.interrupt", show=False, priority=True,
            tooltip="Copy the selection, else stop what runs. Pressed twice, quit."),
    Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True, tooltip="End the program."),
]
# fmt: on
"""The bindings that work on every screen."""


def screen_groups() -> list[KeyGroup]:
    """The bindings of the chat, which the first paint needs."""
    return [
        KeyGroup.of("Everywhere", APP_BINDINGS, everywhere=True),
        KeyGroup.of("Conversation", ChatScreen.BINDINGS),
        KeyGroup.of("Prompt", Prompt.BINDINGS),
        KeyGroup.of("A turn that has the focus", TurnLines.BINDINGS),
        KeyGroup.of("The line above the turns", Earlier.BINDINGS),
    ]


def key_groups() -> list[KeyGroup]:
    """Every binding that has an id; imports all screens."""
    from workbench.ui.bench.form import BenchModelRows
    from workbench.ui.bench.kept_runs import KeptRunsDialog
    from workbench.ui.bench.screen import BenchScreen
    from workbench.ui.chat.edit_dialog import EditArea
    from workbench.ui.chat.serving_dialog import ServingDialog
    from workbench.ui.decision.screen import DecisionScreen
    from workbench.ui.dialogs.base import Dialog
    from workbench.ui.dialogs.confirm import ConfirmDialog
    from workbench.ui.dialogs.model_picker import ModelPicker
    from workbench.ui.dialogs.settings import SettingsDialog
    from workbench.ui.evals.blind_screen import BlindScreen
    from workbench.ui.evals.screen import EvalScreen
    from workbench.ui.lens.screen import LensScreen
    from workbench.ui.lens.text import LensText
    from workbench.ui.model_files.pages_screen import PagesScreen
    from workbench.ui.models.keys import WHAT_IF
    from workbench.ui.models.screen import ModelsScreen
    from workbench.ui.pull.screen import PullScreen
    from workbench.ui.quality.screen import QualityScreen
    from workbench.ui.quantize.dialog import QuantizeDialog
    from workbench.ui.quantize.jobs_dialog import JobsDialog
    from workbench.ui.race.lane import LaneScroll
    from workbench.ui.race.screen import RaceScreen
    from workbench.ui.sessions.dialog import SessionRows
    from workbench.ui.tune.screen import TuneScreen
    from workbench.ui.widgets.rows import Rows

    return [
        *screen_groups(),
        KeyGroup.of("Race", RaceScreen.BINDINGS),
        KeyGroup.of("A lane of a race that has the focus", LaneScroll.BINDINGS),
        KeyGroup.of("Bench", BenchScreen.BINDINGS),
        KeyGroup.of("The models of a bench", BenchModelRows.BINDINGS),
        KeyGroup.of("Earlier measurements", KeptRunsDialog.BINDINGS),
        KeyGroup.of("Decision", DecisionScreen.BINDINGS),
        KeyGroup.of("Tune", TuneScreen.BINDINGS),
        KeyGroup.of("Evaluations", EvalScreen.BINDINGS),
        KeyGroup.of("A blind test", BlindScreen.BINDINGS),
        KeyGroup.of("Quality over a text", QualityScreen.BINDINGS),
        KeyGroup.of("Models of this machine", ModelsScreen.BINDINGS),
        KeyGroup.of("Getting models", PullScreen.BINDINGS),
        KeyGroup.of("The panel of a model: what if", WHAT_IF),
        KeyGroup.of("Choosing a model", ModelPicker.BINDINGS),
        KeyGroup.of("The stored sessions", SessionRows.OWN_BINDINGS),
        KeyGroup.of("Editing a message", EditArea.BINDINGS),
        KeyGroup.of("Settings", SettingsDialog.BINDINGS),
        KeyGroup.of("Inspecting a model file, or comparing two", PagesScreen.BINDINGS),
        KeyGroup.of("The lens over an answer", LensScreen.BINDINGS),
        KeyGroup.of("The tokens of a lens", LensText.OWN_BINDINGS),
        KeyGroup.of("Quantize a model", QuantizeDialog.BINDINGS),
        KeyGroup.of("Quantizations in progress", JobsDialog.BINDINGS),
        KeyGroup.of("Requests of other programs", ServingDialog.BINDINGS),
        KeyGroup.of("Questions", ConfirmDialog.BINDINGS),
        KeyGroup.of("Rows of a list", Rows.BINDINGS),
        KeyGroup.of("Dialogs", Dialog.BINDINGS),
    ]


class KeyNames:
    """The keys of the bindings, as people write them; `keymap` has those that the user has moved, by binding id."""

    def __init__(self, keymap: Mapping[str, str]) -> None:
        self._keymap = keymap
        self._by_id = {binding.id: binding for group in screen_groups() for binding in group.bindings}

    def key_for(self, binding_id: str) -> str:
        """The first key of a binding."""
        if binding_id not in self._by_id:
            self._by_id = {binding.id: binding for group in key_groups() for binding in group.bindings}
        return spoken(keys_of(self._by_id[binding_id], self._keymap)[0])

    def problems(self) -> list[str]:
        """Unknown ids and clashing keys in the keymap."""
        return keymap_problems(key_groups(), self._keymap) if self._keymap else []

    def tables(self, screen: Screen[Any]) -> list[KeyTable]:
        """All bindings for the help; those that work on `screen` come first."""

        def row(binding: Binding) -> tuple[str, str, str]:
            keys = "  ".join(map(spoken, keys_of(binding, self._keymap)))
            return keys, binding.description, binding.tooltip

        def is_elsewhere(group: KeyGroup) -> bool:
            return not group.everywhere and not any(binding in screen.BINDINGS for binding in group.bindings)

        groups = sorted(key_groups(), key=is_elsewhere)
        return [(group.title, [*map(row, group.bindings)]) for group in groups]
