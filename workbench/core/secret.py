"""Values that must not be shown or stored by accident."""

from __future__ import annotations

from typing import NoReturn

MASK = "•••"


class Secret:
    """An API key that appears in no repr, log line, error or pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key; only for the header of a request."""
        return self._value

    def masked_in(self, text: str) -> str:
        """`text` with the key masked."""
        return text.replace(self._value, MASK) if self._value else text

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key cannot be pickled.")


def is_key(text: str) -> bool:
    """Whether a text can be sent as an API key."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
