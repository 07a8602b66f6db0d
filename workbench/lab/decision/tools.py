"""What a decision needs from other rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from workbench.lab.bench.job import BenchTools
from workbench.lab.decision.record import DecisionRecord
from workbench.lab.evals.tools import EvalTools
from workbench.lab.quality.keeping import QualityTools


class DecisionBook(Protocol):
    """Keeps decisions."""

    def new_id(self) -> str:
        """An id that no other decision has."""

    async def keep(self, record: DecisionRecord) -> None:
        """Keep a decision, in the place of an earlier state of it.

        Raises:
            WorkbenchError: It cannot be written.
        """

    async def kept(self) -> Sequence[DecisionRecord]:
        """All decisions that can be read, the newest first."""


class DecisionTools(BenchTools, EvalTools, QualityTools, Protocol):
    """The kept results, and what measures more."""

    @property
    def decision_runs(self) -> DecisionBook:
        """The kept decisions."""
