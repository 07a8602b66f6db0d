"""Keeps results in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.core.errors import WorkbenchError
from workbench.core.models import ModelEntry


class FakeRuns:
    """Kept results."""

    def __init__(self, records: Sequence[Any] = ()) -> None:
        self.records = list(records)
        self.error: WorkbenchError | None = None

    def new_id(self) -> str:
        return f"261121-1200{len(self.records) + 1:02}-abcd"

    async def keep(self, record: Any) -> None:
        if self.error is not None:
            raise self.error
        self.records = [record, *(each for each in self.records if each.id != record.id)]

    async def kept(self) -> Sequence[Any]:
        return self.records


class FakeEvalTools:
    """What evaluations and blind tests need; `digest_text` is the digest of every file, its name where it is empty."""

    def __init__(self, digest_text: str = "") -> None:
        self.eval_runs = FakeRuns()
        self.blind_runs = FakeRuns()
        self._digest = digest_text

    async def digest(self, model: ModelEntry) -> str:
        return self._digest or f"sha256:{model.ref}"

    def build_text(self, *, local: bool) -> str:
        return f"workbench, local {local}"
