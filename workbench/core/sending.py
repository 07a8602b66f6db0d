"""Send a model to Ollama: the progress, the result and the port."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from workbench.core.cancel import CancelToken
from workbench.core.session import Session

SendPhase = Literal["looking", "reading", "sending", "making", "asking"]
"""Detecting the server; hashing a file; uploading it; creating the model; asking it one question."""


@dataclass(frozen=True, slots=True)
class SendProgress:
    """The progress of one phase."""

    phase: SendPhase
    what: str
    """The file or the model, or the status that the server reports."""
    fraction: float | None = None
    """The share of this phase that is done, from 0 to 1; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A model that a server has created."""

    url: str
    model: str
    """Its name on the server."""
    sent_bytes: int
    """The bytes that were uploaded; 0 where the server had all files."""
    answer: str
    """The answer of the model to a test question."""

    @property
    def ref(self) -> str:
        """The reference by which it is opened."""
        return f"{self.url}#{self.model}"


@dataclass(frozen=True, slots=True)
class SendTarget:
    """Where a model is made."""

    name: str
    """Its name there."""
    url: str
    """The address of an Ollama server."""
    overwrite: bool = False
    """Whether it may replace a model of this name."""


OnSend = Callable[[SendProgress], None]
"""Called in any thread."""


class ModelSender(Protocol):
    """Creates the model that a session's Modelfile describes on an Ollama server."""

    @property
    def usual_server(self) -> str:
        """The default address of Ollama."""

    async def send(self, session: Session, target: SendTarget, on_progress: OnSend, cancel: CancelToken) -> Sent:
        """Create a model from the Modelfile of `session`, and ask it a question.

        Raises:
            TargetError: There is a model of this name, and it may not be replaced.
            WorkbenchError: It cannot be created, or does not answer; CancelledError when `cancel` was set.
        """
