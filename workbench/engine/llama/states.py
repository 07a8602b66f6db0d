"""The KV caches of models that were closed, kept so that opening one again costs no prefill."""

from __future__ import annotations

import ctypes
import mmap
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any


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

    @property
    def size_bytes(self) -> int:
        """Its memory."""
        return len(self.data) + 8 * len(self.tokens)


def common_prefix(first: Sequence[object], second: Sequence[object]) -> int:
    """The length of the common prefix of two sequences."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


class StateCache:
    """Sequence states by model; the least recently used are evicted when the budget is spent. 0 bytes keep none."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._states: OrderedDict[tuple[Hashable, int], SequenceState] = OrderedDict()
        self._next = 0

    @property
    def size_bytes(self) -> int:
        """The memory of all states."""
        return sum(state.size_bytes for state in self._states.values())

    def wants(self, size_bytes: int) -> bool:
        """Whether a state of this size can be kept at all."""
        return 0 < size_bytes <= self._budget_bytes

    def make_room(self, model: Hashable, tokens: Sequence[int], size_bytes: int) -> None:
        """Give up what a state with these tokens replaces: those of `model` that it continues, and the oldest ones.

        Called before the state is copied, so that the old and the new ones together stay within the budget.
        """
        for key, other in list(self._states.items()):
            if key[0] == model and common_prefix(other.tokens, tokens) == len(other.tokens):
                del self._states[key]
        while self._states and self.size_bytes + size_bytes > self._budget_bytes:
            self._states.popitem(last=False)

    def put(self, model: Hashable, state: SequenceState) -> None:
        """Keep a state of `model`; one of the same model whose tokens it continues is replaced."""
        if not self.wants(state.size_bytes):
            return
        self.make_room(model, state.tokens, state.size_bytes)
        self._next += 1
        self._states[model, self._next] = state

    def close(self) -> None:
        """Keep no further states; from any thread."""
        self._budget_bytes = 0

    def drop(self, state: SequenceState) -> None:
        """Give up one state."""
        self._states = OrderedDict((key, other) for key, other in self._states.items() if other is not state)

    def best(
        self,
        model: Hashable,
        tokens: Sequence[int],
        reusable: Callable[[Sequence[int], Sequence[int]], int] = common_prefix,
    ) -> SequenceState | None:
        """The state of `model` of which most can be reused for `tokens`; None where nothing can."""
        tokens = tuple(tokens)
        shared = {key: reusable(state.tokens, tokens) for key, state in self._states.items() if key[0] == model}
        if not shared or not max(shared.values()):
            return None
        key = max(shared, key=lambda one: shared[one])
        self._states.move_to_end(key)
        return self._states[key]
