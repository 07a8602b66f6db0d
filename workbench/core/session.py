"""A stored conversation."""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.core.chat import Message
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.recipe import GIVEN
from workbench.core.tree import Tree, Turn

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
