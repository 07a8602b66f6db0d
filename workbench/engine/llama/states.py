"""The KV caches of models that were closed and of branches that were left, kept so that neither costs prefill again."""

from __future__ import annotations

import ctypes
import mmap
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from workbench.engine.llama.checkpoints import Checkpoint
from workbench.engine.llama.prompt_change import Asked

MOST_BRANCHES = 32
"""Branches that are kept at most: each is compared with every prompt."""


def new_buffer(size: int) -> ctypes.Array[ctypes.c_uint8]:
    """`size` bytes that go back to the system with the last reference; OSError where there is no memory.

    On the heap, states of many sizes between the models that come and go would leave gaps.
    """
    return (ctypes.c_uint8 * size).from_buffer(mmap.mmap(-1, size, access=mmap.ACCESS_COPY))


@dataclass(frozen=True, slots=True)
class SequenceState:
    """The KV cache of one sequence, as llama.cpp serializes it."""

    tokens: tuple[int, ...]
    """The tokens whose keys and values it holds."""
    data: Any
    """A ctypes array of bytes."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """The checkpoints of these tokens."""
    asked: Asked | None = None
    """What the tokens were made of."""

    @property
    def size_bytes(self) -> int:
        """Its memory."""
        return len(self.data) + 8 * len(self.tokens) + sum(each.size_bytes for each in self.checkpoints)


KeptState: TypeAlias = tuple[Hashable, SequenceState, bool]
"""A state with the model that it belongs to, and whether it is of a branch."""


def common_prefix(first: Sequence[object], second: Sequence[object]) -> int:
    """The length of the common prefix of two sequences."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


class StateCache:
    """Sequence states by model, within a budget; 0 bytes keep none.

    A state is of a model that was closed, or of a branch that its conversation left. When the budget is spent, the
    least recently used branch is evicted first, and then the least recently used state.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._states: OrderedDict[tuple[Hashable, int], SequenceState] = OrderedDict()
        self._branches: set[tuple[Hashable, int]] = set()
        self._next = 0

    @property
    def size_bytes(self) -> int:
        """The memory of all states."""
        return sum(state.size_bytes for state in self._states.values())

    def wants(self, size_bytes: int, branch_of: Hashable | None = None) -> bool:
        """Whether a state of this size can be kept at all; one of a branch displaces no states of other models."""
        kept = 0
        if branch_of is not None:
            kept = sum(
                state.size_bytes
                for key, state in self._states.items()
                if key[0] != branch_of and key not in self._branches
            )
        return 0 < size_bytes <= self._budget_bytes - kept

    def make_room(self, model: Hashable, tokens: Sequence[int], size_bytes: int, *, branch: bool = False) -> None:
        """Give up what a state with these tokens replaces: those of `model` that it continues, and the oldest ones.

        Called before the state is copied, so that the old and the new ones together stay within the budget.
        """
        for key, other in list(self._states.items()):
            if key[0] == model and common_prefix(other.tokens, tokens) == len(other.tokens):
                self._remove(key)
        while self._states and self.size_bytes + size_bytes > self._budget_bytes:
            # The first of equals: the least recently used one.
            self._remove(min(self._states, key=lambda key: (key not in self._branches, branch and key[0] != model)))

    def put(self, model: Hashable, state: SequenceState, *, branch: bool = False) -> None:
        """Keep a state of `model`; one of the same model whose tokens it continues is replaced."""
        if not self.wants(state.size_bytes, model if branch else None):
            return
        self.make_room(model, state.tokens, state.size_bytes, branch=branch)
        self._next += 1
        key = model, self._next
        self._states[key] = state
        if branch:
            self._branches.add(key)
        while len(self._branches) > MOST_BRANCHES:
            self._remove(next(each for each in self._states if each in self._branches))

    def give_away(self) -> KeptState | None:
        """Remove the state that was used longest ago, for another process to keep; None where there is none."""
        for key, state in self._states.items():
            branch = key in self._branches
            self._remove(key)
            return key[0], state, branch
        return None

    def take_in(self, states: Iterable[KeptState]) -> None:
        """Keep what another process gave away, in the same order."""
        for model, state, branch in states:
            self.put(model, state, branch=branch)

    def close(self) -> None:
        """Keep no further states; from any thread."""
        self._budget_bytes = 0

    def _remove(self, key: tuple[Hashable, int]) -> None:
        del self._states[key]
        self._branches.discard(key)

    def drop(self, state: SequenceState) -> None:
        """Give up one state."""
        for key in [key for key, other in self._states.items() if other is state]:
            self._remove(key)

    def best(self, model: Hashable, reusable: Callable[[SequenceState], int]) -> SequenceState | None:
        """The state of `model` of which most tokens are `reusable`; None where none is."""
        shared = {key: reusable(state) for key, state in self._states.items() if key[0] == model}
        if not shared or not max(shared.values()):
            return None
        key = max(shared, key=lambda one: shared[one])
        self._states.move_to_end(key)
        return self._states[key]
