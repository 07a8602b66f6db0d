"""Models whose logits follow from the token before, from a seed; one may have noise on top, or give a NaN."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from workbench.core.errors import CancelledError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.lab.quality.logits import LogitModel

SIZE = 300


def table(noise: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    base = rng.normal(0, 2, (SIZE, SIZE))
    return (base + noise * np.random.default_rng(2).normal(0, 1, (SIZE, SIZE))).astype(np.float32)


@dataclass
class FakeHost:
    """References are `NOISE`, such as `0.5`; `nan` gives a NaN after token 7, and `other` has another vocabulary."""

    opened: list[list[str]] = field(default_factory=list)
    open_now: int = 0
    stop_after: int | None = None
    """Chunks after which the cancel token is set."""
    computed: int = 0

    async def open(self, specs, n_ctx, on_progress, cancel):
        self.opened.append([spec.ref for spec in specs])
        self.open_now += len(specs)
        on_progress(1.0)
        return FakeModels(self, [spec.ref for spec in specs])


class FakeModels:
    def __init__(self, host: FakeHost, refs: list[str]) -> None:
        self._host = host
        self._refs = refs
        entries = [ModelEntry(ref, "model", ref, f"/{ref}.gguf", 1000) for ref in refs]
        self.models = tuple(LogitModel(entry, LoadSettings(), "CPU") for entry in entries)
        self._tables = [table(0.0 if ref in ("nan", "other") else float(ref)) for ref in refs]

    async def tokenize(self, text):
        return tuple(text.encode())

    async def texts(self, tokens):
        return tuple(bytes([token % 256]) for token in tokens)

    async def vocabulary(self, model):
        names = [b"%d" % token for token in range(SIZE)]
        return (*names[:5], b"five", *names[6:]) if self._refs[model] == "other" else tuple(names)

    async def compute(self, chunk, reduce, cancel, on_position):
        tokens = chunk.tokens
        if self._host.stop_after is not None and self._host.computed >= self._host.stop_after:
            cancel.set()
        if cancel.is_set:
            raise CancelledError("stopped")
        for start in range(0, len(tokens), 10):
            wanted = list(range(max(chunk.first, start), min(start + 10, len(tokens) - 1)))
            if not wanted:
                continue
            rows = [logits[[tokens[at] for at in wanted]].copy() for logits in self._tables]
            for ref, each in zip(self._refs, rows, strict=True):
                if ref == "nan":
                    each[[tokens[at] == 7 for at in wanted], 3] = np.nan
            reduce(wanted[0], rows)
            on_position(wanted[-1])
        self._host.computed += 1

    async def close(self):
        self._host.open_now -= len(self._refs)
