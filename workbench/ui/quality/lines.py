"""A measurement of quality as styled lines, without any widget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from workbench.core.units import UNKNOWN
from workbench.lab.bench.bench import time_text
from workbench.lab.quality.figures import Figures
from workbench.lab.quality.intervals import TOO_FEW, Interval
from workbench.lab.quality.job import QualitySeries
from workbench.lab.quality.record import QualityRecord, WorstPlace
from workbench.lab.quality.report import INTERVALS, LOWER_BOUND, sentence, short_labels
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.table import MOST_FLEXIBLE
from workbench.ui.kit.text import cut_line, padded, paragraph, styled

_KLD, _ENDS, _RATIO, _TOP = 10, 19, 10, 10
_LEAST_NAME = 16
"""Columns of a name that are worth more than the interval, which the details have too."""


@dataclass(frozen=True, slots=True)
class QualityRow:
    """A candidate at one depth."""

    label: str
    depth: int
    found: Figures | None = None
    """None before its first chunk."""
    worst: tuple[WorstPlace, ...] = ()
    in_turn: bool = False


def record_rows(records: Sequence[QualityRecord]) -> list[QualityRow]:
    """The rows of measurements that are done."""
    return [
        QualityRow(label, record.depth, found, candidate.worst, record.in_turn)
        for record in records
        for label, candidate, found in zip(
            short_labels(record)[1:], record.candidates, record.figures, strict=True
        )
    ]  # fmt: skip


def header(width: int) -> Content:
    """The names of the columns."""
    ends = f"  {'95 %':<{_ENDS}}" if _has_ends(width) else ""
    figures = f"{'mean KLD':>{_KLD}}{ends}{'PPL ratio':>{_RATIO}}{'same top':>{_TOP}}"
    return styled((f"{'':<{_room(width)}}{figures}", "rows--header"))


def row_line(row: QualityRow, width: int) -> Content:
    """One candidate with its figures."""
    depth = f" at {row.depth:,}" if row.depth else ""
    name = (padded(clean_line(row.label + depth), _room(width)), "rows--name")
    found = row.found
    if found is None:
        return styled(name, (f"{UNKNOWN:>{_KLD}}", "rows--dim"))
    kld = f"{'≥' if row.in_turn else ''}{found.mean_kld:.5f}"
    ratio, top = f"{found.ppl_ratio:.4f}", f"{100 * found.same_top:.1f} %"
    return styled(
        name,
        (f"{kld:>{_KLD}}", "rows--figure"),
        (f"  {_ends(found.kld_interval):<{_ENDS}}" if _has_ends(width) else "", "rows--dim"),
        (f"{ratio:>{_RATIO}}{top:>{_TOP}}", ""),
    )


def _room(width: int) -> int:
    ends = _ENDS + 2 if _has_ends(width) else 0
    return max(8, min(MOST_FLEXIBLE, width - _KLD - ends - _RATIO - _TOP))


def _has_ends(width: int) -> bool:
    return width >= _LEAST_NAME + _KLD + _ENDS + _RATIO + _TOP + 2


def _ends(interval: Interval | None) -> str:
    return UNKNOWN if interval is None else f"{interval[0]:.5f} to {interval[1]:.5f}"


def detail_lines(row: QualityRow, width: int) -> list[Content]:
    """The figures of one candidate in words, and its worst places."""
    found = row.found
    if found is None:
        return []
    lines = paragraph(clean_line(sentence(row.label, found)), width, style="rows--accent")
    more = (
        f"PPL {found.ppl:.4f} ± {found.ppl_error:.4f}  ·  KLD: median {found.percentile(50):.5f}, 99 % "
        f"{found.percentile(99):.4f}, largest {found.max_kld:.4f}  ·  Δp {100 * found.mean_dp:+.2f} %, RMS "
        f"{100 * found.rms_dp:.2f} %  ·  {found.scored:,} tokens scored"
    )
    lines += paragraph(more, width)
    lines += paragraph(INTERVALS if found.kld_interval else f"No interval yet: {TOO_FEW}.", width, style="rows--dim")
    if row.in_turn:
        lines += paragraph(LOWER_BOUND, width, style="rows--warning")
    if row.worst:
        lines += [Content(""), styled(("The largest divergences", "rows--name"))]
    for place in row.worst:
        words = f"{place.before[-40:]!r} → {place.written!r}"
        line = styled(
            (f"{place.kld:8.3f}  ", "rows--figure"),
            (clean_line(f"{words}; reference {place.reference!r}, candidate {place.candidate!r}"), ""),
        )
        lines.append(cut_line(line, width))
    return lines


def progress_line(series: QualitySeries, width: int) -> Content:
    """How far a measurement is."""
    progress = series.progress
    if progress is None:
        return styled(("preparing…", "rows--dim"))
    left = "" if progress.left_s is None else f", about {time_text(progress.left_s)} left"
    depth = f"depth {series.plan.depth:,}, " if len(series.plans) > 1 else ""
    line = bar(progress.fraction, max(8, min(24, width // 4)), "rows--good")
    return cut_line(line + styled((f" {progress.fraction:4.0%}  {depth}{clean_line(progress.phase)}{left}", "")), width)
