"""What cache types cost in quality, from the kept measurements of a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workbench.core.models import ModelEntry
from workbench.lab.quality.record import QualityRecord


def cache_prices(records: Sequence[QualityRecord], model: ModelEntry, kinds: Iterable[str]) -> dict[str, str]:
    """For each cache type, what K and V of it cost this file, in words; `records` are the newest first."""
    found = {}
    for kind in kinds:
        known = next((price for record in records if (price := _price(record, model, kind))), "")
        found[kind] = known or f"its price is not known: `workbench quality {model.ref} ,type_k={kind},type_v={kind}`"
    return found


def _price(record: QualityRecord, model: ModelEntry, kind: str) -> str:
    if record.reference.path != model.path:
        return ""
    for candidate, figures in zip(record.candidates, record.figures, strict=True):
        settings = candidate.model.settings
        if candidate.model.path == model.path and (settings.type_k, settings.type_v) == (kind, kind):
            return f"its price: a mean divergence of {figures.mean_kld:.4f} nats on {record.text}"
    return ""
