"""A stored conversation."""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.core.chat import Message
from workbench.core.metrics import AnswerMetrics
from workbench.core.parameters import LoadSettings, Sampling

TITLE_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a session, and how it came about."""

    message: Message
    at: float
    """When it was complete, in seconds since the epoch."""
    model: str = ""
    """The reference of the model that wrote it; empty for what the user wrote."""
    metrics: AnswerMetrics | None = None
    finish_reason: str = ""
    """Why an answer ended; `interrupted` where the program died while it streamed."""


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
    turns: tuple[Turn, ...] = ()

    @property
    def title(self) -> str:
        """The first words of the first message."""
        for turn in self.turns:
            if turn.message.role == "user":
                words = " ".join(turn.message.content.split())
                return words if len(words) <= TITLE_LENGTH else f"{words[: TITLE_LENGTH - 1].rstrip()}…"
        return "empty session"

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation as an engine takes it: the system prompt first, where there is one."""
        opening = (Message("system", self.system),) if self.system else ()
        return opening + tuple(turn.message for turn in self.turns)
