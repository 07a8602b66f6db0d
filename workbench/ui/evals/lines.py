"""Evaluations as styled lines, without any widget: scores, cases and the answers to one case."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from workbench.lab.evals.pack import EvalPack
from workbench.lab.evals.record import EvalRecord, EvalResult
from workbench.lab.evals.report import WORDS, answer_text, interval_text, rate_text, verdicts
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import DONE, FAILED, beside, cut, cut_line, heading, padded, paragraph, styled, wrap

SIGNS = {True: DONE, False: FAILED, None: ("–", "rows--warning")}
"""The sign of a verdict and its class; a word stands beside it wherever there is room."""
LEAST_COLUMN = 26
"""Terminal columns below which answers stand below each other."""


def pack_lines(pack: EvalPack | None, models: Sequence[str], samples: int, width: int) -> list[Content]:
    """What would be asked."""
    name = clean_line(pack.name) if pack else "no pack yet"
    about = f"{len(pack.checked)} cases" if pack else ""
    if pack and pack.problems:
        about += f", {len(pack.problems)} broken"
    how = f"{samples} samples each" if samples > 1 else "greedy"
    first = styled(("EVAL  ", "rows--heading"), (name, "rows--name"), (f"  {about}  {how}", "rows--dim"))
    asked = ", ".join(map(clean_line, models)) or "none yet"
    return [cut_line(first, width), cut_line(styled(("Models  ", "rows--dim"), (asked, "rows--name")), width)]


def score_lines(record: EvalRecord, width: int) -> list[Content]:
    """The score of each candidate, and the comparisons."""
    room = max(12, min(34, width - 44))
    head = f"{'':<{room}} passed failed invalid  rate  95 % interval"
    lines = [cut_line(styled((head, "rows--header")), width)]
    for name, score in zip(record.names, record.scores, strict=True):
        figures = f" {score.passed:>6} {score.failed:>6} {score.invalid:>7} "
        rate, ends = f"{rate_text(score.rate):>5}", f"  {interval_text(score.interval)}"
        line = styled((padded(name, room), "rows--name"), (figures, ""), (rate, "rows--figure"), (ends, "rows--dim"))
        lines.append(cut_line(line, width))
    for sentence in verdicts(record):
        lines += paragraph(clean_line(sentence), width, style="rows--accent")
    named = zip(record.names, record.lanes, strict=True)
    errors = [f"{name}: {lane.error}" for name, lane in named if lane.error]
    return lines + [row for text in errors for row in paragraph(clean_line(text), width, style="rows--error")]


def case_line(record: EvalRecord, result: EvalResult, width: int) -> Content:
    """One case: a sign for each candidate, its id and its question."""
    parts: list[tuple[str, str]] = []
    for lane, samples in enumerate(result.answers):
        sign, style = SIGNS[result.passed(lane)] if samples else ("·", "rows--dim")
        parts.append((f"{sign} ", style))
    room = width - 2 * len(record.lanes) - 1
    name = cut(result.case, max(8, room // 2))
    return styled(
        *parts, (f"{name}  ", "rows--name"), (cut(result.question, max(0, room - len(name) - 2)), "rows--dim")
    )


def detail_lines(record: EvalRecord, result: EvalResult, width: int) -> list[Content]:
    """A case in full: the question, the checks, and the answers side by side."""
    lines = [heading(clean_line(result.case)), *paragraph(clean(result.question), width, style="rows--name")]
    lines += paragraph(f"Checks: {clean_line('; '.join(result.checks))}", width, style="rows--dim")
    if result.earlier:
        lines += paragraph(f"Answered earlier: {clean(result.earlier)}", width, style="rows--dim")
    lines.append(Content(""))
    count = len(record.lanes)
    room = (width - 3 * (count - 1)) // count
    across = room >= LEAST_COLUMN
    columns = [_answer_lines(record, result, lane, room if across else width) for lane in range(count)]
    if not across:
        return [*lines, *(line for column in columns for line in (*column, Content("")))]
    body = columns[0]
    for number, column in enumerate(columns[1:], 1):
        body = beside(body, column, number * room + 3 * (number - 1))
    return [*lines, *body]


def _answer_lines(record: EvalRecord, result: EvalResult, lane: int, width: int) -> list[Content]:
    """The answers of one candidate."""
    samples = result.answers[lane]
    sign, style = SIGNS[result.passed(lane)]
    word = WORDS[result.passed(lane)] if samples else "not asked"
    lines = [
        styled((padded(record.names[lane], max(4, width - len(word) - 3)), "rows--name"), (f" {sign} {word}", style))
    ]
    for number, sample in enumerate(samples, 1):
        if len(samples) > 1:
            sign, style = SIGNS[sample.passed]
            lines.append(styled((f"{sign} sample {number} of {len(samples)}", style)))
        for problem in sample.problems:
            lines += paragraph(clean_line(problem), width, style="rows--error")
        text = Content(clean(answer_text(sample)))
        lines += wrap(text.stylize("rows--warning") if sample.error else text, width)
    return lines


def wrapped_text(text: str, width: int) -> list[Content]:
    """The text of a model in rows."""
    return wrap(Content(clean(text)), width) if text else []
