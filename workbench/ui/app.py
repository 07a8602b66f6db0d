"""The full-screen program."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.widgets import Input, TextArea
from textual.worker import Worker

from workbench.core.collecting import collect_from_now
from workbench.core.errors import ConfigError, WorkbenchError
from workbench.core.models import ModelEntry, variants_of
from workbench.core.recipe import Recipe
from workbench.core.telemetry import Alarm
from workbench.ui._compat import KeptStylesheet, prompt_driver
from workbench.ui.chat.screen import ChatScreen
from workbench.ui.chat.view import ALARM_SECONDS
from workbench.ui.keys import KeyGroup, keymap_problems, keys_of, spoken
from workbench.ui.kit.clipboard import Copier, CopyOut
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.machine.lines import MachineChanged
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.services import Services
from workbench.ui.themes import FALLBACK, load_themes, variable_defaults
from workbench.ui.transcript.transcript import Earlier
from workbench.ui.transcript.turns import TurnLines
from workbench.ui.workspace.pacing import REAL_CLOCKS, Clocks

if TYPE_CHECKING:
    from workbench.ui.bench.screen import BenchScreen
    from workbench.ui.models.screen import ModelsScreen
    from workbench.ui.quantize.dialog import QuantizeDialog
    from workbench.ui.quantize.manager import Workshop
    from workbench.ui.race.screen import RaceScreen

MACHINE_SECONDS = 0.5
"""How often is looked whether the meters of the machine were read again."""
QUIT_SECONDS = 2.0
"""Within this time a second Ctrl+C quits."""


def _action_provider() -> type[Provider]:
    from workbench.ui.palette import ActionProvider

    return ActionProvider


class WorkbenchApp(App[None]):
    """Shows the screens, and holds what is the same on all of them: themes, keys, help and the way out.

    Args:
        services: What the program works with.
        model: The model to open first; None for none.
        resume: The id of a stored session to go on with.
        recipe: What the first conversation takes of the model's Modelfile; None for everything.
        clocks: What the time is read from; tests move it by hand.
    """

    TITLE = "workbench"
    # The style sheet of the first screen is read with the program's own: read later, all of them would be parsed twice.
    CSS_PATH: ClassVar[list[str | PurePath]] = ["app.tcss", "chat/screen.tcss"]
    MODES: ClassVar[dict[str, str | Callable[[], Screen]]] = {"chat": "chat"}
    DEFAULT_MODE = "chat"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_action_provider}
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+p", "command_palette", "Palette", id="app.palette", tooltip="Find any action by its name."),
        Binding("f2", "chat", "Chat", id="app.chat", show=False, tooltip="Go to the chat, and to its prompt."),
        Binding("f3", "race", "Race", id="app.race", tooltip="Put one prompt to several models, side by side."),
        Binding("f4", "library", "Models", id="app.models",
                tooltip="Show every model on this machine, and what it would take of memory."),
        Binding("f5", "bench", "Bench", id="app.bench", tooltip="Measure how fast models are."),
        Binding("f1", "help", "Help", id="app.help", tooltip="Explain the screen and list the keys in force."),
        Binding("ctrl+s", "jobs", "Quantizations", id="app.jobs", show=False,
                tooltip="Show the quantizations that are being made, stop them, and load what is ready."),
        Binding("f10", "meters", "What is wrong", id="app.meters", show=False,
                tooltip="Show what is wrong with the machine and what to do, and all its meters."),
        Binding("f8", "themes", "Theme", id="app.themes", show=False, tooltip="Choose another theme."),
        Binding("ctrl+c", "interrupt", "Stop, copy or quit", id="app.interrupt", show=False, priority=True,
                tooltip="Copy what is selected; else stop what runs. Pressed twice, quit."),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True, tooltip="End the program."),
    ]
    # fmt: on

    def __init__(
        self,
        services: Services,
        model: str | None,
        resume: str | None = None,
        *,
        recipe: Recipe | None = None,
        clocks: Clocks = REAL_CLOCKS,
    ) -> None:
        super().__init__(driver_class=prompt_driver())
        self.stylesheet = KeptStylesheet(variables=self.get_css_variables())
        self.services = services
        self._interrupted_at = float("-inf")
        self._copier = Copier(self, services.keep_copy)
        self._workshop: Workshop | None = None
        self._devices_asked = False
        self._race: RaceScreen | None = None
        self._bench: BenchScreen | None = None
        self._models: ModelsScreen | None = None
        self._themes, self._theme_problems = load_themes(services.theme_folders)
        for theme in self._themes.values():
            self.register_theme(theme)
        wanted = services.config.theme
        self._theme_missing = wanted not in self._themes
        self.theme = next(iter(self._themes)) if self._theme_missing else wanted
        keymap = services.config.keymap
        self.set_keymap(dict(keymap))
        self._keymap_problems = keymap_problems(key_groups(), keymap) if keymap else []
        self.chat = ChatScreen(services, model, resume, clocks, self.key_for, recipe)
        self.install_screen(self.chat, "chat")
        self._bindings_by_id = {binding.id: binding for group in screen_groups() for binding in group.bindings}

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What our own variables are under a theme that does not set them."""
        return variable_defaults(self.current_theme or FALLBACK)

    def on_mount(self) -> None:
        """Once the screen is there, begin to read the meters, and say what of the config could not be taken."""
        self.call_after_refresh(collect_from_now)
        self.call_after_refresh(self._watch_machine)
        self.call_after_refresh(self._report)

    def on_unmount(self) -> None:
        """Read the meters no more."""
        self.chat.desk.machine.stop()

    def _watch_machine(self) -> None:
        self.chat.desk.machine.start()
        self.set_interval(MACHINE_SECONDS, self._look_at_machine)
        self._look_at_machine()

    def _look_at_machine(self) -> None:
        desk = self.chat.desk
        race = self._race is not None and self._race.running
        if not desk.look_at_machine(others_run=race or (self._bench is not None and self._bench.running)):
            return
        for alarm in desk.machine.take_news():
            self._tell_alarm(alarm)
        self.screen.post_message(MachineChanged())
        if desk.machine.view.gpus and desk.engine is not None and not self._devices_asked and not desk.bay.loading:
            self._devices_asked = True
            self._find_devices()

    def _tell_alarm(self, alarm: Alarm) -> None:
        self.chat.tell_alarm(alarm)
        if self.screen is not self.chat:
            severity: SeverityLevel = "information" if alarm.severity == "info" else alarm.severity
            self.notify(clean_line(alarm.text), severity=severity, timeout=ALARM_SECONDS, markup=False)

    @work(group="devices", exit_on_error=False, description="find devices")
    async def _find_devices(self) -> None:
        """What llama.cpp computes on: late, since it takes a process of its own a second, and only beside a GPU."""
        found = await asyncio.to_thread(self.services.find_devices)
        self.chat.desk.machine.devices = None if found is None else tuple(found)

    def action_meters(self) -> None:
        """Show what is wrong with the machine, and all its meters."""
        from workbench.ui.machine.dialog import MachineDialog

        if not isinstance(self.screen, MachineDialog):
            self.chat.put_off_alarm()
            desk = self.chat.desk
            self.push_screen(MachineDialog(desk.machine, lambda: desk.engine.info.memory if desk.engine else None))

    def _report(self) -> None:
        problems = [
            f"line {problem.line}: {problem.message}" if problem.line else problem.message
            for problem in self.services.config_problems
        ]
        problems += self._keymap_problems
        self._tell("Not everything in the config was taken", problems)
        themes = [str(problem) for problem in self._theme_problems]
        if self._theme_missing:
            themes.append(f"There is no theme {self.services.config.theme!r}: {self.theme!r} is used.")
        self._tell("Not every theme was taken", themes)

    def _tell(self, title: str, problems: Sequence[str]) -> None:
        if problems:
            text = "\n".join(clean_line(problem) for problem in problems)
            self.notify(text, title=title, severity="warning", timeout=12, markup=False)

    # Keys

    def get_key_display(self, binding: Binding) -> str:
        """A key as it is written on the screen."""
        return spoken(binding.key)

    def key_for(self, binding_id: str) -> str:
        """The key that an action has, as it is shown to the user."""
        if binding_id not in self._bindings_by_id:
            self._bindings_by_id = {binding.id: binding for group in key_groups() for binding in group.bindings}
        binding = self._bindings_by_id[binding_id]
        return spoken(keys_of(binding, self.services.config.keymap)[0])

    def _keys_for(self, binding: Binding) -> str:
        return "  ".join(spoken(key) for key in keys_of(binding, self.services.config.keymap))

    def action_help(self) -> None:
        """Explain the screen."""
        from workbench.ui.dialogs.help import HelpDialog, KeyRow, KeyTable

        tables = [
            KeyTable(
                group.title,
                [KeyRow(self._keys_for(binding), binding.description, binding.tooltip) for binding in group.bindings],
            )
            for group in sorted(key_groups(), key=self._is_elsewhere)
        ]
        self.push_screen(HelpDialog(tables))

    def _is_elsewhere(self, group: KeyGroup) -> bool:
        """Whether the bindings of a group mean nothing to the screen that the user is on."""
        return not group.everywhere and not any(binding in self.screen.BINDINGS for binding in group.bindings)

    # Themes

    def action_themes(self) -> None:
        """Choose a theme."""
        from workbench.ui.dialogs.theme_picker import ThemePicker

        self.push_screen(ThemePicker(list(self._themes), self.theme), self._keep_theme)

    def _keep_theme(self, name: str | None) -> None:
        if name is None:
            return
        try:
            self.services.save_config({"theme": name})
        except ConfigError as error:
            self.notify(clean_line(str(error)), title="The theme is not stored", severity="warning", markup=False)

    # Screens

    def action_chat(self) -> None:
        """Go to the chat, and to its prompt."""
        self._leave_pages()
        self.switch_mode("chat")
        self.chat.prompt.focus()

    def action_race(self) -> None:
        """Go to the race."""
        self._leave_pages()
        if self._race is None:
            from workbench.ui.race.screen import RaceScreen

            self._race = RaceScreen(self.services, self.chat.desk, self.key_for)
            self.install_screen(self._race, "race")
            self.add_mode("race", "race")
        self.switch_mode("race")

    def action_bench(self) -> None:
        """Go to the bench."""
        self._leave_pages()
        if self._bench is None:
            from workbench.ui.bench.screen import BenchScreen

            self._bench = BenchScreen(self.services, self.chat.desk, self.key_for)
            self.install_screen(self._bench, "bench")
            self.add_mode("bench", "bench")
        self.switch_mode("bench")

    def action_library(self) -> None:
        """Go to the models of this machine."""
        self._leave_pages()
        if self._models is None:
            from workbench.ui.models.screen import ModelsScreen

            self._models = ModelsScreen(self.services, self.chat.desk, self.key_for)
            self.install_screen(self._models, "models")
            self.add_mode("models", "models")
        self.switch_mode("models")

    def on_models_screen_load(self, event: ModelsScreen.Load) -> None:
        """Load a model from the list in the chat."""
        self.action_chat()
        self.run_worker(self._load_from_list(event), group="load", exit_on_error=False, description="load a model")

    async def _load_from_list(self, event: ModelsScreen.Load) -> None:
        desk = self.chat.desk
        if event.values:
            await desk.change(desk.conversation.system, event.values)
        self.chat.load_model(event.model.ref, event.model.label)

    def _leave_pages(self) -> None:
        """Close what was opened over the screen of this mode."""
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def on_race_screen_continue(self, event: RaceScreen.Continue) -> None:
        """Go on in the chat with what was said in a lane."""
        from workbench.ui.race.setup import conversation_of

        if event.lane.info is not None:
            self.action_chat()
            self.chat.adopt(conversation_of(event.lane, event.questions), event.lane.info.model)

    # Model files

    def action_inspect_model(self) -> None:
        """Lay the file of the open model open."""
        from workbench.ui.model_files.inspect_screen import InspectScreen

        if (model := self._model_with_file()) is not None:
            self.push_screen(InspectScreen(self.services, model))

    def action_quantize_model(self) -> None:
        """Make another quantization of the open model."""
        if (model := self._model_with_file()) is not None:
            self.run_worker(self._quantize(model), group="library", exit_on_error=False, description="list models")

    def _model_with_file(self) -> ModelEntry | None:
        model = self.chat.desk.model
        if model is None or model.path is None:
            text = "No model is open." if model is None else "The open model has no file that can be read."
            self.notify(text, severity="warning", timeout=4)
            return None
        return model

    async def _quantize(self, model: ModelEntry) -> None:
        from workbench.ui.quantize.dialog import QuantizeDialog

        try:
            models = await self.services.catalog.models()
        except WorkbenchError:
            # What is open can be quantized all the same.
            models = ()
        self.push_screen(QuantizeDialog(self.services, model, variants_of(model, models)))

    @property
    def workshop(self) -> Workshop:
        """Where quantizations are made."""
        if self._workshop is None:
            from workbench.ui.quantize.manager import Workshop

            self._workshop = Workshop(self, self.services, self.key_for("app.jobs"), self._load_made)
        return self._workshop

    def on_quantize_dialog_wanted(self, event: QuantizeDialog.Wanted) -> None:
        """Have a quantization made, wherever the user goes meanwhile."""
        self.workshop.begin(event.job, event.model)

    def on_job_bar_clicked(self) -> None:
        """Show the quantizations."""
        self.action_jobs()

    def action_jobs(self) -> None:
        """Show the quantizations that are being made."""
        self.workshop.show()

    def _load_made(self, ref: str, label: str) -> None:
        self.action_chat()
        self.chat.load_model(ref, label)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Work for the whole program that failed in a way that nobody foresaw is told."""
        if self._workshop is not None:
            self._workshop.failed(event)

    def on_copy_out(self, event: CopyOut) -> None:
        """Copy a text."""
        self._copier.copy(event)

    # The way out

    def action_interrupt(self) -> None:
        """Copy a selection, else stop what runs; the second press in a row quits."""
        if selected := self._selected_text():
            self._copier.copy(CopyOut(selected))
            return
        now = time.monotonic()
        pressed_twice = now - self._interrupted_at < QUIT_SECONDS
        self._interrupted_at = now
        if pressed_twice:
            self.run_worker(self.action_quit(), group="quit", exit_on_error=False, description="quit")
            return
        again = f"{self.key_for('app.interrupt')} again quits."
        if self._race is not None and self.screen is self._race:
            self._race.action_stop()
            self._race.say(again, QUIT_SECONDS)
        elif self._bench is not None and self.screen is self._bench:
            self._bench.action_stop()
            self._bench.say(again, QUIT_SECONDS)
        else:
            self.chat.desk.stop()
            self.chat.say(again, QUIT_SECONDS)
            if self._models is not None and self.screen is self._models:
                self._models.say(again)

    def _selected_text(self) -> str:
        focused = self.screen.focused
        own = focused.selected_text if isinstance(focused, Input | TextArea) else ""
        return own or self.screen.get_selected_text() or ""

    async def action_quit(self) -> None:
        """Stop what runs, store the session, and end. What takes long to make is not stopped without being asked."""
        if self._workshop is None or not self._workshop.ask_to_leave(self._leave_soon):
            await self._leave()

    def _leave_soon(self) -> None:
        self.run_worker(self._leave(), group="quit", exit_on_error=False, description="quit")

    async def _leave(self) -> None:
        if self._workshop is not None:
            await self._workshop.close()
        if self._race is not None:
            await self._race.leave()
        if self._bench is not None:
            await self._bench.leave()
        await self.chat.leave()
        self.exit()


def screen_groups() -> list[KeyGroup]:
    """The bindings of the screen itself, by the place where they work."""
    return [
        KeyGroup.of("Everywhere", WorkbenchApp.BINDINGS, everywhere=True),
        KeyGroup.of("Conversation", ChatScreen.BINDINGS),
        KeyGroup.of("Prompt", Prompt.BINDINGS),
        KeyGroup.of("A turn that has the focus", TurnLines.BINDINGS),
        KeyGroup.of("The line above the turns", Earlier.BINDINGS),
    ]


def key_groups() -> list[KeyGroup]:
    """Every binding that has an id, by the place where it works."""
    from workbench.ui.bench.form import ModelList
    from workbench.ui.bench.kept_runs import KeptRunsDialog
    from workbench.ui.bench.screen import BenchScreen
    from workbench.ui.chat.edit_dialog import EditArea
    from workbench.ui.dialogs.base import Dialog
    from workbench.ui.dialogs.confirm import ConfirmDialog
    from workbench.ui.dialogs.model_picker import ModelPicker
    from workbench.ui.dialogs.settings import SettingsDialog
    from workbench.ui.model_files.pages_screen import PagesScreen
    from workbench.ui.models.screen import ModelsScreen
    from workbench.ui.quantize.dialog import QuantizeDialog
    from workbench.ui.quantize.jobs_dialog import JobsDialog
    from workbench.ui.race.lane import LaneScroll
    from workbench.ui.race.screen import RaceScreen
    from workbench.ui.sessions.dialog import SessionRows
    from workbench.ui.widgets.rows import Rows

    return [
        *screen_groups(),
        KeyGroup.of("Race", RaceScreen.BINDINGS),
        KeyGroup.of("A lane of a race that has the focus", LaneScroll.BINDINGS),
        KeyGroup.of("Bench", BenchScreen.BINDINGS),
        KeyGroup.of("The models of a bench", ModelList.BINDINGS),
        KeyGroup.of("Earlier measurements", KeptRunsDialog.BINDINGS),
        KeyGroup.of("Models of this machine", ModelsScreen.BINDINGS),
        KeyGroup.of("Choosing a model", ModelPicker.BINDINGS),
        KeyGroup.of("The stored sessions", SessionRows.OWN_BINDINGS),
        KeyGroup.of("Editing a message", EditArea.BINDINGS),
        KeyGroup.of("Settings", SettingsDialog.BINDINGS),
        KeyGroup.of("A model file laid open, or two compared", PagesScreen.BINDINGS),
        KeyGroup.of("Quantize a model", QuantizeDialog.BINDINGS),
        KeyGroup.of("Quantizations in the making", JobsDialog.BINDINGS),
        KeyGroup.of("Questions", ConfirmDialog.BINDINGS),
        KeyGroup.of("Rows of a list", Rows.BINDINGS),
        KeyGroup.of("Dialogs", Dialog.BINDINGS),
    ]
