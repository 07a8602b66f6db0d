"""Tools that a model may call, and calls of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool."""

    name: str
    arguments: str
    """The text of a JSON object."""
    id: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """The arguments; none where they are no JSON object."""
        return _object(self.arguments)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call."""

    name: str
    description: str = ""
    parameters: str = "{}"
    """The text of the JSON schema of its arguments."""

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of its arguments; empty where it is no JSON object."""
        return _object(self.parameters)

    @property
    def document(self) -> dict[str, Any]:
        """The tool as OpenAI's API and chat templates have it."""
        # Templates look for the properties, also of a function without arguments.
        parameters = {"type": "object", "properties": {}, "required": [], **self.schema}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


def calls_schema(tools: Sequence[Tool]) -> str:
    """The JSON schema of a call of one of the tools, without a markup."""
    forms = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": tool.schema or {"type": "object"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return json.dumps(forms[0] if len(forms) == 1 else {"anyOf": forms})


def no_constant(word: str) -> float:
    """Refuse a constant that JSON does not have, such as NaN."""
    raise ValueError(f"JSON has no {word}")


def value_of(text: str, *, is_text: bool) -> object:
    """The JSON value of a text; the text itself where it `is_text` or no JSON."""
    if is_text:
        return text
    try:
        return json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return text


def _object(text: str) -> dict[str, Any]:
    found = value_of(text, is_text=False)
    return found if isinstance(found, dict) else {}
