"""What evaluations and blind tests need from other rooms, beside the models."""

from __future__ import annotations

from typing import Protocol

from workbench.core.models import ModelEntry
from workbench.lab.evals.blind_record import BlindRecord
from workbench.lab.evals.record import EvalRecord
from workbench.lab.run_book import RunBook


class EvalTools(Protocol):
    """Keeps results, and says what they were made with."""

    @property
    def eval_runs(self) -> RunBook[EvalRecord]:
        """The kept evaluations."""

    @property
    def blind_runs(self) -> RunBook[BlindRecord]:
        """The kept blind tests."""

    async def digest(self, model: ModelEntry) -> str:
        """The digest of a model's file; empty where it has none."""

    def build_text(self, *, local: bool) -> str:
        """The versions of the program, and with `local` of llama.cpp. Takes a second: for a thread."""
