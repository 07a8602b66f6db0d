"""What a decision needs from other rooms."""

from __future__ import annotations

from typing import Protocol

from workbench.lab.bench.job import BenchTools
from workbench.lab.decision.record import DecisionRecord
from workbench.lab.evals.tools import EvalTools
from workbench.lab.quality.keeping import QualityTools
from workbench.lab.run_book import RunBook


class DecisionTools(BenchTools, EvalTools, QualityTools, Protocol):
    """The kept results, and what measures more."""

    @property
    def decision_runs(self) -> RunBook[DecisionRecord]:
        """The kept decisions."""
