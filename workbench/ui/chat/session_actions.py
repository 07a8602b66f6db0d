"""Beginning, resuming and choosing conversations."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from workbench.core.errors import SessionError
from workbench.core.models import ModelEntry
from workbench.ui.chat.answers import ChatAnswers
from workbench.ui.chat.model_loading import ModelLoader
from workbench.ui.chat.view import ChatView
from workbench.ui.chat.welcome import ResumeOffer
from workbench.ui.transcript.notice import Notice
from workbench.ui.workspace.conversation import Conversation
from workbench.ui.workspace.workspace import NOTHING


class SessionActions:
    """Replaces the current conversation by a new, a stored or an adopted one; a running answer is stopped."""

    def __init__(self, view: ChatView, answers: ChatAnswers, loader: ModelLoader) -> None:
        self._view = view
        self._workspace = view.workspace
        self._answers = answers
        self._loader = loader
        self._sessions = view.services.sessions
        self._offer: ResumeOffer | None = None

    def _run(self, work: Coroutine[Any, Any, None], description: str) -> None:
        async def reported() -> None:
            try:
                await work
            except SessionError as error:
                self._view.add_error(error)

        self._view.run(reported(), "session", description)

    def new(self) -> None:
        self._run(self._new(), "new chat")

    async def _new(self) -> None:
        await self._answers.stop()
        await self._workspace.new()
        await self._view.redraw()
        self._view.prompt.focus()

    def adopt(self, conversation: Conversation, model: ModelEntry) -> None:
        """Continue a conversation that was held elsewhere, with the model that answered there."""
        self._run(self._adopt(conversation, model), "continue a lane")

    async def _adopt(self, conversation: Conversation, model: ModelEntry) -> None:
        await self._answers.stop()
        await self._workspace.adopt(conversation, model)
        self._view.labels[model.ref] = model.label
        await self._view.redraw()
        self._loader.load(model.ref, model.label, NOTHING)
        self._view.prompt.focus()

    # Stored sessions

    def choose(self) -> None:
        from workbench.ui.sessions.dialog import SessionsDialog

        def renamed(name: str) -> None:
            self._workspace.conversation.name = name

        def chosen(session_id: str | None) -> None:
            if session_id is not None and session_id != self._workspace.recorder.session_id:
                self._run(self._resume(session_id), "open a session")

        dialog = SessionsDialog(self._sessions, self._workspace.recorder.session_id, renamed)
        self._view.app.push_screen(dialog, chosen)

    def begin(self, session_id: str | None) -> None:
        """Resume a session at the start of the program; without one, offer an interrupted one."""
        if session_id is not None:
            self._run(self._resume(session_id), "resume")
        else:
            self._run(self._offer_interrupted(), "look for interrupted sessions")

    async def _offer_interrupted(self) -> None:
        if sessions := await self._sessions.interrupted():
            self._offer = ResumeOffer(sessions[0], self._view.key_for)
            await self._view.add_above_status(self._offer)

    @property
    def offers(self) -> bool:
        """Whether an interrupted session is offered."""
        return self._offer is not None

    def answer_offer(self, *, resume: bool) -> bool:
        """Resume the offered session, or dismiss the offer. Returns whether there is one."""
        if self._offer is None:
            return False
        offer, self._offer = self._offer, None
        self._run(self._answer_offer(offer, resume=resume), "resume")
        return True

    async def _answer_offer(self, offer: ResumeOffer, *, resume: bool) -> None:
        self._view.prompt.focus()
        await offer.remove()
        if resume:
            await self._resume(offer.session.id)
        else:
            await self._sessions.dismiss(offer.session.id)

    async def _resume(self, session_id: str) -> None:
        await self._answers.stop()
        session = await self._workspace.resume(session_id)
        labels = self._view.labels
        labels |= {model.ref: model.label for model in await self._view.services.catalog.models()}
        await self._view.redraw()
        model = self._workspace.model
        if session.model and not self._workspace.slot.loading and (model is None or model.ref != session.model):
            self._loader.load(session.model, labels.get(session.model, session.model), NOTHING)
        go_on, again = self._view.key_for("turn.continue"), self._view.key_for("turn.regenerate")
        if session.turns and session.turns[-1].is_cut:
            hint = f"Select it: {go_on} continues it, {again} generates another one."
            self._view.add(Notice("The last answer was truncated.", hint, "warning"), "advice")
        elif session.turns and session.turns[-1].message.role == "user":
            hint = f"Select it: {again} generates one."
            self._view.add(Notice("The last question has no answer.", hint, "warning"), "advice")
