"""The result of a blind test as Markdown, CSV and JSON: with the names, so for its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from workbench.lab.documents import csv_text, json_text
from workbench.lab.evals.blind_record import BlindRecord, BlindTrial


def as_json(record: BlindRecord) -> dict[str, object]:
    """The test as `--json` prints it."""
    a, b = record.preferred
    counts = {"votes": len(record.voted), "right": record.right if record.kind == "abx" else None, "a": a, "b": b}
    return {**asdict(record), **counts, "p_value": record.p_value, "verdict": record.verdict}


def as_markdown(record: BlindRecord) -> str:
    """The verdict, and every trial with its answers and the vote."""
    lines = [f"# Blind test: {' and '.join(record.models)}", "", record.verdict]
    lines += [f"{record.left_out.count(text)} trials left out: {text}" for text in dict.fromkeys(record.left_out)]
    for number, trial in enumerate(record.trials, 1):
        lines += ["", f"## {number}: {_outcome(record, trial)}", "", *_quoted(trial.question)]
        for name, text in zip((*record.models, "X"), (*trial.texts, *trial.shown[2:]), strict=False):
            lines += ["", f"**{name}**", "", *_quoted(text)]
    return "\n".join(lines) + "\n"


def _outcome(record: BlindRecord, trial: BlindTrial) -> str:
    if trial.vote is None:
        return "no vote"
    if trial.x is not None:
        return f"X was of {record.models[trial.x]}, the vote was {'right' if trial.chosen == trial.x else 'wrong'}"
    return "neither preferred" if trial.chosen is None else f"{record.models[trial.chosen]} preferred"


def _quoted(text: str) -> list[str]:
    return [f"> {line}".rstrip() for line in text.strip().splitlines()]


def as_csv(record: BlindRecord) -> str:
    """One row a trial, with a heading."""
    rows = []
    for number, trial in enumerate(record.trials, 1):
        x, chosen = ("" if model is None else record.models[model] for model in (trial.x, trial.chosen))
        rows.append((number, trial.question, *trial.texts, x, trial.x_text, chosen))
    return csv_text(("trial", "question", *record.models, "x", "x_text", "chosen"), rows)


FORMS: Mapping[str, Callable[[BlindRecord], str]] = {
    ".md": as_markdown,
    ".json": lambda record: json_text(as_json(record)),
    ".csv": as_csv,
}
"""How a result is written, by the suffix of the file."""
