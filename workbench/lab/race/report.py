"""The result of a race: as values that can be kept, and as Markdown, CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.core.errors import WorkbenchError
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import EngineInfo
from workbench.core.origins import settings_text, sourced_values
from workbench.core.units import UNKNOWN, figure_text, size_text
from workbench.lab.documents import csv_of, json_text, markdown_cell
from workbench.lab.race.lane import Lane
from workbench.lab.race.race import Race


@dataclass(frozen=True, slots=True)
class LaneResult:
    """One lane's answer to one question."""

    lane: int
    """Counted from 0; 0 is the reference."""
    label: str
    info: EngineInfo | None
    """None where the model was never open."""
    text: str = ""
    reasoning: str = ""
    metrics: AnswerMetrics = field(default_factory=AnswerMetrics)
    finish_reason: str | None = None
    seed: int | None = None
    error: WorkbenchError | None = None
    notice: str = ""
    """A note on how the answer was made, or that it has no text."""
    first_divergence: int | None = None
    valid_answers: int | None = None
    """How many of its answers to all questions have the format that was asked for; None where none was."""
    judged_answers: int | None = None
    round: int = 0
    """Speeds are compared between lanes with the same number: the others answered under another load."""
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """The values that differ from the defaults, and where they come from: see `sourced_values`."""

    @property
    def size_bytes(self) -> int | None:
        """The size of its file."""
        return self.info.model.size_bytes if self.info else None

    @property
    def peak_bytes(self) -> int | None:
        """The memory that it takes."""
        return self.info.memory.total_bytes if self.info and self.info.memory else None


@dataclass(frozen=True, slots=True)
class RaceResult:
    """The result of a race, for one question."""

    question: str
    lanes: tuple[LaneResult, ...]
    in_turn: bool
    """Whether the models did not fit in memory together."""

    @property
    def _round(self) -> int:
        """The round in which most lanes answered."""
        rounds = [lane.round for lane in self.lanes]
        return max(rounds, key=rounds.count, default=0)

    @property
    def fastest(self) -> int | None:
        """The index of the lane that decoded fastest; None where fewer than two did under the same load."""
        speeds = (lane.metrics.decode_tps if lane.round == self._round else None for lane in self.lanes)
        return _first_best([None if speed is None else -speed for speed in speeds])

    def is_late(self, index: int) -> bool:
        """Whether a lane joined after the others had answered: its speed was taken under another load."""
        return self.lanes[index].round != self._round

    def decode_ratio(self, index: int) -> float | None:
        """A lane's decode speed as a multiple of the reference's; None where one is not known, or the loads differ."""
        lane, reference = self.lanes[index], self.lanes[0]
        if lane.round != reference.round:
            return None
        return ratio(lane.metrics.decode_tps, reference.metrics.decode_tps)

    @property
    def smallest(self) -> int | None:
        """The index of the lane with the smallest file; None where fewer than two are known."""
        return _first_best([lane.size_bytes for lane in self.lanes])

    @property
    def leanest(self) -> int | None:
        """The index of the lane that takes least memory; None where fewer than two are known."""
        return _first_best([lane.peak_bytes for lane in self.lanes])

    def marks(self, index: int) -> list[str]:
        """What a lane is the best in, least memory only where that is not the smallest file; and if it joined late."""
        found = {"fastest": self.fastest, "smallest": self.smallest}
        if self.leanest != self.smallest:
            found["least memory"] = self.leanest
        late = ["joined late"] if self.is_late(index) else []
        return [word for word, best in found.items() if best == index] + late


def _first_best(values: Sequence[float | None]) -> int | None:
    """The index of the lowest value; None where fewer than two are known, or where several share it."""
    known = sorted((value, index) for index, value in enumerate(values) if value is not None)
    return known[0][1] if len(known) > 1 and known[0][0] < known[1][0] else None


def result_of(race: Race) -> RaceResult:
    """The result of the last question of a race so far."""
    question = race.questions[-1] if race.questions else ""
    lanes = tuple(_result(race, index, lane) for index, lane in enumerate(race.lanes))
    return RaceResult(question, lanes, race.in_turn)


def _result(race: Race, index: int, lane: Lane) -> LaneResult:
    settings = sourced_values(lane.sampling, lane.spec.load, lane.origins)
    if lane.answer is None or lane.question != len(race.questions) - 1:
        return LaneResult(index, lane.label, lane.info, error=lane.error, settings=settings)
    outcome = lane.answer.outcome() if not lane.running else None
    verdicts = lane.verdicts
    message = lane.answer.message()
    return LaneResult(
        lane=index,
        label=lane.label,
        info=lane.info,
        text=message.content,
        reasoning=message.reasoning,
        metrics=outcome.metrics if outcome else lane.answer.meter.metrics(percentiles=False),
        finish_reason=outcome.reason if outcome else None,
        seed=outcome.seed if outcome else None,
        error=lane.error,
        notice=outcome.notice if outcome else "",
        first_divergence=race.divergence(lane),
        valid_answers=verdicts.count("valid") if verdicts else None,
        judged_answers=len(verdicts) or None,
        round=lane.round,
        settings=settings,
    )


def valid_text(lane: LaneResult) -> str:
    """How many answers of a lane have the format that was asked for, such as `2 of 3`."""
    return f"{lane.valid_answers} of {lane.judged_answers}" if lane.judged_answers else UNKNOWN


def ratio(value: float | None, reference: float | None) -> float | None:
    """A value as a multiple of the reference; None where one of them is not known."""
    return value / reference if value is not None and reference else None


