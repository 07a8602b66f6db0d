"""Responses of servers, and the JSON in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response that was read whole."""

    status: int
    headers: Mapping[str, str]
    """By case-insensitive names."""
    text: str
    body: object
    """The text parsed as JSON; None where it is none."""

    def field(self, name: str) -> object:
        """A field of the body; None where the status is not 200 or the field is missing."""
        return fields(self.body).get(name) if self.status == 200 else None

    def objects(self, name: str) -> list[dict[str, Any]]:
        """The objects in a list field of the body; empty where it has none."""
        return objects(self.field(name))


class ErrorStatus(Exception):
    """The status of a request for a stream is an error."""

    def __init__(self, path: str, answer: HttpResponse) -> None:
        super().__init__(path, answer.status)
        self.path = path
        self.answer = answer


def objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list; empty for any other value."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def fields(value: object) -> dict[str, Any]:
    """A JSON object; an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def word(value: object) -> str | None:
    """A text that is not empty; None for any other value."""
    return value if isinstance(value, str) and value else None


def parsed(text: str) -> object:
    """A text parsed as JSON; None where it is none."""
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found
