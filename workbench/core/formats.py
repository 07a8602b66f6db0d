"""The format that an answer has to have: the values of the parameter `format`, and the verdict on an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.core.user_path import expanded

FormatState = Literal["valid", "truncated", "invalid"]
"""`truncated`: the beginning of an answer that would be valid."""
FORMAT_WORDS = ("json", "off")
LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer has the format that was asked for."""

    state: FormatState
    problem: str = ""
    """What is wrong, and where; empty where it is valid."""

    @property
    def notice(self) -> str:
        """A note to the user; empty for a valid answer."""
        if self.state == "valid":
            return ""
        advice = " Continue the answer, or raise the limit and ask again." if self.state == "truncated" else ""
        return f"The answer does not have its format: {self.problem}.{advice}"


def format_value(text: str) -> str:
    """The value that a typed text means: a word, a JSON schema, or a path that no working folder changes later on."""
    word = text.casefold()
    if word in FORMAT_WORDS:
        return "" if word == "off" else word
    return text if not text or text.startswith("{") else str(expanded(text).absolute())


def language_of_format(value: str) -> str | None:
    """The language of an answer that has this format: JSON, or none for that of a grammar; None for no format."""
    if not value:
        return None
    return "json" if value == "json" or value.startswith("{") or value.casefold().endswith(".json") else ""


def shown_format(value: str) -> str:
    """A value as one short line."""
    line = " ".join(value.split())
    return (f"{line[:LONGEST_SHOWN]}…" if len(line) > LONGEST_SHOWN and line.startswith("{") else line) or "off"
