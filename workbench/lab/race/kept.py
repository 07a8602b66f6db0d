"""A race that was kept: the values of its document that are shown again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeptLaneError:
    """Why a lane failed."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class KeptLane:
    """A lane of a kept race; the names and units of its figures are those of `lane_values`."""

    model: str = ""
    quant: str | None = None
    size_bytes: int | None = None
    peak_bytes: int | None = None
    completion_tokens: int | None = None
    ttft_ms: float | None = None
    prefill_tps: float | None = None
    decode_tps: float | None = None
    decode_ratio: float | None = None
    first_divergence: int | None = None
    text: str = ""
    reasoning: str | None = None
    error: KeptLaneError | None = None

    @property
    def label(self) -> str:
        """The name of its model, with the quantization."""
        return f"{self.model} {self.quant}" if self.quant else self.model


@dataclass(frozen=True, slots=True)
class KeptRace:
    """A race as it was kept: its questions, and the result of the last."""

    id: str = ""
    questions: tuple[str, ...] = ()
    lanes: tuple[KeptLane, ...] = ()
    in_turn: bool = False
    fastest: int | None = None
    smallest: int | None = None
