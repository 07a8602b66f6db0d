"""Stored conversations, and the ports that store them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from workbench.core.chat import Message
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.recipe import GIVEN
from workbench.core.tree import Node, Tree, Turn, View

TITLE_LENGTH = 60
LATEST_TIME = 253402300799
"""The end of the year 9999, after which no calendar function of Python works, in seconds since the epoch."""


def first_words(text: str) -> str:
    """The beginning of a text as a title."""
    words = " ".join(text[: 20 * TITLE_LENGTH].split())
    return words if len(words) <= TITLE_LENGTH else f"{words[: TITLE_LENGTH - 1].rstrip()}…"


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation with its settings."""

    id: str
    created_at: float
    """Seconds since the epoch."""
    updated_at: float
    model: str = ""
    """The reference of the last model; empty before the first one is opened."""
    model_path: str = ""
    """The file of the last model; empty for none."""
    system: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    load: LoadSettings = field(default_factory=LoadSettings)
    tree: Tree = field(default_factory=Tree)
    name: str = ""
    """The name that the user gave it; empty for none."""
    pinned: bool = False

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The conversation: the messages of the current branch."""
        return self.tree.turns

    @property
    def title(self) -> str:
        """Its name, or the first words of the first message that is not from a Modelfile."""
        if self.name:
            return self.name
        for turn in self.turns:
            if turn.message.role == "user" and turn.finish_reason != GIVEN:
                return first_words(turn.message.content)
        return "empty session"

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation for an engine: the system prompt first, if there is one."""
        opening = (Message("system", self.system),) if self.system else ()
        return opening + tuple(turn.message for turn in self.turns)


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """The row of a session in a list."""

    id: str
    title: str
    model: str
    """The reference of the last model."""
    messages: int
    """Messages in all branches."""
    updated_at: float
    """Seconds since the epoch."""
    metrics: AnswerMetrics | None = None
    """The metrics of the last answer that has some."""
    pinned: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class SessionHit:
    """A session that matches a search."""

    session: SessionSummary
    snippet: str = ""
    """An excerpt of the newest message that matches."""
    marks: tuple[tuple[int, int], ...] = ()
    """The matches in the snippet: the first character, and the one after the last."""
    message: int = 0
    """The number of that message; 0 for a match in the title."""


ExportFormat = Literal["modelfile", "md", "json", "sh", "ini"]


class Journal(Protocol):
    """The record of one running session. When a method returns, its data is on disk."""

    @property
    def id(self) -> str:
        """The id of the session; of a new one it may change until its first message is on disk."""

    async def settings(self, system: str, sampling: Sampling, load: LoadSettings) -> None:
        """Record the settings from here on."""

    async def model(self, entry: ModelEntry) -> None:
        """Record the model from here on."""

    async def message(self, node: Node) -> None:
        """Record a complete message, of the user or the model. It becomes the end of the conversation."""

    async def partial(self, node: Node) -> None:
        """Record an answer in progress; `message` replaces it by the whole answer."""

    async def view(self, view: View) -> None:
        """Record which messages form the conversation from here on, and which are deleted."""

    async def close(self) -> None:
        """Record that the session ended well."""


class SessionStore(Protocol):
    """The stored sessions.

    Every method but `create` and `digest` raises SessionError: if the database cannot be read or written, if no session
    has the id `session_id`, and for `resume`, `dismiss` and `delete` if a program has the session open.
    """

    async def create(self) -> Journal:
        """Begin a new session. Nothing is stored before its first message."""

    async def resume(self, session_id: str) -> tuple[Session, Journal]:
        """Continue a stored session; `session_id` may be the beginning of an id, or `last`."""

    async def open_session(self, session_id: str) -> Session:
        """Read a stored session, also while a program has it open; `session_id` as in `resume`."""

    async def interrupted(self) -> Sequence[Session]:
        """Sessions whose program died, newest first."""

    async def dismiss(self, session_id: str) -> None:
        """Mark an interrupted session as ended. It stays stored."""

    async def summaries(self, *, figures: bool = True) -> Sequence[SessionSummary]:
        """All stored sessions: the pinned ones, then the others, each by their last change, newest first.

        `figures` are the metrics of the last answer; reading them takes longer than everything else.
        """

    async def search(self, words: str) -> Sequence[SessionHit]:
        """The sessions with all of `words` in one message or in their name, newest message first."""

    async def rename(self, session_id: str, name: str) -> None:
        """Rename a session; an empty name restores its first words."""

    async def pin(self, session_id: str, pinned: bool) -> None:
        """Pin or unpin a session."""

    async def delete(self, session_id: str) -> None:
        """Delete a session; for 30 days `restore` brings it back."""

    async def restore(self, session_id: str) -> None:
        """Restore a deleted session."""

    async def digest(self, model: ModelEntry) -> str:
        """The digest of a model's file; empty where it has none that can be read."""

    async def export(self, session: Session, form: ExportFormat, path: Path, base: str = "") -> Path:
        """Write a session to the file or folder `path`, under a free name; returns the path written.

        `base` is the FROM of a Modelfile; empty for the file of the model.

        Raises:
            WorkbenchError: The path cannot be written, or the format cannot hold a value; nothing is written.
        """


async def last_sessions(store: SessionStore, count: int, but: str = "") -> list[Session]:
    """The sessions that were changed last, the newest first, `but` one. Raises SessionError."""
    summaries = sorted(await store.summaries(figures=False), key=lambda each: -each.updated_at)
    ids = [each.id for each in summaries if each.id != but]
    return [await store.open_session(each) for each in ids[:count]]
