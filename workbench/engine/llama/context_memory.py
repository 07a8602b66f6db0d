"""The tokens that a sequence of a context holds: cut, saved and restored. Runs in the runtime's thread.

What can be cut depends on the layers. Full attention keeps keys and values of every token, and its end can be dropped.
A sliding window at its true size keeps those of the latest tokens: it can be cut while the window before the cut is
still there, which `llama_memory_seq_rm` does not check. A recurrent layer has only its latest state. Where nothing can
be cut, the memory goes back to a checkpoint (see `checkpoints.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from workbench.core.events import CachedFrom
from workbench.engine.llama.checkpoints import Checkpoint, Checkpoints
from workbench.engine.llama.native import Pointer, api
from workbench.engine.llama.states import SequenceState, common_prefix, new_buffer

APART = 16
"""Tokens between two checkpoints, at least: fewer are computed again in less time than a copy is worth."""

FAR_APART = 2048
"""Tokens after which a checkpoint is taken anywhere."""

_WHOLE: Final = api.LLAMA_STATE_SEQ_FLAGS_NONE
_PARTIAL: Final = api.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY


class ContextMemory:
    """The memory that one sequence has in the native context `ctx` of `model`: at most `n_ctx` tokens.

    `full_window` says whether layers with a sliding window keep the whole context.
    """

    def __init__(
        self,
        ctx: Pointer,
        model: Pointer,
        n_ctx: int,
        checkpoints: Checkpoints,
        *,
        full_window: bool,
        sequence: int = 0,
    ) -> None:
        self._ctx = ctx
        self.sequence = sequence
        self._memory = api.llama_get_memory(ctx)
        self._alone: bool = api.llama_n_seq_max(ctx) == 1
        self.n_ctx = n_ctx
        self.tokens: list[int] = []
        """The tokens that it holds; always the same list."""
        self.recurrent: bool = api.llama_model_is_recurrent(model) or api.llama_model_is_hybrid(model)
        """Whether it has layers with only their latest state."""
        self._window: int = 0 if full_window else api.llama_model_n_swa(model)
        self.checkpoints = checkpoints
        self.checkpoint_bytes = 0
        """The size of the last checkpoint that was asked for, in bytes; 0 before the first."""
        self._problem = ""
        self._said = set[str]()

    @property
    def needs_checkpoints(self) -> bool:
        """Whether there are places that it can only go back to with a checkpoint."""
        return self.recurrent or 0 < self._window < self.n_ctx

    @property
    def length(self) -> int:
        """The length of the sequence in tokens, as llama.cpp counts it."""
        last: int = api.llama_memory_seq_pos_max(self._memory, self.sequence)
        return last + 1

    def forget(self) -> None:
        """Empty the sequence."""
        if self._alone:
            # With the data: what a failed step has written may be no number, and would spread through masked cells.
            api.llama_memory_clear(self._memory, True)
        else:
            api.llama_memory_seq_rm(self._memory, self.sequence, -1, -1)
        self.tokens.clear()
        self.checkpoints.cut(0)

    def new_problem(self) -> str:
        """The latest failure to keep or restore a state, for the user; empty where there is none that was not said."""
        problem, self._problem = self._problem, ""
        if problem in self._said:
            return ""
        self._said.add(problem)
        return problem

    # Keeping the beginning

    def reusable(self, tokens: Sequence[int], state: SequenceState | None = None) -> int:
        """How many tokens of the context, or of a saved state, can be kept for `tokens`.

        At least the last one of `tokens` remains to be computed, because sampling needs its logits.
        """
        if state is not None:
            # Of a window, the state has no more than its width.
            first = max(0, len(state.tokens) - self._window) if self._window else 0
            return self._keepable(state.tokens, tokens, first, state.checkpoints)
        first = api.llama_memory_seq_pos_min(self._memory, self.sequence)
        return self._keepable(self.tokens, tokens, first, self.checkpoints.all)

    def _keepable(
        self, held: Sequence[int], tokens: Sequence[int], first: int, checkpoints: Sequence[Checkpoint]
    ) -> int:
        shared = min(common_prefix(held, tokens), len(tokens) - 1)
        if shared == len(held) or self._can_cut(shared, first):
            return shared
        return max((each.length for each in checkpoints if each.length <= shared), default=0)

    def _can_cut(self, length: int, first: int) -> bool:
        """Whether all but `length` tokens can be dropped, where `first` is the first position in every layer."""
        return not self.recurrent and first <= max(0, length - self._window)

    def rewind(self, tokens: Sequence[int]) -> CachedFrom:
        """Keep what the context has in common with `tokens`, and return where it is from: `tokens` of `self`."""
        if self.length != len(self.tokens):
            # Something was computed that the program does not know of.
            self.forget()
        shared = min(common_prefix(self.tokens, tokens), len(tokens) - 1)
        if shared == len(self.tokens) or self.cut(shared):
            return "context" if shared else "nothing"
        return "checkpoint" if self.go_back(shared) else "nothing"

    def cut(self, length: int) -> bool:
        """Drop all but `length` tokens; False where the memory cannot be cut there, and is as it was."""
        if not self._can_cut(length, api.llama_memory_seq_pos_min(self._memory, self.sequence)):
            return False
        if not api.llama_memory_seq_rm(self._memory, self.sequence, length, -1):
            return False
        del self.tokens[length:]
        self.checkpoints.cut(length)
        return True

    def go_back(self, length: int) -> int:
        """Go back to the latest checkpoint of at most `length` tokens; empty the context where there is none.

        Returns the length of the context.
        """
        checkpoint = self.checkpoints.newest(length)
        if checkpoint is None:
            self.forget()
            return 0
        if not self._restore(checkpoint):
            self._problem = "llama.cpp refused a checkpoint: the prompt was computed again."
            self.forget()
            return 0
        del self.tokens[checkpoint.length :]
        self.checkpoints.cut(checkpoint.length)
        return checkpoint.length

    def _restore(self, checkpoint: Checkpoint) -> bool:
        size = checkpoint.size_bytes
        read = api.llama_state_seq_set_data_ext(self._ctx, checkpoint.data, size, self.sequence, _PARTIAL)
        # Layers with full attention still have all tokens.
        cut = read == size and api.llama_memory_seq_rm(self._memory, self.sequence, checkpoint.length, -1)
        return bool(cut) and self.length == checkpoint.length

    # Checkpoints

    def next_stop(self, places: Sequence[int], end: int) -> int:
        """The first of `places` after the tokens held that a checkpoint is to be taken at; `end` where there is none.

        `places` are lengths of the sequence, in order.
        """
        held = len(self.tokens)
        return next((place for place in places if held < place < end and self._wants_one_at(place)), end)

    def _wants_one_at(self, place: int, apart: int = APART) -> bool:
        newest = self.checkpoints.newest(place)
        before = newest.length if newest is not None else 0
        return self.needs_checkpoints and self.checkpoints.limits.count > 0 and place - before >= apart

    def take_checkpoint(self, *, wanted: bool) -> None:
        """Take a checkpoint of the tokens held, if it is worth one: `wanted` at a place that is likely to come again.

        One that finds no memory is left out.
        """
        held = len(self.tokens)
        if not self._wants_one_at(held, APART if wanted else FAR_APART) or self.length != held:
            return
        self.checkpoint_bytes = api.llama_state_seq_get_size_ext(self._ctx, self.sequence, _PARTIAL)
        if self.checkpoints.wants(self.checkpoint_bytes):
            data = self._copied(self.checkpoint_bytes, _PARTIAL)
            if data is not None:
                self.checkpoints.add(Checkpoint(held, data))

    def _copied(self, size: int, flags: int) -> Pointer | None:
        """The state of the sequence; None where there is no memory for it, or llama.cpp provides none."""
        if not size:
            return None
        try:
            data = new_buffer(size)
        except OSError:
            self._problem = "There was no memory to keep a state of the model: later prompts may be computed again."
            return None
        return data if api.llama_state_seq_get_data_ext(self._ctx, data, size, self.sequence, flags) == size else None

    # Whole states

    @property
    def state_bytes(self) -> int:
        """Size of the state that `save_state` would copy, in bytes; 0 for an empty context."""
        if not self.tokens:
            return 0
        size: int = api.llama_state_seq_get_size_ext(self._ctx, self.sequence, _WHOLE)
        return size + self.checkpoints.size_bytes

    def save_state(self) -> SequenceState | None:
        """A copy of the context; None where it is empty or in doubt, or it cannot be copied."""
        if not self.tokens or self.length != len(self.tokens):
            return None
        size: int = api.llama_state_seq_get_size_ext(self._ctx, self.sequence, _WHOLE)
        data = self._copied(size, _WHOLE)
        return None if data is None else SequenceState(tuple(self.tokens), data, self.checkpoints.all)

    def restore_state(self, state: SequenceState, before: SequenceState | None = None) -> bool:
        """Replace the context by a saved state. False where that cannot be done: it is as `before`, or empty."""
        if len(state.tokens) < self.n_ctx and self._load(state):
            return True
        if len(state.tokens) < self.n_ctx and before is not None:
            self._load(before)
        return False

    def _load(self, state: SequenceState) -> bool:
        self.forget()
        size = len(state.data)
        read = api.llama_state_seq_set_data_ext(self._ctx, state.data, size, self.sequence, _WHOLE)
        if read != size or self.length != len(state.tokens):
            self._problem = "llama.cpp refused a saved state: the prompt was computed again."
            self.forget()
            return False
        self.tokens[:] = state.tokens
        self.checkpoints.replace(state.checkpoints)
        return True
