"""Values that nobody may read by accident."""

from __future__ import annotations

from typing import NoReturn

MASK = "•••"


class Secret:
    """A key. It shows itself nowhere: not in a repr, a log line, an error or a pickle.

    Args:
        value: What is kept.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """What is kept; for the header of a request, and for nothing else."""
        return self._value

    def masked_in(self, text: str) -> str:
        """`text` without what is kept."""
        return text.replace(self._value, MASK) if self._value else text

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key is not written anywhere.")


def is_key(text: str) -> bool:
    """Whether a text can be sent as a key."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
