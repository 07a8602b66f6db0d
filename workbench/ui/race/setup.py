"""The lanes that a race starts with, and the settings that they share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.core.models import ModelEntry, variants_of
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.tree import Turn
from workbench.lab.race.race import MOST_LANES, Lane, LaneSpec, Race
from workbench.ui.workspace.conversation import Conversation

PROPOSED_LANES = 3


USUAL_QUANTS = ("Q8_0", "Q4_K_M")
"""What most people choose between, beside the largest."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the lanes of a race are run, apart from their models."""

    load: LoadSettings
    sampling: Sampling
    system: str
    greedy: bool = True
    """Whether all lanes take the most likely token, so that it is the models that part them."""

    @property
    def lane_sampling(self) -> Sampling:
        """How the lanes choose their tokens."""
        return replace(self.sampling, temperature=0.0) if self.greedy else self.sampling

    def spec(self, model: ModelEntry) -> LaneSpec:
        """A lane of `model`."""
        opening = model.recipe.messages if model.recipe is not None else ()
        return LaneSpec(model.ref, model.label, self.load, self.lane_sampling, self.system, model, opening=opening)


def proposed(model: ModelEntry | None, models: Sequence[ModelEntry]) -> list[ModelEntry]:
    """The models to begin with: the open one's quantizations, the largest of a few as the reference."""
    if model is None:
        return []
    variants = [entry for entry in variants_of(model, models) if not entry.problem]
    if not any(entry.is_same(model) for entry in variants):
        variants.append(model)
    variants.sort(key=lambda entry: -(entry.size_bytes or 0))
    if len(variants) <= PROPOSED_LANES:
        return variants
    usual = [entry for quant in USUAL_QUANTS for entry in variants if entry.quant == quant]
    chosen = _distinct([variants[0], *usual, variants[-1], *variants])[:PROPOSED_LANES]
    if not any(entry.is_same(model) for entry in chosen):
        # The open one stands in for the one that is most like it.
        nearest = min(chosen[1:], key=lambda entry: abs((entry.size_bytes or 0) - (model.size_bytes or 0)))
        chosen[chosen.index(nearest)] = model
    return sorted(chosen, key=lambda entry: -(entry.size_bytes or 0))


def _distinct(entries: Sequence[ModelEntry]) -> list[ModelEntry]:
    return [entry for index, entry in enumerate(entries) if not any(entry.is_same(other) for other in entries[:index])]


def conversation_of(lane: Lane, questions: Sequence[str]) -> Conversation:
    """What was said in a lane, to go on with or to leave with."""
    spec = lane.spec
    conversation = Conversation(spec.system, spec.sampling, spec.load)
    conversation.begin_with(spec.opening)
    ref = lane.info.model.ref if lane.info else spec.ref
    for question, answer in zip(questions, lane.answers, strict=False):
        outcome = answer.outcome
        conversation.ask(question)
        turn = Turn(outcome.message, time.time(), ref, outcome.metrics, outcome.reason)
        conversation.answer(turn)
    return conversation


def room_for_more(race: Race | None) -> bool:
    """Whether another lane can be added."""
    return race is None or len(race.lanes) < MOST_LANES
