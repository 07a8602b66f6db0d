"""The full-screen program."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.events import Event, Key
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.widgets import Input, TextArea
from textual.worker import Worker
from typing_extensions import override

from workbench.core.gc_tuning import collect_from_now
from workbench.core.recipe import Recipe
from workbench.ui._compat import KeptStylesheet, page_driver, prompt_driver
from workbench.ui.bindings import APP_BINDINGS, KeyNames
from workbench.ui.chat.screen import ChatScreen
from workbench.ui.jobs.background import Background
from workbench.ui.jobs.experiments import NEIGHBOURS, PALETTE, make_experiment
from workbench.ui.jobs.outside import Outside
from workbench.ui.keys import MovedKeys, as_text, spoken
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.machine.monitor import MachineMonitor
from workbench.ui.services import Services
from workbench.ui.themes import FALLBACK, load_themes, variable_defaults
from workbench.ui.widgets.clipboard import Copier, CopyOut
from workbench.ui.widgets.worker_errors import report_worker_error
from workbench.ui.workspace.pacing import REAL_CLOCKS, Clocks
from workbench.ui.workspace.workspace import Workspace

if TYPE_CHECKING:
    from workbench.ui.decision.screen import DecisionScreen
    from workbench.ui.experiment.screen import ExperimentScreen
    from workbench.ui.models.screen import ModelsScreen
    from workbench.ui.quantize.dialog import QuantizeDialog
    from workbench.ui.race.offer import RaceOffer
    from workbench.ui.race.screen import RaceScreen

QUIT_SECONDS = 2.0
"""Within this time a second Ctrl+C quits."""


def _action_provider() -> type[Provider]:
    from workbench.ui.palette import ActionProvider

    return ActionProvider


class WorkbenchApp(App[None]):
    """Shows the screens, and holds what they share: workspace, themes, keys, help and the way out.

    `model`, `resume` and `recipe` are those of `ChatScreen`.
    """

    TITLE = "workbench"
    # The style sheet of the first screen is read with the program's own: read later, all of them would be parsed twice.
    CSS_PATH: ClassVar[list[str | PurePath]] = ["app.tcss", "chat/screen.tcss"]
    MODES: ClassVar[dict[str, str | Callable[[], Screen]]] = {"chat": "chat"}
    DEFAULT_MODE = "chat"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_action_provider}
    BINDINGS: ClassVar[list[BindingType]] = APP_BINDINGS

    def __init__(
        self,
        services: Services,
        model: str | None,
        resume: str | None = None,
        *,
        recipe: Recipe | None = None,
        clocks: Clocks = REAL_CLOCKS,
    ) -> None:
        super().__init__(driver_class=page_driver() or prompt_driver())
        self.stylesheet = KeptStylesheet(variables=self.get_css_variables())
        self.services = services
        self.workspace = Workspace(services, lambda error: self.chat.report_journal_error(error), clocks)
        self._interrupted_at = float("-inf")
        self._moved = MovedKeys(partial(self.notify, timeout=6))
        self._copier = Copier(self, services.keep_copy)
        self.background = Background(self, services, self.key_for, self._load_in_chat)
        self._experiments: dict[str, ExperimentScreen] = {}
        """The screens that compute, by their modes."""
        self._models: ModelsScreen | None = None
        self._themes, theme_problems = load_themes(services.theme_folders)
        for theme in self._themes.values():
            self.register_theme(theme)
        wanted = services.config.theme
        self.theme = wanted if wanted in self._themes else next(iter(self._themes))
        self.set_keymap(dict(services.config.keymap))
        self._keys = KeyNames(services.config.keymap)
        if self.theme != wanted:
            theme_problems.append(f"There is no theme {wanted!r}: {self.theme!r} is used.")
        self._problems = {
            "Parts of the config are ignored": [*map(str, services.config_problems), *self._keys.problems()],
            "Some themes are ignored": theme_problems,
        }
        self.chat = ChatScreen(services, self.workspace, self.key_for, model, resume, recipe)
        self.install_screen(self.chat, "chat")
        self.outside = Outside(
            self, self.workspace, self._experiments, self.background, lambda: self.chat.settings.config
        )
        self.monitor = MachineMonitor(
            self,
            self.workspace,
            services.find_devices,
            self.chat.status.show_alarm,
            lambda: any(screen.running for screen in self._experiments.values()),
        )

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(self.current_theme or FALLBACK)

    def on_load(self) -> None:
        # From Python 3.12 on, Textual has a task run to its first wait inside the call that creates it: before the
        # creator has stored the worker by which the task finds out whether it is still the latest of its kind.
        asyncio.get_running_loop().set_task_factory(None)

    def on_ready(self) -> None:
        # Not at the mount: until that is over, Textual draws nothing, and refreshes without.
        starts = (collect_from_now, self.chat.begin, self.monitor.start, self.outside.start, self._report_problems)
        for start in (*starts, self.background.start):
            self.call_after_refresh(start)

    def on_unmount(self) -> None:
        self.monitor.stop()
        self.outside.leave()

    # The machine and its meters

    def action_meters(self) -> None:
        self.chat.status.dismiss_alarm()
        self.monitor.open_dialog()

    # Problems

    def _report_problems(self) -> None:
        for title, problems in self._problems.items():
            if problems:
                text = "\n".join(map(clean_line, problems))
                self.notify(text, title=title, severity="warning", timeout=12)

    @override
    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a notification. Its text is never parsed as markup, whatever `markup` says."""
        super().notify(clean(message), title=clean_line(title), severity=severity, timeout=timeout, markup=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        report_worker_error(event, lambda text: self.notify(clean_line(text), severity="error", timeout=12))

    # Keys

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key) and self.screen_stack:
            self._moved.look(self.screen, event.key)
        await super().on_event(as_text(event))

    def get_key_display(self, binding: Binding) -> str:
        return spoken(binding.key)

    def key_for(self, binding_id: str) -> str:
        return self._keys.key_for(binding_id)

    def action_help(self) -> None:
        from workbench.ui.dialogs.help import HelpDialog

        self.push_screen(HelpDialog(self._keys.tables(self.screen)))

    def get_system_commands(self, screen: Screen) -> Iterable[SystemCommand]:
        """The actions for the palette that no binding has."""
        yield SystemCommand("Get models", "Search registries, and see the downloads.", self.action_pull)
        for mode, (title, text) in PALETTE.items():
            yield SystemCommand(title, text, partial(self.action_experiment, mode))
        if screen is self.chat:
            yield from self.chat.palette_entries()

    def action_command_palette(self) -> None:
        from workbench.ui.palette import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_settings(self) -> None:
        self.chat.settings.open()

    def action_nothing(self, what: str) -> None:
        """Say that this screen has nothing for a key that works on the others."""
        self.notify(f"There is nothing to {what} on this screen.", timeout=3)

    def action_log(self) -> None:
        from workbench.ui.chat.log_pane import toggle_log

        toggle_log(self.screen, self.services.logs)

    # Themes

    def action_themes(self) -> None:
        from workbench.ui.dialogs.theme_picker import choose_theme

        choose_theme(self, list(self._themes), self.services.save_config)

    # Screens

    def _go_to(self, screen: Screen[None], mode: str) -> None:
        """Close what is open over the current screen, and go to another one."""
        if not self.is_screen_installed(mode):
            self.install_screen(screen, mode)
            self.add_mode(mode, mode)
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.switch_mode(mode)

    def action_chat(self) -> None:
        self._go_to(self.chat, "chat")
        self.chat.prompt.focus()

    def action_experiment(self, mode: str) -> None:
        """Go to one of the screens that compute; where it is shown already, to its neighbour."""
        if mode == self.current_mode:
            mode = NEIGHBOURS.get(mode, mode)
        if mode not in self._experiments:
            self._experiments[mode] = make_experiment(mode, self.services, self.workspace, self.key_for)
        self._go_to(self._experiments[mode], mode)

    def action_library(self) -> None:
        if self._models is None:
            from workbench.ui.models.screen import ModelsScreen

            self._models = ModelsScreen(self.services, self.workspace, self.key_for)
        self._go_to(self._models, "models")

    def _on_models_screen_load(self, event: ModelsScreen.Load | DecisionScreen.Load) -> None:
        async def load() -> None:
            if event.values:
                await self.workspace.change(self.workspace.conversation.system, event.values)
            self.chat.loader.load(event.model.ref, event.model.label)

        self.action_chat()
        self.run_worker(load(), group="load", exit_on_error=False, description="load a model")

    _on_decision_screen_load = _on_models_screen_load

    def _load_in_chat(self, ref: str, label: str) -> None:
        self.action_chat()
        self.chat.loader.load(ref, label)

    def _on_race_screen_continue(self, event: RaceScreen.Continue) -> None:
        from workbench.ui.race.lane_actions import conversation_of

        if event.lane.info is not None:
            self.action_chat()
            self.chat.sessions.adopt(conversation_of(event.lane, event.questions), event.lane.info.model)

    # Model files

    def action_quantize_model(self) -> None:
        if (model := self.chat.model_with_file()) is not None:
            self.background.workshop.choose_type(model)

    def _on_quantize_dialog_wanted(self, event: QuantizeDialog.Wanted) -> None:
        self.background.workshop.begin(event.job, event.model)

    def _on_race_offer_accepted(self, event: RaceOffer.Accepted) -> None:
        async def make() -> None:
            await event.made(await self.background.workshop.make(event.jobs, event.model))

        self.run_worker(make(), group="offer", exit_on_error=False, description="make quantizations")

    def _on_race_offer_stopped(self) -> None:
        self.background.workshop.stop()

    def action_jobs(self) -> None:
        self.background.workshop.show()

    def action_pull(self, query: str = "") -> None:
        """Go to the registries of models; `query` is a name to search for, or a reference."""
        if self.services.pulls is None:
            self.notify("There is no registry to ask.", severity="warning", timeout=4)
        else:
            self.background.downloads.show(query)

    # The way out

    @on(CopyOut)
    def _copy(self, event: CopyOut) -> None:
        self._copier.copy(event)

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
        for screen in self._experiments.values():
            if self.screen is screen:
                screen.action_stop()
                screen.say(again, QUIT_SECONDS)
                return
        self.workspace.stop()
        self.chat.status.say(again, QUIT_SECONDS)
        if self._models is not None and self.screen is self._models:
            self._models.say(again)

    def _selected_text(self) -> str:
        focused = self.screen.focused
        own = focused.selected_text if isinstance(focused, Input | TextArea) else ""
        return own or self.screen.get_selected_text() or ""

    async def action_quit(self) -> None:
        """Stop what runs, store the session, and end; ask first where a quantization or a download would stop."""

        def leave() -> None:
            self.run_worker(self._leave(), group="quit", exit_on_error=False, description="quit")

        if not self.background.ask_to_leave(leave):
            await self._leave()

    async def _leave(self) -> None:
        await self.background.close()
        for screen in self._experiments.values():
            await screen.leave()
        await self.chat.leave()
        self.exit()
