"""A tuning and its depths as styled lines, without any widget."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from workbench.lab.bench.bench import BenchProgress, time_text
from workbench.lab.canvas import Part
from workbench.lab.tune.depth import DepthRecord, strips_of
from workbench.lab.tune.depth_plot import STRIP_HEIGHT, strip_rows
from workbench.lab.tune.judgement_record import COLUMNS as PAIR_COLUMNS
from workbench.lab.tune.judgement_record import JudgedPair, JudgementRecord, pair_cells
from workbench.lab.tune.record import TuneRecord, trial_cells
from workbench.lab.tune.trials import Trial
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, padded, paragraph, styled

VERDICT_STYLES = {
    "better": "rows--good", "already best": "rows--good", "noisy": "rows--warning", "unproved": "rows--accent",
    "on": "rows--good", "off": "rows--good",
}  # fmt: skip
_WIDTHS = (10, 10, 5)
"""Columns of the speed, its ratio to today's, and the runs."""
_NOTE = 30
"""The least columns of a reason; a narrower screen leaves it out where nothing failed."""


def answer_lines(record: TuneRecord | JudgementRecord, keep_key: str, width: int) -> list[Content]:
    """What was found, and the key that keeps it."""
    lines = paragraph(clean_line(record.state), width, style=VERDICT_STYLES[record.verdict])
    if record.values:
        values = ", ".join(f"{name} {value}" for name, value in record.values.items())
        lines.append(
            styled((keep_key, "rows--figure"), (cut(f" keeps {values} for this model", width - 8), "rows--dim"))
        )
    return lines


def _widths(width: int) -> tuple[int, int]:
    """The columns of the name, and of the reason."""
    room = width - sum(_WIDTHS) - len(_WIDTHS) - 1
    note = min(_NOTE, room // 3) if room >= 2 * _NOTE else 0
    return max(12, room - note), note


def header_line(width: int) -> Content:
    """The headings of the trials."""
    name, _ = _widths(width)
    cells = [
        padded(text, size, right=True) for text, size in zip(("tokens/s", "to today's", "runs"), _WIDTHS, strict=True)
    ]
    return styled((" ".join([padded("what was tried", name), *cells]), "rows--header"))


def trial_line(trial: Trial, *, is_best: bool, width: int) -> Content:
    """A way that was tried. Where it did not run, the reason stands in place of its figures."""
    name, *figures, reason = trial_cells(trial)
    room, note = _widths(width)
    if not trial.runs and reason:
        least = min(len(name), width // 2)
        return styled(
            (padded(cut(name, least), least), "rows--dim"), (f"  {cut(reason, width - least - 2)}", "rows--warning")
        )
    style = "rows--figure" if is_best else "rows--name" if trial.state == "today" else ""
    cells = " ".join(padded(text, size, right=True) for text, size in zip(figures, _WIDTHS, strict=True))
    parts = [(padded(cut(name, room), room), style), (f" {cells}", "rows--figure" if is_best else "")]
    if reason and note:
        parts.append((f" {cut(reason, note)}", "rows--warning" if trial.state == "failed" else "rows--dim"))
    return styled(*parts)


_PAIR_WIDTHS = (8, 12, 7, 13, 7)


def pair_line(pair: tuple[int, JudgedPair] | None, width: int) -> Content:
    """A prompt that was answered with drafts and without, after its number; None for the headings."""
    name, *figures = PAIR_COLUMNS if pair is None else pair_cells(*pair)
    room = max(12, width - sum(_PAIR_WIDTHS) - len(_PAIR_WIDTHS))
    cells = [padded(text, size, right=True) for text, size in zip(figures, _PAIR_WIDTHS, strict=True)]
    text = " ".join([padded(cut(clean_line(name), room), room), *cells])
    return styled((text, "rows--header" if pair is None else ""))


def progress_line(progress: BenchProgress, width: int) -> Content:
    """How far it is, and how much time is left."""
    left = "" if progress.left_s is None else f", about {time_text(progress.left_s)} left"
    return styled((cut(f"{progress.fraction:4.0%}  {progress.label}{left}", width), "rows--accent"))


def depth_rows(record: DepthRecord, width: int, height: int) -> Sequence[Sequence[Part]]:
    """The plot of a depth measurement."""
    return strip_rows(strips_of(record), width, min(2 * STRIP_HEIGHT, (height - 3) // 3))


def ordered(record: TuneRecord) -> Sequence[Trial]:
    """The trials: today's, then the others from the fastest to those that could not be run."""
    first = [trial for trial in record.trials if trial.state == "today"]
    others = [trial for trial in record.trials if trial.state != "today"]
    return [*first, *sorted(others, key=lambda trial: -(trial.ratio or 0.0))]
