"""Talking to a model, and seeing what it does with the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.worker import WorkerCancelled, WorkerFailed

from workbench.core.engine import Engine
from workbench.core.errors import SessionError, WorkbenchError
from workbench.core.models import ModelEntry, Naming
from workbench.core.recipe import Recipe
from workbench.core.sending import Sent
from workbench.core.session import ExportFormat
from workbench.ui.chat.branch_actions import BranchScreen
from workbench.ui.chat.commands import read_slash
from workbench.ui.chat.welcome import ResumeOffer
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.services import Services
from workbench.ui.transcript.answer import AnswerTurn
from workbench.ui.transcript.notice import Notice
from workbench.ui.workspace.conversation import Conversation
from workbench.ui.workspace.pacing import Clocks
from workbench.ui.workspace.workspace import NOTHING

if TYPE_CHECKING:
    from workbench.ui.dialogs.export import Export
    from workbench.ui.dialogs.settings import Settings

# The dialogs are imported when they are opened: the first paint does not wait for them.
LEAVE_SECONDS = 2.0
"""How long quitting waits for an answer to stop."""


EXPORTS: Mapping[str, tuple[ExportFormat, Naming | None, str]] = {
    ".modelfile": ("modelfile", None, "Modelfile   model, settings and messages, for ollama create"),
    ".md": ("md", None, "Markdown    the conversation, to read"),
    ".json": ("json", None, "JSON        everything, with the figures of each answer"),
    ".sh": ("sh", None, "Commands    that start the model in llama-server, and in Ollama"),
    ".ollama.modelfile": ("modelfile", "ollama", "Modelfile   FROM the model's name in Ollama's store"),
    ".hf.modelfile": ("modelfile", "hf", "Modelfile   FROM hf.co/…, the model's name at Hugging Face"),
}
"""How a conversation is written, and by whose name a Modelfile calls the model, by the suffix of the file."""

TO_OLLAMA = "ollama"
TO_OLLAMA_TEXT = "Ollama      make the model there, and ask it something"


class ChatScreen(BranchScreen):
    """The conversation on the left, its figures on the right."""

    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop", tooltip="Stop what runs; what was written stays."),
        Binding("ctrl+o", "models", "Model", id="chat.models", tooltip="Choose another model for this conversation."),
        Binding("ctrl+l", "cycle", "Quant", id="chat.cycle",
                tooltip="Swap to the next quantization of this model; the conversation goes on with it."),
        Binding("f6", "settings", "Settings", id="chat.settings", tooltip="Change system prompt and parameters."),
        Binding("f7", "export", "Export", id="chat.export", tooltip="Write the conversation to a Modelfile or a text."),
        Binding("f9", "reload", "Reload", id="chat.reload", tooltip="Load the model again with the settings of now."),
        Binding("ctrl+n", "new", "New chat", id="chat.new", tooltip="Begin a new conversation; this one is stored."),
        Binding("ctrl+t", "thoughts", "Thinking", id="chat.thoughts", tooltip="Show or fold what models think."),
        Binding("ctrl+r", "resume", "Sessions", id="chat.resume", show=False,
                tooltip="Go on with the interrupted session that is offered; else show all that are stored."),
        Binding("f12", "log", "Log", id="chat.log", show=False, tooltip="Show or hide what the workers logged."),
    ]
    # fmt: on

    def __init__(
        self,
        services: Services,
        model: str | None,
        resume: str | None,
        clocks: Clocks,
        key_for: Callable[[str], str],
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__(services, clocks, key_for)
        self._first_model = model
        self._first_recipe = recipe
        self._first_session = resume

    def on_mount(self) -> None:
        """Open the first model as soon as the screen is there."""
        self._welcome("" if self._first_model else self._services.no_model_hint)
        self.transcript.folds = self.prompt.pastes.folds
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._look()
        if self._first_model:
            # A stored conversation that is gone on with has its settings and its beginning.
            recipe = self._first_recipe if self._first_session is None else NOTHING
            self.load_model(self._first_model, self._first_model, recipe)
        self._find_sessions()

    # Asking and answering

    @on(Prompt.Submitted)
    def _submit(self, event: Prompt.Submitted) -> None:
        if (typed := read_slash(event.shown)) is not None:
            self._run_slash(typed, event.shown)
        elif self.is_answering:
            self.say(f"An answer is being written: {self._key_for('chat.stop')} stops it. Your text stays here.")
        elif self._queued is not None:
            self.say("A message waits for the model already. Your text stays here.")
        elif self.desk.bay.loading:
            text = self._take_message(event.shown)
            self._queued = (text, self.transcript.user_turn(text))
            self._add(self._queued[1])
            self._show_activity()
        elif self.desk.engine is None:
            key = self._key_for("chat.models")
            self.say(f"No model is open: {key} chooses one. Your text stays here.")
        else:
            text = self._take_message(event.shown)
            self._add(self.transcript.user_turn(text))
            self._answering = self._answer(text)

    def action_stop(self) -> None:
        """Stop what runs; otherwise put off what is offered, or go back to the prompt."""
        if self.desk.stop():
            self._show_activity()
        elif any(worker.group == "replay" and not worker.is_finished for worker in self.workers):
            self.workers.cancel_group(self, "replay")
        elif offers := self.query(ResumeOffer):
            offers.first().answer(resume=False)
        elif not self.put_off_alarm():
            self.prompt.focus()

    def action_resume(self) -> None:
        """Go on with the session that is offered; where none is, show those that are stored."""
        if offers := self.query(ResumeOffer):
            offers.first().answer(resume=True)
        else:
            self.action_sessions()

    def action_sessions(self) -> None:
        """Show the stored sessions."""
        from workbench.ui.sessions.dialog import SessionsDialog

        dialog = SessionsDialog(self._services.sessions, self.desk.scribe.session_id, self._take_name)
        self.app.push_screen(dialog, self._take_session)

    def _take_name(self, name: str) -> None:
        self.desk.conversation.name = name

    def _take_session(self, session_id: str | None) -> None:
        if session_id is not None and session_id != self.desk.scribe.session_id:
            self._open_session(session_id)

    @work(group="session", exit_on_error=False, description="open a session")
    async def _open_session(self, session_id: str) -> None:
        await self._stop_answer()
        try:
            await self._resume(session_id)
        except SessionError as error:
            self._add(Notice.of(error))

    # What a load means for the conversation

    def _load_ended(self, engine: Engine | None) -> None:
        if self._queued is None:
            return
        text, turn = self._queued
        self._queued = None
        if engine is not None:
            self._answering = self._answer(text)
        else:
            turn.remove()
            self._give_back(text)

    # Settings, export, and what else there is a key for

    def action_settings(self) -> None:
        """Change the settings."""
        from workbench.ui.dialogs.settings import SettingsDialog

        conversation = self.desk.conversation
        dialog = SettingsDialog(conversation.system, conversation.sampling, conversation.load)
        self.app.push_screen(dialog, self._take_settings)

    def _take_settings(self, settings: Settings | None) -> None:
        if settings is not None:
            self._tune(settings)

    @work(group="settings", exit_on_error=False, description="settings")
    async def _tune(self, settings: Settings) -> None:
        await self.desk.change(settings.system, settings.values)
        if settings.save:
            self.action_save_defaults()
        if settings.reload:
            self.action_reload()
        self._look()

    def action_save_defaults(self) -> None:
        """Make the settings those of every new conversation."""
        try:
            self.desk.save_defaults()
        except WorkbenchError as error:
            self._add(Notice.of(error))
        else:
            self.say("Saved: every new conversation begins with these settings.")

    def action_copy_answer(self, to_file: bool = False) -> None:
        """Copy what the model wrote last, into a file too if that is wanted."""
        if answers := self.query(AnswerTurn):
            answers.last().action_copy(to_file)

    def action_export(self) -> None:
        """Write the conversation to a file."""
        from workbench.ui.dialogs.export import ExportDialog

        title = self.desk.conversation.session("", self.desk.model).title
        texts = {suffix: text for suffix, (_, _, text) in EXPORTS.items()} | {TO_OLLAMA: TO_OLLAMA_TEXT}
        dialog = ExportDialog("the conversation", texts, self._services.export_folder, title)
        self.app.push_screen(dialog, self._take_export)

    def _take_export(self, export: Export | None) -> None:
        if export is not None and export.form == TO_OLLAMA:
            self._send_to_ollama()
        elif export is not None:
            self._export(export)

    def _send_to_ollama(self) -> None:
        from workbench.ui.chat.ollama_dialog import SendDialog

        def made(sent: Sent | None) -> None:
            if sent is not None:
                text = f"Ollama made {sent.model}, and it answers: {sent.answer}  Open it as {sent.ref}"
                self._add(Notice(text, severity="information"))

        session = self.desk.conversation.session(self.desk.scribe.session_id, self.desk.model)
        self.app.push_screen(SendDialog(self._services.sender, session), made)

    @work(group="export", exit_on_error=False, description="export")
    async def _export(self, export: Export) -> None:
        try:
            form, naming, _ = EXPORTS[export.form]
            written = await self.desk.export(form, export.path, naming)
        except WorkbenchError as error:
            self._add(Notice.of(error))
        else:
            self._add(Notice(f"Written to {written}", severity="information"))

    def action_thoughts(self) -> None:
        """Show or fold what models think."""
        self.think(shown=not self._show_thoughts)

    def think(self, *, shown: bool) -> None:
        """Show what models think, or fold it."""
        self._show_thoughts = shown
        for turn in self.query(AnswerTurn):
            turn.show_thoughts(self._show_thoughts)
        self.say("Thinking is shown." if self._show_thoughts else "Thinking is folded.")

    @work(group="session", exit_on_error=False, description="go on with a lane")
    async def adopt(self, conversation: Conversation, model: ModelEntry) -> None:
        """Go on with a conversation that was held elsewhere, and with the model that answered there."""
        await self._stop_answer()
        await self.desk.adopt(conversation, model)
        self._labels[model.ref] = model.label
        await self._redraw()
        self.load_model(model.ref, model.label, NOTHING)
        self.prompt.focus()

    @work(group="session", exit_on_error=False, description="new chat")
    async def action_new(self) -> None:
        """Begin an empty conversation."""
        await self._stop_answer()
        await self.desk.new()
        await self._redraw()
        self.prompt.focus()

    # Stored sessions

    @work(group="session", exit_on_error=False, description="look for interrupted sessions")
    async def _find_sessions(self) -> None:
        try:
            if self._first_session is not None:
                await self._resume(self._first_session)
            elif sessions := await self._services.sessions.interrupted():
                offer = ResumeOffer(sessions[0], self._key_for("chat.resume"), self._key_for("chat.stop"))
                await self.mount(offer, before=self.activity)
        except SessionError as error:
            self._add(Notice.of(error))

    @on(ResumeOffer.Answered)
    @work(group="session", exit_on_error=False, description="resume")
    async def _offer_answered(self, event: ResumeOffer.Answered) -> None:
        self.prompt.focus()
        await event.offer.remove()
        try:
            if event.resume:
                await self._resume(event.session.id)
            else:
                await self._services.sessions.dismiss(event.session.id)
        except SessionError as error:
            self._add(Notice.of(error))

    async def _resume(self, session_id: str) -> None:
        session = await self.desk.resume(session_id)
        labels = self._labels
        labels |= {model.ref: model.label for model in await self._services.catalog.models()}
        await self._redraw()
        model = self.desk.model
        if session.model and not self.desk.bay.loading and (model is None or model.ref != session.model):
            self.load_model(session.model, labels.get(session.model, session.model), NOTHING)
        if session.turns and session.turns[-1].is_cut:
            keys = self._key_for("turn.continue"), self._key_for("turn.regenerate")
            hint = f"Select it: {keys[0]} lets it go on, {keys[1]} asks for another one."
            self._add(Notice("The last answer was cut off.", hint, "warning"))

    async def leave(self) -> None:
        """Stop what runs, keep what is in the prompt, and close the session as one that ended well."""
        await self._services.prompts.keep_draft(self.prompt.pastes.expanded(self.prompt.text))
        self.desk.stop()
        running = self._answering
        if running is not None and not running.is_finished:
            with suppress(WorkerFailed, WorkerCancelled, TimeoutError):
                await asyncio.wait_for(running.wait(), LEAVE_SECONDS)
        await self.desk.shut_down()
