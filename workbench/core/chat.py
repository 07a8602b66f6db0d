"""The values of a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    reasoning: str = ""
    """The reasoning before the answer; shown separately, and passed to the template as `reasoning_content`."""
