"""A screen with a prompt that remembers what was typed, completes commands, and carries them out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on, work

from workbench.core.errors import ModelFileError, WorkbenchError
from workbench.core.models import ModelEntry
from workbench.core.prompt_text import PromptText
from workbench.core.session import ExportFormat
from workbench.ui.chat.commands import Typed, candidates, plain_message
from workbench.ui.chat.model_loading import LoadScreen
from workbench.ui.prompt.completion import Candidate
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.services import Services
from workbench.ui.workspace.pacing import Clocks

if TYPE_CHECKING:
    from workbench.gguf.inspect import ModelReport

DRAFT_SECONDS = 0.5
"""How long after a key the text in the prompt is put on disk."""


class TypedScreen(LoadScreen):
    """What the prompt does beside taking messages.

    Args:
        services: What the program works with.
        clocks: What the time is read from.
        key_for: Tells the key that a binding has.
    """

    def __init__(self, services: Services, clocks: Clocks, key_for: Callable[[str], str]) -> None:
        super().__init__(services, clocks, key_for)
        self._model_names: Sequence[str] = ()
        """What /load can be completed to; empty until it was asked for."""

    def on_mount(self) -> None:
        """Have earlier prompts at hand, and keep what is typed."""
        self.prompt.complete = self._candidates
        self._draft_timer = self.set_interval(DRAFT_SECONDS, self._draft_due, pause=True)
        self.call_after_refresh(self._recall_prompts)

    # What was typed

    @work(group="prompts", exit_on_error=False, description="recall earlier prompts")
    async def _recall_prompts(self) -> None:
        prompts = self._services.prompts
        lost = await prompts.lost_drafts()
        # A draft that does not come into the prompt by itself is at hand with the Up key.
        for draft in lost:
            await prompts.keep(draft)
        self.prompt.remember(await prompts.recall())
        if lost and not self.prompt.text:
            self.prompt.put_kept(lost[-1])
            self.notify("This was in the prompt when the program ended last time.", markup=False)

    def _draft_due(self) -> None:
        self._draft_timer.pause()
        self._keep_draft()

    @work(group="prompts", exit_on_error=False, description="keep a prompt")
    async def _keep_prompt(self, prompt: PromptText) -> None:
        await self._services.prompts.keep(prompt)

    @work(group="draft", exit_on_error=False, description="keep what is in the prompt")
    async def _keep_draft(self) -> None:
        await self._services.prompts.keep_draft(self.prompt.pastes.expanded(self.prompt.text))

    def _take(self, shown: str) -> str:
        """Take what was submitted out of the prompt; it is kept for later sessions."""
        self._keep_prompt(self.prompt.pastes.expanded(shown))
        return self.prompt.take(shown)

    def _take_message(self, shown: str) -> str:
        """Take the message that was submitted. What a paste begins with is no command."""
        text = self._take(shown)
        return plain_message(text) if shown.startswith("/") else text

    def action_type(self, text: str) -> None:
        """Put the beginning of a command into the prompt."""
        self.prompt.show_text(text)
        self.prompt.focus()

    # Commands

    @on(Prompt.Changed, "#prompt")
    def _prompt_changed(self) -> None:
        self._draft_timer.resume()
        self._suggest()

    def _suggest(self) -> None:
        text = self.prompt.text
        if text.startswith("/load ") and not self._model_names:
            self._learn_names()
        found = self._candidates(text)
        if found or self.suggestions.display:
            self.suggestions.show(found)

    def _candidates(self, text: str) -> Sequence[Candidate]:
        return candidates(text, self._model_names)

    @work(group="names", exit_on_error=False, description="list models")
    async def _learn_names(self) -> None:
        with suppress(WorkbenchError):
            self._model_names = [model.ref for model in await self.known_models() if not model.problem]
            self._suggest()

    @work(group="slash", exit_on_error=False, description="command")
    async def _run_slash(self, typed: Typed, shown: str) -> None:
        from workbench.ui.chat.command_runner import SlashRunner

        try:
            await SlashRunner(self).run(replace(typed, rest=self.prompt.pastes.expand(typed.rest)))
        except WorkbenchError as error:
            self.say(str(error), 8.0)
        else:
            self._take(shown)

    @abstractmethod
    def think(self, *, shown: bool) -> None:
        """Show what models think, or fold it."""

    @property
    def export_folder(self) -> Path:
        """Where an export goes when no folder is named."""
        return self._services.export_folder

    def export_text(self, form: ExportFormat) -> str:
        """The conversation as it would be written.

        Raises:
            WorkbenchError: The form cannot hold one of its values.
        """
        return self._services.session_text(self.desk.conversation.session("", self.desk.model), form)

    async def known_models(self) -> Sequence[ModelEntry]:
        """The models at hand.

        Raises:
            WorkbenchError: They cannot be listed.
        """
        return await self._services.catalog.models()

    async def inspect_model(self) -> ModelReport:
        """Everything that the file of the open model says of itself.

        Raises:
            WorkbenchError: No model is open, it has no file, or the file cannot be read.
        """
        model = self.desk.model
        if model is None or not model.path:
            raise ModelFileError("There is no model file to look into.", "Open a model first.")
        return await self._services.files.inspect(Path(model.path))
