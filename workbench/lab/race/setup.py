"""The lanes that a race starts with, and the settings that they share. The screen and the command line use both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from workbench.core.models import ModelEntry, variants_of
from workbench.core.origins import Origin, Origins
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.recipe import Recipe
from workbench.lab.race.lane import LaneSpec

PROPOSED_LANES = 3
USUAL_QUANTS = ("Q8_0", "Q4_K_M")
"""What most people compare with the largest."""
UNQUANTIZED = ("F32", "BF16", "F16")


@dataclass(frozen=True, slots=True)
class RaceTerms:
    """The settings of lanes, apart from their models."""

    load: LoadSettings
    sampling: Sampling
    system: str
    greedy: bool = True
    """Whether all lanes take the most likely token, so that only the models differ."""
    origins: Origins = field(default_factory=dict)
    """Where the values come from."""
    greedy_for: Origin = "race"
    """What lets them take the most likely token."""

    @property
    def lane_origins(self) -> Origins:
        """The origins of the parameters of a lane."""
        return {**self.origins, "temperature": self.greedy_for} if self.greedy else self.origins

    @property
    def lane_sampling(self) -> Sampling:
        """The sampling parameters of a lane."""
        return replace(self.sampling, temperature=0.0) if self.greedy else self.sampling

    def lane(self, ref: str, label: str, recipe: Recipe | None, model: ModelEntry | None = None) -> LaneSpec:
        """A lane of the model that `ref` names, with the opening turns of its Modelfile."""
        opening = recipe.messages if recipe is not None else ()
        return LaneSpec(
            ref, label, self.load, self.lane_sampling, self.system, model, opening=opening, origins=self.lane_origins
        )


def proposed(model: ModelEntry | None, models: Sequence[ModelEntry]) -> list[ModelEntry]:
    """The models to start with: the open one's quantizations, the largest of a few as the reference."""
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
        # The open one replaces the one that is nearest in size.
        nearest = min(chosen[1:], key=lambda entry: abs((entry.size_bytes or 0) - (model.size_bytes or 0)))
        chosen[chosen.index(nearest)] = model
    return sorted(chosen, key=lambda entry: -(entry.size_bytes or 0))


def missing_quants(variants: Sequence[ModelEntry]) -> list[str]:
    """The quantizations that people compare and that are not among these of a model, the largest first."""
    present = {entry.quant for entry in variants if not entry.problem}
    largest = [] if present.intersection(UNQUANTIZED) else ["F16"]
    return largest + [quant for quant in USUAL_QUANTS if quant not in present]


def _distinct(entries: Sequence[ModelEntry]) -> list[ModelEntry]:
    return [entry for index, entry in enumerate(entries) if not any(entry.is_same(other) for other in entries[:index])]
