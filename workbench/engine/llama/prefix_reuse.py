"""What an open model knows of its conversations: its context, and its saved states. Runs in the runtime's thread."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from workbench.core.events import CachedFrom, PromptChange, PromptReuse
from workbench.core.units import size_text
from workbench.engine.llama.model import Model
from workbench.engine.llama.prompt import PromptTokens
from workbench.engine.llama.prompt_change import Asked, cause_of_change
from workbench.engine.llama.slot import Slot
from workbench.engine.llama.states import StateCache, common_prefix

BRANCH = 64
"""Tokens of a branch that are worth a saved state when the conversation leaves it."""

MANY = 256
"""Common tokens: from this number on, computing them again is reported."""


class PrefixReuse:
    """Prepares a slot of `model` for prompts. `key` identifies the model's states in `states`."""

    def __init__(self, model: Model, slot: Slot, states: StateCache, key: Hashable) -> None:
        self._model = model
        self.slot = slot
        self._memory = slot.memory
        self._states = states
        self._key = key
        self._asked = Asked()
        """What the tokens in the context were made of."""

    def prepare(self, prompt: PromptTokens) -> PromptReuse:
        """Have the slot hold the beginning of a prompt, from its own tokens or a saved state that shares more.

        A branch that the prompt leaves is saved.
        """
        memory, tokens = self._memory, prompt.tokens
        own = memory.reusable(tokens)
        state = self._states.best(self._key, lambda each: memory.reusable(tokens, each))
        if state is not None and memory.reusable(tokens, state) <= own:
            state = None
        size = memory.state_bytes
        branch = len(memory.tokens) - own >= BRANCH and self._states.wants(size, self._key)
        if branch:
            self._states.make_room(self._key, memory.tokens, size, branch=True)
        before = memory.save_state() if branch or (state is not None and own) else None
        if before is not None and branch:
            self._states.put(self._key, replace(before, asked=self._asked), branch=True)
        known, asked = (state.tokens, state.asked) if state else (tuple(memory.tokens), self._asked)
        restored = state is not None and memory.restore_state(state, before)
        if state is not None and not restored:
            self._states.drop(state)
        source: CachedFrom = self.slot.rewind(tokens)
        if restored and source != "nothing":
            source = "saved state"
        after = replace(prompt.asked, dropped=prompt.dropped, length=len(tokens))
        change = self._change(known, tokens, asked or Asked(), after)
        lost = self._lost(common_prefix(known, tokens))
        self._asked = after
        return PromptReuse(source, change, lost, self._states.size_bytes)

    def keep(self) -> None:
        """Save the context for when this model is opened again."""
        size = self._memory.state_bytes
        if self._states.wants(size):
            self._states.make_room(self._key, self._memory.tokens, size)
            state = self._memory.save_state()
            if state is not None:
                self._states.put(self._key, replace(state, asked=self._asked))

    def _change(self, known: Sequence[int], tokens: Sequence[int], before: Asked, after: Asked) -> PromptChange | None:
        at = common_prefix(known, tokens)
        if at == min(len(known), len(tokens)):
            return None
        answer = b""
        if at >= before.length:
            answer = b"".join(self._model.pieces[token] for token in known[before.length :])
        cause = cause_of_change(before, after, answer.decode("utf-8", "replace"), at)
        one, other = (self._model.pieces.control(token) for token in (known[at], tokens[at]))
        return PromptChange(at, one, other, cause)

    def _lost(self, common: int) -> str:
        """Why most of the `common` tokens are computed again; empty where few are."""
        kept, checkpoints = len(self._memory.tokens), self._memory.checkpoints
        if common - kept < MANY and (kept or not common):
            return ""
        if not self._memory.needs_checkpoints:
            return "the memory was lost"
        if not checkpoints.wants(1):
            return "checkpoints are off"
        if (size := self._memory.checkpoint_bytes) > checkpoints.limits.size_bytes:
            return f"a checkpoint of {size_text(size)} is larger than checkpoint_mb"
        return "no checkpoint is left before the change"


class Slots:
    """The slots of an open model that no answer uses."""

    def __init__(self, model: Model, states: StateCache, key: Hashable) -> None:
        self._free = [PrefixReuse(model, slot, states, key) for slot in model.slots]
        """The one that was used longest ago comes first."""

    def take(self, prompt: PromptTokens) -> tuple[PrefixReuse, PromptReuse]:
        """Take the slot that knows most of a prompt, or else the one that was used longest ago, and prepare it."""
        best = max(self._free, key=lambda each: each.slot.memory.reusable(prompt.tokens))
        if 2 * best.slot.memory.reusable(prompt.tokens) < len(best.slot.tokens):
            best = self._free[0]
        reuse = best.prepare(prompt)
        self._free.remove(best)
        return best, reuse

    def give_back(self, slot: PrefixReuse) -> None:
        """End the use of a slot."""
        self._free.append(slot)

    def keep(self) -> None:
        """Save all of them for when this model is opened again, the latest one last."""
        for each in self._free:
            each.keep()
