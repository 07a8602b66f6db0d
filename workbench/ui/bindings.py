"""Every binding of the program, by the place where it works, and its keys under the keymap of the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.binding import Binding, BindingType
from textual.screen import Screen

from workbench.ui.chat.screen import ChatScreen
from workbench.ui.keys import KeyGroup, key, keymap_problems, keys_of, spoken
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.transcript.transcript import Earlier
from workbench.ui.transcript.turns import TurnLines

if TYPE_CHECKING:
    from workbench.ui.dialogs.help import KeyTable

# fmt: off
APP_BINDINGS: list[BindingType] = [
    key("app.palette", "ctrl+p", "Palette", "Find any action by its name.", action="command_palette"),
    key("app.chat", "f2", "Chat", "Go to the chat, and to its prompt."),
    key("app.race", "f3", "Race", "Put one prompt to several models, side by side.", action="experiment('race')"),
    key("app.models", "f4", "Models",
        "Show every model on this machine, and the memory that it needs.", action="library"),
    key("app.bench", "f5", "Bench",
        "Measure how fast models are; pressed again, choose among everything that was measured.",
        action="experiment('bench')"),
    key("app.evals", "f11", "Evals",
        "Ask models your own prompts, check the answers, and vote blindly; pressed again, measure quality over a text.",
        action="experiment('evals')", show=False),
    key("app.help", "f1", "Help", "Explain the screen and list the keys in force."),
    key("app.jobs", "ctrl+s", "Quantizations",
        "Show the quantizations in progress, stop them, and load those that are ready.", show=False),
    key("app.meters", "f10", "What is wrong",
        "Show what is wrong with the machine and what to do, and all its meters.", show=False),
    key("app.settings", "f6", "Settings", "Change the settings: system prompt, sampling, memory.", show=False),
    key("app.export", "f7", "Export", "Write what the screen shows to a file.", action="nothing('export')", show=False),
    key("app.themes", "f8", "Theme", "Choose another theme.", show=False),
    key("app.run", "f9", "Run",
        "Run what the screen is for, or load the model again.", action="nothing('run')", show=False),
    key("app.log", "f12", "Log", "Show or hide the log of the workers.", show=False),
    key("app.interrupt", "ctrl+c", "Stop, copy or quit",
        "Copy the selection, else stop what runs. Pressed twice, quit.", show=False, priority=True),
    key("app.quit", "ctrl+q", "Quit", "End the program.", priority=True),
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