def lane_values(result: RaceResult, lane: LaneResult) -> dict[str, object]:
    """The figures of a lane by name; None where one is not known."""
    info, metrics, reference = lane.info, lane.metrics, result.lanes[0]
    return {
        "lane": lane.lane,
        "model": info.model.name if info else lane.label,
        "quant": info.model.quant if info else None,
        "bits_per_weight": info.model.bits_per_weight if info else None,
        "size_bytes": lane.size_bytes,
        "size_ratio": ratio(lane.size_bytes, reference.size_bytes),
        "peak_bytes": lane.peak_bytes,
        "peak_ratio": ratio(lane.peak_bytes, reference.peak_bytes),
        "prompt_tokens": metrics.prompt_tokens,
        "cached_tokens": metrics.cached_tokens,
        "completion_tokens": metrics.completion_tokens,
        "reasoning_tokens": metrics.reasoning_tokens,
        "load_ms": metrics.load_ms,
        "ttft_ms": metrics.ttft_ms,
        "ttfo_ms": metrics.ttfo_ms,
        "prefill_tps": metrics.prefill_tps,
        "decode_tps": metrics.decode_tps,
        "decode_ratio": result.decode_ratio(lane.lane),
        "source": metrics.source,
        "itl_p50_ms": metrics.itl_p50_ms,
        "finish_reason": lane.finish_reason,
        "seed": lane.seed,
        "backend": info.backend if info else None,
        "first_divergence": lane.first_divergence,
        "format_state": metrics.format_state,
        "valid_answers": lane.valid_answers,
        "judged_answers": lane.judged_answers,
        "error": lane.error.message if lane.error else None,
    }


def as_json(result: RaceResult) -> Mapping[str, Any]:
    """The result as one JSON document."""
    lanes = []
    for lane in result.lanes:
        error = lane.error
        values = lane_values(result, lane) | {
            "text": lane.text,
            "reasoning": lane.reasoning or None,
            "settings": lane.settings,
            "error": {"kind": error.kind, "message": error.message, "hint": error.hint} if error else None,
        }
        lanes.append(values)
    return {
        "prompt": result.question,
        "reference": 0,
        "in_turn": result.in_turn,
        "fastest": result.fastest,
        "smallest": result.smallest,
        "leanest": result.leanest,
        "lanes": lanes,
    }


def document_of(race: Race) -> Mapping[str, object]:
    """A race as it is kept: all questions, and the result of the last."""
    return {"questions": list(race.questions), **as_json(result_of(race))}


def as_csv(result: RaceResult) -> str:
    """The figures of the lanes, one row each, with a heading."""
    return csv_of([lane_values(result, lane) for lane in result.lanes])


def as_markdown(result: RaceResult) -> str:
    """The question, a table of the lanes, and their answers."""
    headings: tuple[str, ...] = (
        "lane", "quant", "bits", "size", "memory", "TTFT", "prefill", "decode", "x", "tokens", "differs at"
    )  # fmt: skip
    rows = [_row(result, lane) for lane in result.lanes]
    if any(lane.judged_answers for lane in result.lanes):
        headings = (*headings, "valid")
        rows = [(*row, valid_text(lane)) for row, lane in zip(rows, result.lanes, strict=True)]
    table = [f"| {' | '.join(row)} |" for row in (headings, ("---",) * len(headings), *rows)]
    question = (f"> {line}".rstrip() for line in result.question.splitlines())
    lines = ["# Race", "", *question, "", *table, ""]
    if result.in_turn:
        lines += ["The models did not fit in memory together: they were loaded and asked one after the other.", ""]
    for lane in result.lanes:
        lines += [f"## {lane.lane + 1}. {lane.label}", ""]
        if lane.error is not None:
            lines += [f"**{lane.error.message}**", ""]
        elif lane.notice:
            lines += [f"*{lane.notice}*", ""]
        if lane.settings:
            lines += [f"Settings: {settings_text(lane.settings)}.", ""]
        if lane.text:
            lines += [lane.text.strip(), ""]
    return "\n".join(lines).rstrip() + "\n"


FORMS: Mapping[str, Callable[[RaceResult], str]] = {
    ".md": as_markdown,
    ".json": lambda result: json_text(as_json(result)),
    ".csv": as_csv,
}
"""How a result is written, by the suffix of the file."""


def _row(result: RaceResult, lane: LaneResult) -> tuple[str, ...]:
    metrics, model = lane.metrics, lane.info.model if lane.info else None
    marks = result.marks(lane.lane)
    by = "" if metrics.source == "engine" else f" ({metrics.source})"
    name = f"{lane.lane + 1}. {markdown_cell(model.name if model else lane.label)}"
    return (
        name + (f" ({', '.join(marks)})" if marks else ""),
        markdown_cell(model.quant or UNKNOWN if model else UNKNOWN),
        figure_text(model.bits_per_weight if model else None, ".2f"),
        size_text(lane.size_bytes),
        size_text(lane.peak_bytes),
        figure_text(metrics.ttft_ms, ".0f", " ms"),
        figure_text(metrics.prefill_tps, ".0f", f" t/s{by}"),
        figure_text(metrics.decode_tps, ".1f", f" t/s{by}"),
        figure_text(result.decode_ratio(lane.lane), ".2f"),
        figure_text(metrics.completion_tokens, "d"),
        "reference" if lane.lane == 0 else figure_text(lane.first_divergence, "d"),
    )
