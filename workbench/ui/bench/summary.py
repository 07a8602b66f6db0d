"""Measurements in sentences: plans, verdicts with their intervals, progress, and the list of kept runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from textual.content import Content

from workbench.core.statistics import Comparison
from workbench.lab.bench.bench import BenchProgress, time_text
from workbench.lab.bench.foresight import Foresight
from workbench.lab.bench.grid import PlanError
from workbench.lab.bench.job import BenchJob
from workbench.lab.bench.pairs import DuelRecord
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.record import BenchRecord, Kind
from workbench.lab.bench.report import DIFFERENT_MACHINES, UNPAIRED, sweep_notes
from workbench.lab.bench.sweep import ENDINGS, SweepRecord
from workbench.ui.bench.fields import KIND_NAMES, KIND_WORDS, MORE_PAIRS, size_text
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import cut, padded, styled

_SPANS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Half the widths of the scale that an interval is drawn on."""


def verdict_lines(duels: Sequence[DuelRecord], width: int, added: int = 0) -> list[Content]:
    """The verdicts of comparisons: a sentence and an interval for each."""
    lines: list[Content] = []
    for duel in duels:
        found = duel.comparison
        style = {"faster": "rows--good", "slower": "rows--warning", "noisy": "rows--warning"}.get(found.verdict, "")
        label = f"{duel.a.test.label}  "
        lines += styled((label, "rows--dim"), (clean_line(found.sentence(*duel.names)), style)).wrap(max(20, width))
        lines += interval_lines(found, width)
        if duel.disturbed:
            text = f"{duel.disturbed} of {len(duel.pairs)} pairs were disturbed (*); they still count."
            lines.append(styled((cut(text, width), "rows--warning")))
        if duel.design == "blocks":
            text = "The two do not fit in memory together: each is loaded again for every pair."
            lines.append(styled((cut(text, width), "rows--dim")))
    if added and duels:
        text = f"{added} pairs were added after a look at the result, which can find differences that do not exist."
        lines += styled((text, "rows--dim")).wrap(max(20, width))
    return lines


def plan_lines(
    plan: BenchPlan | PlanError,
    kind: Kind,
    names: Mapping[str, str],
    width: int,
    foresight: Foresight,
) -> list[Content]:
    """What a kind of run measures, and the plan for it or why there is none; `names`: of the models, by reference."""
    lines = [styled((KIND_NAMES[kind], "rows--heading")), *styled((KIND_WORDS[kind], "rows--dim")).wrap(width)]
    lines.append(Content(""))
    if isinstance(plan, PlanError):
        return [*lines, *styled((clean_line(str(plan)), "rows--warning")).wrap(width)]
    command = shlex.join(("workbench", *plan.command))
    size = ", ".join(filter(None, (size_text(plan), foresight.words)))
    lines += [*styled((size, "rows--name")).wrap(width), *styled((clean_line(command), "rows--dim")).wrap(width)]
    lines += [row for text in foresight.doubts for row in styled((clean_line(text), "rows--warning")).wrap(width)]
    for ref, name in names.items():
        if words := plan.grid.own_words(ref):
            text = clean_line(f"The Modelfile of {name} sets {' '.join(words)}")
            lines += styled((text, "rows--warning")).wrap(width)
    return lines


def beside_lines(first: BenchRecord, second: BenchRecord, width: int, *, common: bool) -> list[Content]:
    """The heading of two runs beside each other, with warnings; `common`: whether they share a test."""
    lines = [
        styled((f"{name}  ", "rows--dim"), (record.id, "rows--name"), (f"  {clean_line(', '.join(record.models))}", ""))
        for name, record in (("first ", first), ("second", second))
    ]
    notes = [f"{UNPAIRED} A against B is fair."]
    if first.machine != second.machine:
        notes.insert(0, DIFFERENT_MACHINES)
    for note in notes if common else ["The two have no test in common."]:
        lines += styled((note, "rows--dim")).wrap(width)
    return lines


