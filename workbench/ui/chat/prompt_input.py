"""The text in the prompt: sending it, completing commands, keeping it for later sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import WorkbenchError
from workbench.core.prompt_text import PromptText
from workbench.ui.chat.answers import ChatAnswers
from workbench.ui.chat.commands import CommandLine, candidates, plain_message, read_command
from workbench.ui.chat.view import ChatView
from workbench.ui.prompt.completion import Candidate

CHARACTERS_PER_TOKEN = 4
"""Roughly, where nobody counts."""
DRAFT_SECONDS = 0.5
"""How long after a key the text in the prompt is written to disk."""


class PromptInput:
    """Takes messages and commands out of the prompt; `run_command` raises WorkbenchError."""

    def __init__(
        self, view: ChatView, answers: ChatAnswers, run_command: Callable[[CommandLine], Awaitable[None]]
    ) -> None:
        self._view = view
        self._prompt = view.prompt
        self._answers = answers
        self._prompts = view.services.prompts
        self._run_command = run_command
        self._command = ""
        """The command that runs; empty where none does."""
        self._keeps = True
        """Whether the last text could be stored."""
        self._chips = 0
        """The pastes in the prompt."""
        self._model_names: Sequence[str] = ()
        """The completions of `/load`; empty until they are needed."""

    def start(self) -> None:
        """Recall the prompts of earlier sessions, and keep drafts from now on."""
        self._prompt.complete = self._candidates
        self._draft_timer = self._prompt.set_interval(DRAFT_SECONDS, self.keep_draft, pause=True)
        self._prompt.call_after_refresh(lambda: self._view.run(self._recall(), "prompts", "recall earlier prompts"))

    # Earlier prompts and drafts

    async def _recall(self) -> None:
        # Only one draft fits into the prompt; the Up key reaches the others.
        lost = await self._prompts.lost_drafts()
        self._prompt.remember(await self._prompts.recall())
        if lost and not self._prompt.text:
            self._prompt.put_kept(lost[-1])
            self._prompt.notify("This was in the prompt when the program ended last time.")

    def keep_draft(self) -> None:
        if self._view.workspace.queued is None:
            self._draft_timer.pause()
        self._view.run(self.store_draft(), "draft", "keep the draft")

    async def store_draft(self) -> None:
        """Write the text in the prompt to disk; it is there when this returns."""
        # The command that ends the program is still in the prompt, and is no draft.
        draft = self._prompt.pastes.expanded(self._prompt.text.removeprefix(self._command))
        if (waiting := self._view.workspace.queued) is not None:
            # A message that waits for its model is stored nowhere else yet.
            draft = PromptText("\n\n".join(filter(None, (waiting, draft.text))))
        await self._store(self._prompts.keep_draft(draft))

    async def _store(self, work: Awaitable[None]) -> None:
        """Store something typed. A failure is shown once, until it works again."""
        try:
            await work
        except WorkbenchError as error:
            if self._keeps:
                self._view.status.say(str(error), 8.0)
            self._keeps = False
        else:
            self._keeps = True

    def _take(self, shown: str) -> str:
        """Take what was submitted out of the prompt, and keep it for later sessions."""
        self._view.run(self._store(self._prompts.keep(self._prompt.pastes.expanded(shown))), "prompts", "keep a prompt")
        return self._prompt.take(shown)

    # Messages and commands

    def submit(self, shown: str) -> None:
        """Send a message or run a command; a text that cannot be sent now stays in the prompt.

        `shown` has its pastes as chips, so that a paste at the beginning is no command.
        """
        if (typed := read_command(shown)) is not None:
            self._view.run(self._run(typed, shown), "slash", "command")
        elif refusal := self._answers.refusal():
            self._view.status.say(f"{refusal} Your text stays here.", refusal=self._answers.refusal)
        else:
            text = self._take(shown)
            self._answers.ask(plain_message(text) if shown.startswith("/") else text)

    async def _run(self, typed: CommandLine, shown: str) -> None:
        self._command = shown
        try:
            await self._run_command(replace(typed, rest=self._prompt.pastes.expand(typed.rest)))
        except WorkbenchError as error:
            self._view.status.say(str(error), 8.0)
        else:
            self._take(shown)
        finally:
            self._command = ""

    def type(self, text: str) -> None:
        self._prompt.show_text(text)
        self._prompt.focus()

    # Completion

    def changed(self) -> None:
        """Complete the changed text, and keep it soon."""
        self._draft_timer.resume()
        self._suggest()
        chips = self._prompt.pastes.chips(self._prompt.text)
        if len(chips) > self._chips:
            self._view.run(self._weigh(), "weigh", "count the tokens of a paste", exclusive=True)
        self._chips = len(chips)

    async def _weigh(self) -> None:
        """Say how many tokens the prompt with its pastes has, against the room that is left in the context."""
        engine, text = self._view.workspace.engine, self._prompt.full_text
        if engine is None:
            return
        try:
            count = len(await engine.tokens(Request(messages=(Message("user", text),))))
            tokens = f"{count:,}"
        except WorkbenchError:
            count = len(text) // CHARACTERS_PER_TOKEN
            tokens = f"about {count:,}"
        used, size, _ = self._view.workspace.readings().context
        if size is None:
            self._view.status.say(f"With the paste the prompt has {tokens} tokens.", 8.0)
            return
        left = max(0, size - (used or 0))
        more = f": too long; {self._view.key_for('app.settings')} gives a longer context" if count > left else ""
        self._view.status.say(f"With the paste {tokens} tokens, of {left:,} that are left in the context{more}.", 8.0)

    def _suggest(self) -> None:
        text = self._prompt.text
        if text.startswith("/load ") and not self._model_names:
            self._view.run(self._learn_names(), "names", "list models")
        found = self._candidates(text)
        if found or self._view.suggestions.display:
            self._view.suggestions.show(found)

    def _candidates(self, text: str) -> Sequence[Candidate]:
        return candidates(text, self._model_names)

    async def _learn_names(self) -> None:
        with suppress(WorkbenchError):
            models = await self._view.services.catalog.models()
            self._model_names = [model.ref for model in models if not model.problem]
            self._suggest()
