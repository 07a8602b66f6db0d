"""The number of prompt tokens that one step computes: as many as the time allows after which a cancellation is seen."""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST_CHUNK = 64
"""Prompt tokens that are worth a step of their own on a CPU."""

FIRST_CHUNK_OF_LARGE = 128
"""The first chunk of a model of `LARGE_BYTES` or more on a CPU, whose speed is not known yet."""

LARGE_BYTES = 700_000_000

GPU_CHUNK = 8
"""The first and the smallest chunk on a GPU, where a step cannot be aborted. The first steps compile code for it, and a
slow device or one that is shared may compute only a few tokens in a second."""


@dataclass(slots=True)
class PrefillPace:
    """The size of the next chunk of a prompt, by the time that the one before took."""

    n_batch: int
    """The largest chunk."""
    smallest: int
    tokens: int
    """The size of the next chunk."""

    def measure(self, computed: int, taken_ns: int, step_ns: int) -> None:
        """Take in that `computed` tokens took `taken_ns`, where a step should take `step_ns`."""
        if computed < min(self.tokens, self.smallest):
            # Too few tokens to tell the speed.
            return
        affordable = computed * step_ns // max(taken_ns, 1)
        self.tokens = max(self.smallest, min(self.n_batch, affordable // self.smallest * self.smallest))


def first_pace(n_batch: int, weights_bytes: int, *, on_gpu: bool) -> PrefillPace:
    """The pace of a model whose speed is not known yet."""
    smallest = min(GPU_CHUNK if on_gpu else SMALLEST_CHUNK, n_batch)
    first = smallest if on_gpu else FIRST_CHUNK_OF_LARGE if weights_bytes >= LARGE_BYTES else n_batch
    return PrefillPace(n_batch, smallest, min(first, n_batch))
