"""Handing a model over to a server: how far that is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from workbench.core.cancel import CancelToken
from workbench.core.session import Session

SendPhase = Literal["looking", "reading", "sending", "making", "asking"]
"""Who is there; the digest of a file; its bytes; the model out of them; one question to it."""


@dataclass(frozen=True, slots=True)
class SendProgress:
    """How far it is."""

    phase: SendPhase
    what: str
    """The file or the model that is worked at, or what the server says that it does."""
    fraction: float | None = None
    """Of this phase, from 0 to 1; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A model that a server has made."""

    url: str
    model: str
    """What the server calls it."""
    sent_bytes: int
    """What had to be sent; 0 where the server had it all."""
    answer: str
    """What the model said when it was asked something."""

    @property
    def ref(self) -> str:
        """The reference by which it is opened."""
        return f"{self.url}#{self.model}"


OnSend = Callable[[SendProgress], None]
"""Called in any thread."""


class ModelSender(Protocol):
    """Has Ollama make the model that a session's Modelfile describes."""

    @property
    def usual_server(self) -> str:
        """Where Ollama is unless somebody says otherwise."""

    async def send(
        self,
        session: Session,
        name: str,
        url: str,
        on_progress: OnSend,
        cancel: CancelToken,
        *,
        overwrite: bool = False,
    ) -> Sent:
        """Make the model `name` at `url`, and ask it something.

        Args:
            session: What the Modelfile is written of.
            name: What the model is to be called.
            url: Where Ollama is.
            on_progress: Told how far it is, in any thread.
            cancel: Ends it.
            overwrite: Whether a model of this name may be replaced.

        Raises:
            TargetError: There is a model of this name.
            WorkbenchError: It cannot be made, or does not answer; CancelledError when `cancel` was set.
        """
