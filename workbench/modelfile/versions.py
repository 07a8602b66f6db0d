"""Versions of Ollama in REQUIRES: semantic versions, whose last parts may be left out."""

from __future__ import annotations

import re

FOLLOWED = "0.33.0"
"""The version of Ollama whose Modelfile parser is followed."""

_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_NUMBER = r"(?:0|[1-9][0-9]*)"
_VERSION = re.compile(
    rf"v?(?P<major>{_NUMBER})(?:\.(?P<minor>{_NUMBER})(?:\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<before>{_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?)?"
)


def is_version(text: str) -> bool:
    """Whether Ollama accepts `text` as a version; a leading `v` is allowed."""
    return _VERSION.fullmatch(text) is not None


def is_newer(text: str) -> bool:
    """Whether the version `text` is newer than the followed one; a pre-release of that is not."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return False
    # Compared by length first: a version may have more digits than Python converts to a number.
    asked = [(len(part), part) for part in (match["major"], match["minor"] or "0", match["patch"] or "0")]
    return asked > [(len(part), part) for part in FOLLOWED.split(".")]
