"""The result of an evaluation as Markdown, CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from workbench.core.units import UNKNOWN
from workbench.lab.documents import csv_text, json_text, markdown_cell
from workbench.lab.evals.record import EvalRecord, EvalResult, EvalSample

WORDS: Mapping[bool | None, str] = {True: "passed", False: "failed", None: "invalid"}
"""A verdict in words."""


def rate_text(rate: float | None) -> str:
    """A rate in percent; a dash where it is unknown."""
    return UNKNOWN if rate is None else f"{rate:.0%}".replace("%", " %")


def interval_text(interval: tuple[float, float] | None) -> str:
    """The ends of an interval in percent; a dash where it is unknown."""
    return UNKNOWN if interval is None else f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"


def verdicts(record: EvalRecord) -> list[str]:
    """The comparisons of the candidates, one sentence each."""
    names = record.names
    return [pair.split.sentence(names[pair.a], names[pair.b]) for pair in record.pairs]


def answer_text(sample: EvalSample) -> str:
    """What a candidate answered, or why there is no answer."""
    return sample.error or sample.text.strip() or "(no text)"


def as_markdown(record: EvalRecord) -> str:
    """The scores, the comparisons, and the failures side by side."""
    asked = len(record.results)
    lines = [f"# {markdown_cell(record.pack)}", ""]
    many = f", {record.samples} samples each" if record.samples > 1 else ""
    stopped = f", stopped after {asked}" if record.interrupted else ""
    lines += [f"{record.cases} case{'s' * (record.cases != 1)}{many}{stopped}.", *record.notes, ""]
    lines += ["| model | passed | failed | invalid | rate | 95 % interval |", "|---|---|---|---|---|---|"]
    for name, score in zip(record.names, record.scores, strict=True):
        figures = (str(score.passed), str(score.failed), str(score.invalid))
        cells = (markdown_cell(name), *figures, rate_text(score.rate), interval_text(score.interval))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {sentence}" for sentence in verdicts(record))]
    lines += [
        f"- {markdown_cell(name)}: {lane.error}"
        for name, lane in zip(record.names, record.lanes, strict=True)
        if lane.error
    ]
    failures = [result for result in record.results if result.is_failure]
    if failures:
        lines += ["", f"## {len(failures)} of {asked} cases not passed by all"]
    for result in failures:
        lines += ["", *_case_lines(record, result)]
    return "\n".join(lines).rstrip() + "\n"


def _case_lines(record: EvalRecord, result: EvalResult) -> list[str]:
    lines = [
        f"### {markdown_cell(result.case)}",
        "",
        *(f"> {line}".rstrip() for line in result.question.splitlines()),
        "",
    ]
    for name, samples in zip(record.names, result.answers, strict=True):
        for number, sample in enumerate(samples, 1):
            which = f" ({number} of {len(samples)})" if len(samples) > 1 else ""
            why = f" · {'; '.join(sample.problems)}" if sample.problems else ""
            lines += [f"- **{markdown_cell(name)}**{which}: {WORDS[sample.passed]}{why}"]
            lines += [f"  > {line}".rstrip() for line in answer_text(sample).splitlines()]
    if result.earlier:
        lines += ["- earlier answer:", *(f"  > {line}".rstrip() for line in result.earlier.splitlines())]
    return lines


def as_json(record: EvalRecord) -> dict[str, Any]:
    """The result as one JSON document."""
    lanes = []
    for lane, name, score in zip(record.lanes, record.names, record.scores, strict=True):
        figures = {"rate": score.rate, "interval": score.interval}
        lanes.append({"model": lane.label, "name": name, **asdict(score), **figures, **asdict(lane)})
        lanes[-1]["error"] = {"message": lane.error} if lane.error else None
    pairs = [
        {
            "a": record.lanes[pair.a].label,
            "b": record.lanes[pair.b].label,
            "cases": pair.split.cases,
            "only_a": pair.split.only_a,
            "only_b": pair.split.only_b,
            "p_value": pair.split.p_value,
            "level": pair.split.level,
            "verdict": pair.split.verdict,
            "more": pair.split.more,
            "sentence": sentence,
        }
        for pair, sentence in zip(record.pairs, verdicts(record), strict=True)
    ]
    kept = {name: value for name, value in asdict(record).items() if name not in ("lanes", "results")}
    results = [
        asdict(result) | {"passed": [result.passed(lane) for lane in range(len(record.lanes))]}
        for result in record.results
    ]
    return {**kept, "asked": len(record.results), "lanes": lanes, "pairs": pairs, "results": results}


def as_csv(record: EvalRecord) -> str:
    """One row for each sample of each candidate and case, with a heading."""
    rows = []
    for result in record.results:
        for name, samples in zip(record.names, result.answers, strict=True):
            for number, sample in enumerate(samples, 1):
                row = (WORDS[sample.passed], "; ".join(sample.problems) or sample.error, sample.text)
                tags, counts = " ".join(result.tags), (sample.completion_tokens, sample.seed)
                rows.append((result.case, tags, name, number, *row, *counts))
    heading = ("case", "tags", "model", "sample", "verdict", "problems", "answer", "tokens", "seed")
    return csv_text(heading, rows)


FORMS: Mapping[str, Callable[[EvalRecord], str]] = {
    ".md": as_markdown,
    ".json": lambda record: json_text(as_json(record)),
    ".csv": as_csv,
}
"""How a result is written, by the suffix of the file."""
