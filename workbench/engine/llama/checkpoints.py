"""Checkpoints of memory that cannot drop the end of its tokens: which are kept.

A checkpoint is a partial sequence state of llama.cpp: the states of recurrent layers and the caches of sliding windows
at one length of the sequence. The keys and values of layers with full attention stay in the context, so a checkpoint is
valid only as long as the context holds the tokens before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

NEWEST = 2
"""The latest checkpoints, which no other one displaces."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The partial state of a sequence."""

    length: int
    """The tokens of the sequence that it was taken after."""
    data: Any
    """A ctypes array of bytes."""

    @property
    def size_bytes(self) -> int:
        """Its memory."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class CheckpointLimits:
    """The bounds of checkpoints. 0 for either switches them off."""

    count: int = 32
    """Those of one context."""
    size_bytes: int = 2**30
    """The memory of those of all open models together."""


class CheckpointPool:
    """The checkpoints of all open models, which share the memory of `limits`.

    Where it is spent, one of the model goes that holds most.
    """

    def __init__(self, limits: CheckpointLimits) -> None:
        self.limits = limits
        self._members: list[Checkpoints] = []

    @property
    def size_bytes(self) -> int:
        """The memory of all."""
        return sum(each.size_bytes for each in self._members)

    def join(self, checkpoints: Checkpoints) -> None:
        """Count these from now on."""
        self._members.append(checkpoints)

    def leave(self, checkpoints: Checkpoints) -> None:
        """Count these no longer."""
        self._members = [each for each in self._members if each is not checkpoints]

    def shrink(self) -> None:
        """Drop what exceeds the memory."""
        while self.size_bytes > self.limits.size_bytes:
            max(self._members, key=lambda each: each.size_bytes).drop_one()


class Checkpoints:
    """The checkpoints of one context in the order of their lengths, within the limits of `pool`.

    Where there are too many, one goes that lies close to the one before and far from the end: the distances grow
    towards the beginning.
    """

    def __init__(self, pool: CheckpointPool) -> None:
        self._pool = pool
        self.limits = pool.limits
        self._kept: list[Checkpoint] = []
        pool.join(self)

    def close(self) -> None:
        """Drop all of them; the memory is for other models."""
        self._kept = []
        self._pool.leave(self)

    @property
    def all(self) -> tuple[Checkpoint, ...]:
        """All of them, the shortest first."""
        return tuple(self._kept)

    @property
    def size_bytes(self) -> int:
        """The memory of all."""
        return sum(each.size_bytes for each in self._kept)

    def wants(self, size_bytes: int) -> bool:
        """Whether a checkpoint of this size can be kept."""
        return self.limits.count > 0 and 0 < size_bytes <= self.limits.size_bytes

    def add(self, checkpoint: Checkpoint) -> None:
        """Keep one that `wants` takes; one of the same length is replaced."""
        self._kept = sorted(
            (checkpoint, *(each for each in self._kept if each.length != checkpoint.length)),
            key=lambda each: each.length,
        )
        while len(self._kept) > self.limits.count:
            self.drop_one()
        self._pool.shrink()

    def drop_one(self) -> None:
        """Drop the least useful one."""
        self._kept.pop(self._least_useful())

    def _least_useful(self) -> int:
        kept, end = self._kept, self._kept[-1].length

        def usefulness(index: int) -> float:
            before = kept[index - 1].length if index else 0
            return (kept[index + 1].length - before) / (end - kept[index].length + 1)

        return min(range(max(len(kept) - NEWEST, 0)), key=usefulness, default=0)

    def newest(self, length: int) -> Checkpoint | None:
        """The latest one of at most `length` tokens; None for none."""
        return next((each for each in reversed(self._kept) if each.length <= length), None)

    def cut(self, length: int) -> None:
        """Drop those of more than `length` tokens."""
        self._kept = [each for each in self._kept if each.length <= length]

    def replace(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Have these instead, as far as the limits allow."""
        self._kept = []
        for each in checkpoints:
            if self.wants(each.size_bytes):
                self.add(each)
