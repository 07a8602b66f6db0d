"""The port to the place where the runs of an experiment are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

RecordT = TypeVar("RecordT")


class RunBook(Protocol[RecordT]):
    """Keeps runs of one kind."""

    def new_id(self) -> str:
        """An id that no other run has."""

    async def keep(self, record: RecordT) -> None:
        """Keep a run, in the place of an earlier state of it.

        Raises:
            WorkbenchError: It cannot be written.
        """

    async def kept(self) -> Sequence[RecordT]:
        """All runs that can be read, the newest first."""
