"""Writes the conversation to its journal. A failing disk is reported once, and the conversation continues."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from workbench.core.errors import SessionError
from workbench.core.models import ModelEntry
from workbench.core.session import Journal, Session, SessionStore
from workbench.core.tree import Node, View
from workbench.ui.workspace.conversation import Conversation


class SessionRecorder:
    """Records the current conversation; `on_error` gets a failure only where the write before it succeeded."""

    def __init__(self, store: SessionStore, on_error: Callable[[SessionError], None]) -> None:
        self._store = store
        self._on_error = on_error
        self._journal: Journal | None = None
        self._model: ModelEntry | None = None
        self._failing = False
        self._last = 0
        """The number of the last message that was recorded."""

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
        self._model = entry
        if self._journal:
            await self._try(self._journal.model(entry))

    async def settings(self, conversation: Conversation) -> None:
        if self._journal:
            await self._try(self._journal.settings(conversation.system, conversation.sampling, conversation.load))

    async def record(self, conversation: Conversation) -> None:
        """Record all messages that are not recorded yet; they are on disk when this returns.

        The messages of a Modelfile are stored together with the first message of the user.
        """
        new = [node for node in conversation.tree.nodes if node.number > self._last]
        if new and self._journal is None:
            await self._try(self._begin(conversation))
        if self._journal is not None:
            for node in new:
                self._last = node.number
                await self._try(self._journal.message(node))
            if new and conversation.tree.view.deleted:
                await self._try(self._journal.view(conversation.tree.view))

    async def _begin(self, conversation: Conversation) -> None:
        self._journal = await self._store.create()
        await self.settings(conversation)
        if self._model is not None:
            await self._journal.model(self._model)

    async def partial(self, node: Node) -> None:
        if self._journal:
            await self._try(self._journal.partial(node))

    async def view(self, view: View) -> None:
        if self._journal:
            await self._try(self._journal.view(view))

    async def resume(self, session_id: str) -> Session:
        """Continue a stored session instead. Raises SessionError as `Workspace.resume`."""
        session, journal = await self._store.resume(session_id)
        await self.close()
        self._journal = journal
        self._last = session.tree.next_number - 1
        return session

    async def close(self) -> None:
        if self._journal:
            await self._try(self._journal.close())
            self._journal = None
        self._last = 0
