"""The port of the kept races. It imports no race: the program makes what keeps them before its first paint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workbench.lab.race.kept import KeptRace


class RaceBook(Protocol):
    """Keeps races."""

    def new_id(self) -> str:
        """An id that no other race has."""

    async def keep(self, race: str, document: Mapping[str, object]) -> None:
        """Keep a race, in the place of an earlier state of it.

        Raises:
            WorkbenchError: It cannot be written.
        """

    async def kept(self) -> Sequence[KeptRace]:
        """All races that can be read, the newest first."""
