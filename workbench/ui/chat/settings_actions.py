"""The settings of the conversation: changed in their dialog, saved as defaults, and kept for the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.core.errors import FormatError, WorkbenchError
from workbench.ui.chat.model_loading import ModelLoader
from workbench.ui.chat.view import ChatView
from workbench.ui.transcript.notice import Notice

if TYPE_CHECKING:
    from workbench.ui.dialogs.settings import Settings


class SettingsActions:
    """Changes the settings of the conversation."""

    def __init__(self, view: ChatView, loader: ModelLoader) -> None:
        self._view = view
        self._workspace = view.workspace
        self._loader = loader
        self.config = view.services.config
        """The configuration in force, with what was changed of the screen."""

    def open(self) -> None:
        """Show the settings of the conversation over the current screen."""
        from workbench.ui.dialogs.settings import SettingsDialog

        def taken(settings: Settings | None) -> None:
            if settings is not None:
                self._view.run(self._change(settings), "settings", "settings")

        conversation = self._workspace.conversation
        engine = self._workspace.engine
        dialog = SettingsDialog(
            conversation.system,
            conversation.sampling,
            conversation.load,
            conversation.origins,
            served=engine is not None and engine.info.measured_by != "engine",
            when_context_full=conversation.when_context_full,
            config=self.config,
        )
        self._view.app.push_screen(dialog, taken)

    async def _change(self, settings: Settings) -> None:
        try:
            await self._workspace.change(settings.system, settings.values)
        except FormatError as error:
            self._view.add_error(error)
        if settings.when_context_full is not None:
            self._workspace.conversation.when_context_full = settings.when_context_full
        if settings.screen:
            self._save(lambda: self._view.services.save_config(settings.screen))
            self.config = replace(self.config, **settings.screen)
        match settings.then:
            case "save":
                self.save_defaults()
            case "reload":
                self._loader.reload()
            case "keep" | "forget":
                await self.keep_for_model(forget=settings.then == "forget")
        self._view.look()

    def save_defaults(self) -> None:
        if self._save(self._workspace.save_defaults):
            self._view.status.say("Saved: new conversations begin with these settings.")

    def _save(self, save: Callable[[], Sequence[str]]) -> bool:
        """Save something in the config; report what another program had changed, or why it cannot be saved."""
        try:
            replaced = save()
        except WorkbenchError as error:
            self._view.add_error(error)
            return False
        for text in replaced:
            self._view.add(Notice(text, severity="warning"))
        return True

    async def keep_for_model(self, *, forget: bool = False) -> None:
        """Keep the settings of this chat for the open model, or remove what is kept for it."""
        engine = self._workspace.engine
        if engine is None:
            self._view.status.say("No model is open to keep settings for.")
            return
        model = engine.info.model
        try:
            if forget:
                names = await self._workspace.forget_for_model(engine)
            else:
                names = self._workspace.keep_for_model(model)
        except WorkbenchError as error:
            self._view.add_error(error)
            return
        if not names:
            self._view.status.say(f"Nothing is kept for {model.name}." if forget else "Nothing was set in this chat.")
            return
        self._view.status.say(f"{'No longer kept' if forget else 'Kept'} for {model.name}: {', '.join(names)}.")
        self._view.look()
