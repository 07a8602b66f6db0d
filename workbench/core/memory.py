"""The memory of a model by buffer: what a load took beside its estimate, and the correction that follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Purpose = Literal["weights", "KV", "states", "compute"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
"""What a buffer is for: weights with copies and adapters, keys and values, recurrent states, the graph and logits."""

Correction: TypeAlias = Mapping[Purpose, float]
"""The factors of an estimate by purpose; 1 where there is none."""

NOTICEABLE_BYTES = 2**16
"""The least difference that is corrected: llama.cpp logs sizes in hundredths of a MiB."""
LARGEST_FACTOR = 4.0
"""A load that took more than this, or less than its inverse, was not the one that was estimated."""


@dataclass(frozen=True, slots=True)
class MemoryBuffer:
    """Memory for one purpose on one device."""

    device: str
    """llama.cpp's name of it; `CPU` is the memory of the host."""
    purpose: Purpose
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BufferComparison:
    """What a buffer took, beside its estimate."""

    device: str
    purpose: Purpose
    estimated: int
    taken: int

    @property
    def error(self) -> float | None:
        """The relative error of the estimate, positive where it was too high; None where nothing was taken."""
        return self.estimated / self.taken - 1 if self.taken else None


def compare_buffers(estimated: Iterable[MemoryBuffer], taken: Iterable[MemoryBuffer]) -> tuple[BufferComparison, ...]:
    """All buffers of an estimate or a load, by device and purpose; none where either is unknown."""
    before, after = (_sizes(buffers) for buffers in (estimated, taken))
    if not before or not after:
        return ()
    order = sorted(before.keys() | after.keys(), key=lambda key: (key[0] != "CPU", key[0], PURPOSES.index(key[1])))
    return tuple(BufferComparison(*key, before[key], after[key]) for key in order)


def _sizes(buffers: Iterable[MemoryBuffer]) -> Counter[tuple[str, Purpose]]:
    sizes = Counter[tuple[str, Purpose]]()
    for buffer in buffers:
        sizes[buffer.device, buffer.purpose] += buffer.size_bytes
    return sizes


def correction_of(compared: Iterable[BufferComparison]) -> Correction:
    """The factors with which an estimate would have been what a load took."""
    estimated, taken = Counter[Purpose](), Counter[Purpose]()
    for each in compared:
        estimated[each.purpose] += each.estimated
        taken[each.purpose] += each.taken
    factors = {each: taken[each] / estimated[each] for each in PURPOSES if estimated[each]}
    return {
        purpose: factor
        for purpose, factor in factors.items()
        if abs(taken[purpose] - estimated[purpose]) >= NOTICEABLE_BYTES
        and 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR
    }
