"""A stored conversation."""

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
    """The reference of the last model; empty before the first one was opened."""
    model_path: str = ""
    """The file of the last model; empty where it has none."""
    system: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    load: LoadSettings = field(default_factory=LoadSettings)
    tree: Tree = field(default_factory=Tree)
    name: str = ""
    """What the user called it; empty where nobody has named it."""
    pinned: bool = False
    """Whether it stands above the others in a list."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The conversation: the messages of the branch that is open."""
        return self.tree.turns

    @property
    def title(self) -> str:
        """Its name, or else the first words of the first message that no Modelfile has given."""
        if self.name:
            return self.name
        for turn in self.turns:
            if turn.message.role == "user" and turn.finish_reason != GIVEN:
                return first_words(turn.message.content)
        return "empty session"

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation as an engine takes it: the system prompt first, where there is one."""
        opening = (Message("system", self.system),) if self.system else ()
        return opening + tuple(turn.message for turn in self.turns)


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """What a list of sessions shows of one."""

    id: str
    title: str
    model: str
    """The reference of the last model."""
    messages: int
    """Messages in all branches."""
    updated_at: float
    """Seconds since the epoch."""
    metrics: AnswerMetrics | None = None
    """The figures of the last answer that has some."""
    pinned: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class SessionHit:
    """A session in which words were found."""

    session: SessionSummary
    snippet: str = ""
    """Where they stand in the newest message that has them."""
    marks: tuple[tuple[int, int], ...] = ()
    """Where the words are in the snippet: first character, and the one after the last."""
    message: int = 0
    """The number of that message; 0 where they are in the title."""


ExportFormat = Literal["modelfile", "md", "json", "sh"]


class Journal(Protocol):
    """The record of one running session. When a method returns, its words are on disk."""

    @property
    def id(self) -> str:
        """The id of the session; of a new one it may change until its first message is on disk."""

    async def settings(self, system: str, sampling: Sampling, load: LoadSettings) -> None:
        """Record the settings that hold from here on."""

    async def model(self, entry: ModelEntry) -> None:
        """Record the model that answers from here on."""

    async def message(self, node: Node) -> None:
        """Record a message that is complete: what the user wrote, or a finished answer. It ends the conversation."""

    async def partial(self, node: Node) -> None:
        """Record how far an answer has come; `message` puts the whole of it in its place."""

    async def view(self, view: View) -> None:
        """Record which messages are the conversation from here on, and which are deleted."""

    async def close(self) -> None:
        """Record that the session ended well."""


class SessionStore(Protocol):
    """The stored sessions."""

    async def create(self) -> Journal:
        """Begin a new session. Nothing is stored before its first message."""

    async def resume(self, session_id: str) -> tuple[Session, Journal]:
        """Go on with a stored session.

        Raises:
            SessionError: It is not there, cannot be read, or a program has it open.
        """

    async def open_session(self, session_id: str) -> Session:
        """Read a stored session, also while a program has it open.

        Raises:
            SessionError: There is none, or it cannot be read.
        """

    async def interrupted(self) -> Sequence[Session]:
        """Sessions whose program died, newest first.

        Raises:
            SessionError: They cannot be read.
        """

    async def dismiss(self, session_id: str) -> None:
        """Do not offer an interrupted session again. It stays stored.

        Raises:
            SessionError: It is not there, cannot be written, or a program has it open.
        """

    async def summaries(self, *, figures: bool = True) -> Sequence[SessionSummary]:
        """All stored sessions: the pinned ones, then the others, the one changed last first.

        Args:
            figures: Whether the figures of the last answer are wanted.

        Raises:
            SessionError: They cannot be read.
        """

    async def search(self, words: str) -> Sequence[SessionHit]:
        """The sessions with all of `words` in one message or in their name, the newest message first.

        Raises:
            SessionError: They cannot be read.
        """

    async def rename(self, session_id: str, name: str) -> None:
        """Call a session by another name; an empty one is the first words of it again.

        Raises:
            SessionError: It is not there, or cannot be written.
        """

    async def pin(self, session_id: str, pinned: bool) -> None:
        """Let a session stand above the others in a list, or no more.

        Raises:
            SessionError: It is not there, or cannot be written.
        """

    async def delete(self, session_id: str) -> None:
        """Take a session out of every list. For a while `restore` has it back.

        Raises:
            SessionError: It is not there, cannot be written, or a program has it open.
        """

    async def restore(self, session_id: str) -> None:
        """Take back that a session was deleted.

        Raises:
            SessionError: It is not there any more, or cannot be written.
        """

    async def digest(self, model: ModelEntry) -> str:
        """What tells the file of a model from others; empty where that is not known."""

    async def export(self, session: Session, form: ExportFormat, path: Path, base: str = "") -> Path:
        """Write a session to `path`, or to a numbered name beside it where that is taken; gives the path written.

        Args:
            session: What to write.
            form: How to write it.
            path: Where to.
            base: What FROM names in a Modelfile; empty for the file of the model.

        Raises:
            WorkbenchError: The path cannot be written, or a value cannot be held by the format; nothing is written.
        """
