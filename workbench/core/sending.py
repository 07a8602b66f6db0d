"""Handing a model over to a server: how far that is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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
