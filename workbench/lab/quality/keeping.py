"""What measurements and lenses need from other rooms, and the parts of the record that both keep."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import numpy as np

from workbench.core.bench import Bencher
from workbench.core.engine import MemoryAdviser
from workbench.core.models import ModelEntry
from workbench.lab.bench.bench import utc_now
from workbench.lab.quality.figures import TokenFigures
from workbench.lab.quality.logits import LogitHost, LogitModel, ModelSpec
from workbench.lab.quality.plan import text_digest
from workbench.lab.quality.positions import Alternatives
from workbench.lab.quality.record import PackedTokens, QualityModel, QualityRecord
from workbench.lab.run_book import RunBook


class QualityTools(Protocol):
    """Everything that a measurement needs."""

    @property
    def logits(self) -> LogitHost:
        """Opens models for their logits."""

    @property
    def adviser(self) -> MemoryAdviser:
        """Estimates which models fit in memory together."""

    @property
    def bencher(self) -> Bencher:
        """Describes the machine."""

    @property
    def quality_runs(self) -> RunBook[QualityRecord]:
        """The kept measurements."""

    def digest(self, model: ModelEntry) -> Awaitable[str]:
        """The digest of a model's file; empty where it has none that can be read."""


async def new_record(tools: QualityTools, name: str, text: str, reference: ModelSpec, n_ctx: int) -> QualityRecord:
    """A record without any figure."""
    return QualityRecord(
        id=tools.quality_runs.new_id(),
        at=utc_now(),
        command=(),
        machine=await tools.bencher.machine(),
        text=name,
        text_sha256=text_digest(text),
        tokens=0,
        n_ctx=n_ctx,
        depth=0,
        planned_chunks=0,
        reference=QualityModel("", reference.ref, "", 0, "", reference.settings, ""),
        reference_tokens=PackedTokens("", ""),
    )


async def measured_model(tools: QualityTools, spec: ModelSpec, model: LogitModel) -> QualityModel:
    """A model as it is kept, with the digest of its file."""
    entry = model.entry
    adapter = str(entry.adapter_path or "")
    adapter_digest = await tools.digest(ModelEntry(adapter, adapter, path=adapter)) if adapter else ""
    return QualityModel(
        label=f"{entry.label} {spec.note}".rstrip(),
        ref=spec.ref,
        path=entry.path or "",
        file_bytes=entry.size_bytes or 0,
        digest=await tools.digest(entry),
        settings=model.settings,
        backend=model.backend,
        quant=entry.quant,
        adapter=adapter,
        adapter_digest=adapter_digest,
    )


def token_figures(found: Alternatives) -> TokenFigures:
    """The figures of a chunk that are kept."""
    return TokenFigures(found.nll.astype(np.float64), found.best)