def sweep_lines(sweep: SweepRecord, width: int) -> list[Content]:
    """The server, why the sweep ended, and warnings about its figures."""
    lines = [styled((cut(clean_line(f"{sweep.target.name}  {sweep.label}"), max(20, width)), "rows--dim"))]
    notes = [(ENDINGS[sweep.ending], "rows--accent")] if sweep.ending else []
    notes += [(note, "rows--warning") for note in sweep_notes(sweep.levels, sweep.settings.n_gen)]
    for text, style in notes:
        lines += styled((clean_line(text), style)).wrap(max(20, width))
    return lines


def interval_lines(found: Comparison, width: int) -> list[Content]:
    """The interval of a comparison on a scale around no difference; an empty scale where there is none yet."""
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
        # An interval without "no difference" has another colour, and does not cross the mark.
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


def job_text(job: BenchJob | None, more_key: str) -> str:
    """How a measurement ended; empty while it runs."""
    record = job.record if job is not None and not job.running else None
    if job is None or record is None:
        return ""
    if record.is_empty:
        return "stopped" if job.stopped else "nothing could be measured"
    parts = ["stopped, results so far kept" if job.stopped else "done", f"kept as {record.id}"]
    if job.can_continue:
        parts.append(f"{more_key} adds {MORE_PAIRS} pairs")
    return " · ".join(parts)


def progress_line(progress: BenchProgress | None, width: int) -> Content:
    """The progress of a measurement: a bar, the phase, the repetition, and the time left."""
    if progress is None:
        return Content("")
    room = max(8, min(24, width // 4))
    step = f" {progress.step} of {progress.steps}" if progress.step else ""
    left = "" if progress.left_s is None else f", about {time_text(progress.left_s)} left"
    text = f"{progress.phase} {clean_line(progress.label)}{step}"
    line = bar(progress.fraction, room, "rows--bar") + styled((f" {progress.fraction:4.0%}  ", "rows--figure"))
    return line + styled((cut(text, max(8, width - room - 7 - len(left))), ""), (left, "rows--dim"))


def kept_row(record: BenchRecord, width: int, *, marked: bool) -> Content:
    """A run in the list of kept runs."""
    when = record.at.replace("T", " ").removesuffix("Z")[:16]
    models = ", ".join(record.models) or fmt.DASH
    stopped = "  stopped" if record.interrupted else ""
    tests = kept_figure(record)
    room = max(8, width - 2 - 18 - 11 - len(tests) - len(stopped) - 2)
    return styled(
        ("● " if marked else "  ", "rows--good"),
        (when.ljust(18), "rows--dim"),
        (("A / B" if record.kind == "pairs" else KIND_NAMES[record.kind].lower()).ljust(11), "rows--accent"),
        (padded(models, room), "rows--name"),
        (f"  {tests}", "rows--figure"),
        (stopped, "rows--warning"),
    )


VERDICTS: Mapping[str, str] = {"noisy": "too noisy", "few": "too few pairs", "equal": "no difference"}
"""Comparisons that found no difference, and so have no figure."""


def kept_figure(record: BenchRecord) -> str:
    """The most important figure of a run."""
    if record.duels:
        found = record.duels[-1].comparison
        return VERDICTS.get(found.verdict) or fmt.change(found.ratio - 1)
    if record.sweep is not None:
        best = max((level.tps_total or 0.0 for level in record.sweep.levels), default=0.0)
        return f"{fmt.rate(best)} tokens/s total" if best else ""
    if record.felt:
        results = record.felt[0].results
        return f"TTFT {fmt.milliseconds(results[0].times('ttft_ms')[0])}" if results else ""
    decode = [result for result in record.results if result.case.test.n_gen and not result.case.test.n_prompt]
    shown = decode or list(record.results)
    return f"{fmt.rate(max(result.avg_ts for result in shown))} tokens/s" if shown else ""
