"""What is said of measurements: verdicts and intervals, progress, and the runs that are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

from textual.content import Content

from workbench.core.statistics import Comparison
from workbench.lab.bench.bench import BenchProgress
from workbench.lab.bench.record import BenchRecord, DuelRecord, SweepRecord
from workbench.lab.bench.report import sweep_notes
from workbench.lab.bench.sweep import ENDINGS
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, padded, styled

_SPANS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Half the widths of the scale that an interval is drawn on."""


def verdict_lines(duels: Sequence[DuelRecord], width: int, added: int = 0) -> list[Content]:
    """What comparisons came to: a sentence and an interval for each."""
    lines: list[Content] = []
    for duel in duels:
        found = duel.comparison
        style = {"faster": "rows--good", "slower": "rows--warning", "noisy": "rows--warning"}.get(found.verdict, "")
        label = f"{duel.a.test.label}  "
        lines += styled((label, "rows--dim"), (clean_line(found.sentence(*duel.names)), style)).wrap(max(20, width))
        lines += interval_lines(found, width)
        if duel.disturbed:
            text = f"{duel.disturbed} of {len(duel.pairs)} pairs were disturbed (*); they count all the same."
            lines.append(styled((cut(text, width), "rows--warning")))
        if duel.design == "blocks":
            text = "Not both fit in memory: each is loaded anew for every pair."
            lines.append(styled((cut(text, width), "rows--dim")))
    if added and duels:
        text = f"{added} pairs were added after a look: who adds until the result pleases finds what is not there."
        lines += styled((text, "rows--dim")).wrap(max(20, width))
    return lines


def sweep_lines(sweep: SweepRecord, width: int) -> list[Content]:
    """Who was asked, why it ended, and what a reader of the figures ought to know."""
    target = sweep.target
    version = f" {target.version}" if target.version else ""
    lines = [styled((cut(clean_line(f"{target.kind}{version}  {sweep.label}"), max(20, width)), "rows--dim"))]
    notes = [(ENDINGS[sweep.ending], "rows--accent")] if sweep.ending else []
    notes += [(note, "rows--warning") for note in sweep_notes(sweep.levels, sweep.settings.n_gen)]
    for text, style in notes:
        lines += styled((clean_line(text), style)).wrap(max(20, width))
    return lines


def interval_lines(found: Comparison, width: int) -> list[Content]:
    """The interval of a comparison on a scale around no difference; where there is none yet, an empty scale."""
    width = max(24, width)
    reach = max(abs(found.ratio - 1), found.bound or 0.0)
    span = next((span for span in _SPANS if span >= reach * 1.05), max(_SPANS[-1], reach * 1.05))
    middle = (width - 1) // 2

    def place(ratio: float) -> int:
        return max(0, min(width - 1, middle + round((ratio - 1) / span * middle)))

    drawn = ["─"] * width
    styles = ["rows--track"] * width
    drawn[middle] = "┼"
    if found.low is not None and found.high is not None:
        low, high = place(found.low), place(found.high)
        # The interval that does not hold "no difference" is drawn in another colour, and does not cross the mark.
        style = "rows--warning" if low <= middle <= high else "rows--good"
        for column in range(low, high + 1):
            drawn[column], styles[column] = ("╋" if column == middle else "━"), style
    point = place(found.ratio)
    drawn[point], styles[point] = "●", "rows--figure"
    line = styled(*zip(drawn, styles, strict=True))
    left, right = fmt.change(-span).replace(".0 ", " "), fmt.change(span).replace(".0 ", " ")
    gap = middle - len(left)
    ends = f"{left}{' ' * gap}0{' ' * max(1, width - len(left) - gap - 1 - len(right))}{right}"
    return [line, styled((ends, "rows--dim"))]


def time_text(seconds: float) -> str:
    """A time that is still to come."""
    whole = max(0, math.ceil(seconds))
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60} s"


def progress_line(progress: BenchProgress, width: int) -> Content:
    """How far a measurement is: a bar, the phase, the repetition, and the time left."""
    room = max(8, min(24, width // 4))
    step = f" {progress.step} of {progress.steps}" if progress.step else ""
    left = "" if progress.left_s is None else f", about {time_text(progress.left_s)} left"
    text = f"{progress.phase} {clean_line(progress.label)}{step}"
    line = bar(progress.fraction, room, "rows--bar") + styled((f" {progress.fraction:4.0%}  ", "rows--figure"))
    return line + styled((cut(text, max(8, width - room - 7 - len(left))), ""), (left, "rows--dim"))


def kept_row(record: BenchRecord, width: int, *, marked: bool) -> Content:
    """A run in the list of those that are kept."""
    when = record.at.replace("T", " ").removesuffix("Z")[:16]
    kind = {"tests": "tests", "pairs": "A / B", "parallel": "sequences", "felt": "as felt", "sweep": "under load"}[
        record.kind
    ]
    models = ", ".join(record.models) or fmt.DASH
    stopped = "  stopped" if record.interrupted else ""
    tests = kept_figure(record)
    room = max(8, width - 2 - 18 - 11 - len(tests) - len(stopped) - 2)
    return styled(
        ("● " if marked else "  ", "rows--good"),
        (when.ljust(18), "rows--dim"),
        (kind.ljust(11), "rows--accent"),
        (padded(models, room), "rows--name"),
        (f"  {tests}", "rows--figure"),
        (stopped, "rows--warning"),
    )


def kept_figure(record: BenchRecord) -> str:
    """The one figure of a run that says most."""
    if record.duels:
        return fmt.change(record.duels[-1].comparison.ratio - 1)
    if record.sweep is not None:
        best = max((level.tps_total or 0.0 for level in record.sweep.levels), default=0.0)
        return f"{fmt.rate(best)} tokens/s in all" if best else ""
    if record.felt:
        felt = record.felt[0]
        return f"{fmt.milliseconds(felt.results[0].times('ttft_ms')[0])} to the first words" if felt.results else ""
    written = [result for result in record.results if result.case.test.n_gen and not result.case.test.n_prompt]
    shown = written or list(record.results)
    return f"{fmt.rate(max(result.avg_ts for result in shown))} tokens/s" if shown else ""
