"""The result of a blind test as Markdown, CSV and JSON: with the names, so for its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from workbench.core.units import UNKNOWN
from workbench.lab.bench.report import markdown
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


def beside(first: BlindRecord, second: BlindRecord) -> str:
    """Two tests as Markdown: what each says, and the votes on every prompt of either."""
    pair = first, second
    lines = [f"{each.id}, {each.kind}: {each.verdict}" for each in pair]
    if first.kind != second.kind:
        lines.append("They ask different questions.")
    if first.models != second.models:
        lines.append("They are of different models.")
    if first.build != second.build:
        lines.append("They are of different builds.")
    questions = dict.fromkeys(trial.question for each in pair for trial in each.trials)
    rows = [
        [" ".join(text.split())[:60], *(", ".join(_outcomes(each, text)) or UNKNOWN for each in pair)]
        for text in questions
    ]
    return "\n".join([*lines, "", markdown(("prompt", first.id, second.id), rows)])


def _outcomes(record: BlindRecord, question: str) -> list[str]:
    """The votes on a prompt, in a word or two."""
    found = []
    for trial in record.trials:
        if trial.question != question or trial.vote is None:
            continue
        if trial.x is not None:
            found.append("right" if trial.chosen == trial.x else "wrong")
        else:
            found.append("neither" if trial.chosen is None else record.models[trial.chosen])
    return found


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
