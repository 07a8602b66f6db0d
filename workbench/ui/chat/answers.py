"""Generating answers, and showing them as they stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from textual.worker import Worker, WorkerCancelled, WorkerFailed

from workbench.core.answer import Outcome
from workbench.core.engine import Engine
from workbench.core.tree import Node
from workbench.ui.chat.view import ChatView
from workbench.ui.transcript.answer import AnswerTurn
from workbench.ui.transcript.notice import Notice
from workbench.ui.workspace.pacing import Emit
from workbench.ui.workspace.workspace import Workspace

Ask = Callable[[Engine, Emit], Awaitable[Outcome]]
"""Requests an answer."""


class ChatAnswers:
    """Has one answer at a time generated.

    Args:
        view: Shows the answers.
        workspace: Holds the model and the conversation.
    """

    def __init__(self, view: ChatView, workspace: Workspace) -> None:
        self._view = view
        self._workspace = workspace
        self._running: Worker[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether an answer is being generated."""
        return self._running is not None and not self._running.is_finished

    def refusal(self) -> str:
        """Why no message can be sent now, as a sentence; empty where one can."""
        if self.is_running:
            return f"An answer is being written: {self._view.key_for('chat.stop')} stops it."
        if self._workspace.queued is not None:
            return "A message waits for the model already."
        if self._workspace.engine is None and not self._workspace.slot.loading:
            return f"No model is open: {self._view.key_for('chat.models')} chooses one."
        return ""

    def is_free(self) -> bool:
        """Whether the conversation can be changed now; shows why not."""
        if self.is_running:
            self._view.status.say(self.refusal())
        return not self.is_running

    def free_engine(self) -> Engine | None:
        """The model that can answer now; where none can, the reason is shown."""
        if not self.is_free():
            return None
        if self._workspace.slot.loading:
            self._view.status.say("The model is still being loaded.")
            return None
        if self._workspace.engine is None:
            self._view.status.say(self.refusal())
        return self._workspace.engine

    async def stop(self) -> None:
        """Stop the running answer, and wait for its end."""
        if self.is_running and self._running is not None:
            self._workspace.stop()
            with suppress(WorkerFailed, WorkerCancelled):
                await self._running.wait()

    async def wait(self, seconds: float) -> None:
        """Wait for the end of the running answer, but not longer than `seconds`."""
        if self.is_running and self._running is not None:
            with suppress(WorkerFailed, WorkerCancelled, TimeoutError):
                await asyncio.wait_for(self._running.wait(), seconds)

    def ask(self, text: str) -> None:
        """Send a message; while a model is being loaded, it waits for it."""
        if self._workspace.slot.loading:
            self._workspace.queued = text
            self._view.add_queued()
            self._view.status.show()
        else:
            self._view.add(self._view.transcript.user_turn(text))
            self._start(self._answer(text))

    def load_ended(self, engine: Engine | None) -> None:
        """Send the message that waited for the model; where the load failed, it is in the prompt again."""
        text, self._workspace.queued = self._workspace.queued, None
        if text is None:
            return
        if engine is not None:
            self._start(self._answer(text))
        else:
            self._view.remove_queued()
            self._give_back(text)

    def _start(self, answer: Coroutine[Any, Any, None]) -> None:
        self._running = self._view.run(answer, "answer", "answer")

    async def _answer(self, text: str) -> None:
        workspace, engine = self._workspace, self._workspace.engine
        if engine is not None:
            outcome = await self._stream(engine, lambda model, emit: workspace.answer(model, text, emit))
            if not outcome.message.content and not outcome.message.reasoning:
                self._give_back(text)

    def _give_back(self, text: str) -> None:
        """Put a question that was not answered into the prompt again, unless the user has typed another one."""
        if not self._view.prompt.text:
            self._view.prompt.put_message(text)

    def branch(self, ask: Ask, keep: int, question: str | None = None, beginning: Node | None = None) -> None:
        """Generate an answer in a branch of its own.

        Args:
            ask: Requests it.
            keep: The last message that the branches have in common.
            question: The question of the new branch, where it has its own.
            beginning: The truncated answer that is continued.
        """
        self._start(self._branch(ask, keep, question, beginning))
        self._view.prompt.focus()

    async def _branch(self, ask: Ask, keep: int, question: str | None, beginning: Node | None) -> None:
        engine, conversation = self._workspace.engine, self._workspace.conversation
        if engine is None:
            return
        await self._view.transcript.keep_to(keep)
        if question is not None:
            self._view.add(self._view.transcript.user_turn(question))
        count = len(conversation.tree.nodes)
        try:
            await self._stream(engine, ask, beginning)
        finally:
            if len(conversation.tree.nodes) == count:
                # The answer stayed empty, and the conversation was restored.
                await self._view.redraw()

    async def _stream(self, engine: Engine, ask: Ask, beginning: Node | None = None) -> Outcome:
        view, model = self._view, engine.info.model
        turn = AnswerTurn(show_thoughts=view.show_thoughts)
        if beginning is not None:
            turn.write(beginning.turn.message.content, beginning.turn.message.reasoning)
        view.add(turn)
        view.labels[model.ref] = model.label
        view.begin_work()
        view.transcript.follow(True)

        def draw(answer: str, thoughts: str) -> None:
            view.transcript.make_room(turn.write(answer, thoughts))
            view.look_if_due()

        try:
            outcome = await ask(engine, draw)
        except BaseException:
            turn.finish(model.label, None, "failed")
            raise
        finally:
            view.transcript.follow(False)
            view.end_work()
        turn.finish(model.label, outcome.metrics, outcome.reason)
        view.transcript.put_places(self._workspace.conversation.tree)
        view.update_swap(self._workspace.swaps.swap)
        if outcome.dropped:
            count = f"{outcome.dropped} of the oldest messages were left out"
            view.add(Notice(f"The context is full: {count}.", "A longer context length keeps them.", "warning"))
        if outcome.notice:
            view.add(Notice(outcome.notice, severity="warning"))
        if outcome.error is not None:
            view.add_error(outcome.error, "engine")
        return outcome
