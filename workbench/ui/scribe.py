"""Writes the session down. A disk that fails is reported once, and the conversation goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from workbench.core.chat import Message
from workbench.core.errors import SessionError
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import ModelEntry
from workbench.core.ports import Journal, SessionStore
from workbench.core.session import Session
from workbench.ui.conversation import Conversation


class Scribe:
    """Keeps the journal of the conversation on the screen.

    Args:
        store: Where sessions are stored.
        on_error: Told of a failure: once when it begins, and again only after something could be written.
    """

    def __init__(self, store: SessionStore, on_error: Callable[[SessionError], None]) -> None:
        self._store = store
        self._on_error = on_error
        self._journal: Journal | None = None
        self._model: ModelEntry | None = None
        self._failing = False

    @property
    def session_id(self) -> str:
        """The id of the session; empty before its first message."""
        return self._journal.id if self._journal else ""

    async def _try(self, work: Awaitable[None]) -> None:
        try:
            await work
        except SessionError as error:
            if not self._failing:
                self._failing = True
                self._on_error(error)
        else:
            self._failing = False

    async def model(self, entry: ModelEntry) -> None:
        """The model that answers from here on."""
        self._model = entry
        if self._journal:
            await self._try(self._journal.model(entry))

    async def settings(self, conversation: Conversation) -> None:
        """The settings that hold from here on."""
        if self._journal:
            await self._try(self._journal.settings(conversation.system, conversation.sampling, conversation.load))

    async def message(self, conversation: Conversation, message: Message) -> None:
        """What the user wrote; it is on disk when this returns."""
        if self._journal is None:
            await self._try(self._begin(conversation, message))
        if self._journal is not None:
            await self._try(self._journal.message(message))

    async def _begin(self, conversation: Conversation, first: Message) -> None:
        self._journal = await self._store.create()
        await self.settings(conversation)
        if self._model is not None:
            await self._journal.model(self._model)
        for turn in conversation.turns:
            # What a Modelfile has put before the first message is stored together with it.
            if turn.message is first:
                break
            if turn.message.role == "assistant":
                await self._journal.answer(turn.message, turn.model, AnswerMetrics(), turn.finish_reason)
            else:
                await self._journal.message(turn.message)

    async def partial(self, message: Message, model: str) -> None:
        """How far an answer has come."""
        if self._journal:
            await self._try(self._journal.partial(message, model))

    async def answer(self, message: Message, model: str, metrics: AnswerMetrics, reason: str) -> None:
        """A finished answer."""
        if self._journal:
            await self._try(self._journal.answer(message, model, metrics, reason))

    async def resume(self, session_id: str) -> Session:
        """Go on with a stored session instead.

        Raises:
            SessionError: It cannot be had; the running session stays as it is.
        """
        session, journal = await self._store.resume(session_id)
        await self.close()
        self._journal = journal
        return session

    async def close(self) -> None:
        """The session ended well."""
        if self._journal:
            await self._try(self._journal.close())
            self._journal = None
