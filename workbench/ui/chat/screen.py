"""The chat screen: the conversation on the left, its figures on the right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import Worker

from workbench.core.errors import SessionError
from workbench.core.models import ModelEntry
from workbench.core.recipe import Recipe
from workbench.ui.chat.answers import ChatAnswers
from workbench.ui.chat.branch_actions import BranchActions
from workbench.ui.chat.commands import COMMANDS, CommandLine
from workbench.ui.chat.model_loading import ModelLoader
from workbench.ui.chat.prompt_input import PromptInput
from workbench.ui.chat.serving_actions import ServingActions
from workbench.ui.chat.session_actions import SessionActions
from workbench.ui.chat.settings_actions import SettingsActions
from workbench.ui.chat.view import ChatView
from workbench.ui.chat.welcome import ResumeOffer
from workbench.ui.keys import key
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.services import Services
from workbench.ui.transcript.notice import Notice
from workbench.ui.transcript.turns import TurnAction, TurnLines
from workbench.ui.widgets.worker_errors import report_worker_error
from workbench.ui.workspace.workspace import NOTHING, Workspace

# The dialogs are imported when they are opened: the first paint does not wait for them.
LEAVE_SECONDS = 2.0
"""How long quitting waits for an answer to stop."""
OVERTAKEN_SECONDS = 0.5
"""How long quitting waits for the keys that it has overtaken."""

TURN_ENTRIES: tuple[tuple[TurnAction, str], ...] = (
    ("regenerate", "Ask again: another answer"),
    ("edit", "Edit a message"),
    ("continue", "Continue a truncated answer"),
    ("branch_before", "Go to the previous branch"),
    ("branch_after", "Go to the next branch"),
    ("delete", "Delete a message"),
    ("undo", "Undo the last change of the conversation"),
    ("redo", "Redo the change that was undone"),
    ("replay", "Replay an answer"),
    ("lens", "Look at an answer through another model"),
    ("alternatives", "Alternatives of the tokens of an answer"),
    ("record", "Record the alternatives of tokens, or stop that"),
)
"""The actions of a turn, as the palette names them; there they apply to the focused turn, else to the last one."""


class ChatScreen(Screen[None]):
    """Wires the parts of the chat, and maps keys and palette entries to them.

    Args:
        model: The model to open first; None for none.
        resume: The id of a stored session to continue.
        recipe: The part of the model's Modelfile that the first conversation uses; None for all.
    """

    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#prompt"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        key("chat.stop", "escape", "Stop", "Stop what runs; the text so far stays."),
        key("chat.models", "ctrl+o", "Model", "Choose another model for this conversation."),
        key("chat.cycle", "ctrl+l", "Quant",
            "Swap to the next quantization of this model; the conversation continues with it."),
        key("chat.settings", "f6", "Settings", "Change system prompt and parameters.", action="app.settings"),
        key("chat.export", "f7", "Export", "Write the conversation to a Modelfile or a text."),
        key("chat.messages", "shift+tab,ctrl+up", "Messages",
            "Enter the last message, whose keys then work; Esc goes back to the prompt."),
        key("chat.reload", "f9", "Reload", "Load the model again with the current settings."),
        key("chat.new", "ctrl+n", "New chat", "Begin a new conversation; this one is stored."),
        key("chat.thoughts", "ctrl+t", "Thinking", "Show or fold the thoughts of models."),
        key("chat.answer_now", "ctrl+b", "Answer now",
            "End the thoughts of the answer that is being written.", show=False),
        key("chat.serve", "alt+s", "Serve",
            "Serve the open model to other programs, then show who asks, and stop it.", show=False, priority=True),
        key("chat.resume", "ctrl+r", "Sessions",
            "Resume the interrupted session that is offered, else show all stored sessions.", show=False),
    ]
    # fmt: on

    def __init__(
        self,
        services: Services,
        workspace: Workspace,
        key_for: Callable[[str], str],
        model: str | None = None,
        resume: str | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__(id="chat")
        self._services = services
        self._workspace = workspace
        self._key_for = key_for
        self._first = model, resume, recipe
        self.view = view = ChatView(self, services, workspace, key_for)
        self.prompt, self.transcript, self.status = view.prompt, view.transcript, view.status
        self.answers = ChatAnswers(view)
        self.loader = ModelLoader(view, self.answers)
        self.branches = BranchActions(view, self.answers)
        self.sessions = SessionActions(view, self.answers, self.loader)
        self.settings = SettingsActions(view, self.loader)
        self.serving = ServingActions(view, self.loader)
        self.input = PromptInput(view, self.answers, self._run_command)

    def compose(self) -> ComposeResult:
        yield from self.view.compose()

    def on_mount(self) -> None:
        self.view.start()
        self.input.start()
        model, session, _ = self._first
        hint = "" if model else self._services.no_model_hint
        self.view.welcome(hint, without_model=not model and not session)

    def begin(self) -> None:
        """Load the model, and continue or offer a session; once the screen is drawn."""
        model, session, recipe = self._first
        self.view.look()
        if model:
            # A stored conversation has its own settings and its own beginning.
            self.loader.load(model, model, recipe if session is None else NOTHING)
        self.sessions.begin(session)

    # Messages from below

    def on_machine_changed(self) -> None:
        """Show the new sample of the meters; while something runs, the next figures include it."""
        if not self.view.busy:
            self.view.look()

    def on_resize(self, event: events.Resize) -> None:
        self.view.fit_width(event.size.width)

    def on_key(self, event: events.Key) -> None:
        self.prompt.take_key(event)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        self.refresh_bindings()
        if event.worker.is_finished:
            self.status.show()
        report_worker_error(event, lambda text: self.view.add(Notice(text)))

    @on(Prompt.Submitted)
    def _submitted(self, event: Prompt.Submitted) -> None:
        self.input.submit(event.shown)

    @on(Prompt.Changed, "#prompt")
    def _prompt_changed(self) -> None:
        self.input.changed()

    @on(TurnLines.Asked)
    def _turn_asked(self, event: TurnLines.Asked) -> None:
        self.branches.perform(event.action, event.turn)

    @on(ResumeOffer.Clicked)
    def _offer_clicked(self) -> None:
        self.sessions.answer_offer(resume=True)

    # Calls from the program

    def report_journal_error(self, error: SessionError) -> None:
        self._services.logs.add("error", "session", str(error))
        self.view.add(Notice(f"The session is not being stored: {error.message}", error.hint))

    async def leave(self) -> None:
        """Stop what runs, store the draft, and close the session as one that ended well."""
        # A priority key overtakes those that were typed before it: they are on their way to the prompt and to here.
        for widget in (self.prompt, self):
            handled = asyncio.Event()
            widget.call_later(handled.set)
            with suppress(TimeoutError):
                await asyncio.wait_for(handled.wait(), OVERTAKEN_SECONDS)
        await self.input.store_draft()
        await self.answers.stop(LEAVE_SECONDS)
        await self.serving.stop()
        await self._workspace.shut_down()

    # Actions

    def escape_label(self) -> str:
        if self.view.busy or self.view.replaying:
            return "Stop"
        if self.sessions.offers or self.status.has_alarm:
            return "Not now" if self.sessions.offers else "Hide"
        return "" if self.prompt.has_focus else "Prompt"

    def action_stop(self) -> None:
        """Stop what runs; else dismiss an offer or an alarm; else focus the prompt."""
        if self._workspace.stop():
            self.status.show()
        elif not (self.view.stop_replay() or self.sessions.answer_offer(resume=False) or self.status.dismiss_alarm()):
            self.prompt.focus()

    def action_messages(self) -> None:
        """Enter the last message; from a message, go to the one above."""
        if not self.view.transcript.enter():
            self.status.say("There is no message yet.")

    def action_answer_now(self) -> None:
        answering = self._workspace.answering
        self.status.say("No answer is being written." if answering is None else answering.end_thoughts())

    def action_models(self) -> None:
        self.loader.choose()

    def action_cycle(self) -> None:
        self.loader.cycle()

    def action_reload(self) -> None:
        self.loader.reload()

    def action_serve(self) -> None:
        self.serving.toggle()

    def action_new(self) -> None:
        self.sessions.new()

    def action_resume(self) -> None:
        """Resume the offered session, else show all stored sessions."""
        if not self.sessions.answer_offer(resume=True):
            self.sessions.choose()

    def action_thoughts(self) -> None:
        self.view.think(not self.view.show_thoughts)

    def action_export(self) -> None:
        from workbench.ui.chat.export_actions import open_export

        open_export(self.view)

    # The open model

    def action_inspect(self) -> None:
        from workbench.ui.model_files.screens import inspect_screen

        if (model := self.model_with_file()) is not None:
            self.app.push_screen(inspect_screen(self._services, model))

    def model_with_file(self) -> ModelEntry | None:
        """The open model, where it has a file; None, with a notice, where there is none."""
        model = self._workspace.model
        if model is None or model.path is None:
            text = "No model is open." if model is None else "The open model has no file that can be read."
            self.notify(text, severity="warning", timeout=4)
            return None
        return model

    # Commands and the palette

    async def _run_command(self, typed: CommandLine) -> None:
        from workbench.ui.chat.command_runner import CommandRunner

        program = {
            "bye": "quit",
            "models": "library",
            **{name: f"experiment('{name}')" for name in ("race", "bench", "evals", "quality")},
            "theme": "themes",
            "log": "log",
            "keys": "help",
        }
        actions: dict[str, Callable[[], object]] = {
            "clear": self.sessions.new,
            "export": self.action_export,
            "settings": self.settings.open,
            "reload": self.loader.reload,
            "copy": self.branches.copy_answer,
            "alternatives": partial(self.branches.perform, "record"),
            **{name: partial(self.app.run_action, f"app.{action}") for name, action in program.items()},
        }
        await CommandRunner(self.view, self.loader, actions, {"serve": self.serving.start}).run(typed)

    def palette_entries(self) -> Iterator[SystemCommand]:
        tooltips = {each.id: each.tooltip for each in TurnLines.BINDINGS if isinstance(each, Binding)}
        for action, title in TURN_ENTRIES:
            name = f"turn.{action}"
            yield SystemCommand(
                f"{title}  ({self._key_for(name)})", tooltips[name], partial(self.branches.perform, action)
            )
        branches, sessions = self.branches, self.sessions
        quantize = partial(self.app.run_action, "app.quantize_model")
        # fmt: off
        actions: tuple[tuple[str, str, Callable[[], object]], ...] = (
            ("Sessions", "Show, search and open the stored sessions.", sessions.choose),
            ("Copy the conversation", "Copy all messages of this branch as Markdown.", branches.copy_conversation),
            ("Copy the conversation to a file", "Write all messages of this branch to a file.",
             partial(branches.copy_conversation, to_file=True)),
            ("Copy code", "Copy a block of code of the last answer; repeated, the next one.", branches.copy_code),
            ("Copy code to a file", "Write the block of code that was copied last to a file.",
             partial(branches.copy_code, to_file=True)),
            ("Copy the last answer", "Copy the last answer to the clipboard.", branches.copy_answer),
            ("Copy the last answer to a file", "Write the last answer to a file.",
             partial(branches.copy_answer, to_file=True)),
            ("Save the settings as defaults", "Use them for every new conversation.", self.settings.save_defaults),
            ("Keep the settings for the model", "Use them whenever this model is loaded.",
             lambda: self.view.run(self.settings.keep_for_model(), "settings", "settings")),
            ("Inspect the model", "Show everything in the file of the open model.", self.action_inspect),
            ("Quantize the model", "Make another quantization of the open model.", quantize),
        )
        # fmt: on
        yield from (SystemCommand(*action) for action in actions)
        for each in COMMANDS:
            # The others are actions, which are listed by their own names.
            if each.usage:
                yield SystemCommand(f"{each.line} …", each.help, partial(self.input.type, f"/{each.name} "))
