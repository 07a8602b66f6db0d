"""The plots of a measurement: curves with their points, computed without any widget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from workbench.core.bench import BenchResult, part_speeds
from workbench.core.sweep import SweepLevel
from workbench.lab.bench.pairs import DuelRecord
from workbench.lab.bench.record import BenchRecord
from workbench.ui.bench.tables import labels_of

MOST_CURVES = 4
"""Curves in one plot, at most: more could not be distinguished."""
MARKS = "●◇■○"
"""The marks of the curves, which tell them apart without colours."""
DASHES: tuple[tuple[int, ...], ...] = ((), (4, 4), (1, 3), (6, 3, 1, 3))
"""Their lines: dots that are drawn and left out in turn; none is a solid line."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points that belong together."""

    label: str
    points: tuple[tuple[float, float], ...]
    marked: tuple[int, ...] = ()
    """The indexes of points that something disturbed."""
    line: bool = True
    """Whether the points are joined."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot."""

    title: str
    across: str
    """The quantity from left to right."""
    curves: tuple[Curve, ...]
    low: float
    high: float
    """The ends of the vertical scale."""
    ticks: tuple[float, ...]
    """The labels below."""
    levels: tuple[tuple[float, str], ...] = ()
    """Horizontal lines: the figure, and the style."""
    left_out: int = 0
    """The number of curves beyond `MOST_CURVES`."""


def plots_of(record: BenchRecord) -> tuple[Plot, ...]:
    """The plots of a measurement: at most two, side by side."""
    match record.kind:
        case "parallel":
            return _parallel(record.results)
        case "pairs":
            return tuple(_pairs(duel) for duel in record.duels if duel.pairs)[:2]
        case "felt":
            return _latency(record)
        case "sweep":
            return _sweep(record.sweep.levels if record.sweep else ())
    return _tests(record.results)


def _plot(title: str, across: str, curves: Sequence[Curve], *, from_zero: bool = True) -> tuple[Plot, ...]:
    """One plot; none where there are no points."""
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return ()
    shown = curves[:MOST_CURVES]
    figures = [figure for curve in shown for _, figure in curve.points]
    low, high = min(figures), max(figures)
    # On a scale as narrow as the noise, every measurement would look unstable.
    room = max(high - low, abs(high) * 0.06) * 0.25
    low = 0.0 if from_zero else max(0.0, low - room)
    ticks = _thinned(sorted({place for curve in shown for place, _ in curve.points}))
    return (Plot(title, across, tuple(shown), low, high + room, ticks, left_out=len(curves) - len(shown)),)


def _curves(points: Iterable[tuple[str, float, float]]) -> list[Curve]:
    """The curves of points, each a label, a place and a figure."""
    found: dict[str, list[tuple[float, float]]] = {}
    for label, place, figure in points:
        found.setdefault(label, []).append((place, figure))
    return [Curve(label, tuple(sorted(members))) for label, members in found.items()]


def dashed(
    points: Sequence[tuple[float, float]], dashes: Sequence[int], dot: tuple[float, float]
) -> list[tuple[float, float]]:
    """The dots of a dashed line through `points`; `dot` is the width and the height of one."""
    drawn = [on for number, length in enumerate(dashes) for on in [not number % 2] * length]
    found: list[tuple[float, float]] = []
    at = 0
    for (x, y), (to_x, to_y) in pairwise(points):
        steps = max(1, math.ceil(max(abs(to_x - x) / dot[0], abs(to_y - y) / dot[1])))
        for step in range(steps):
            if drawn[at % len(drawn)]:
                found.append((x + (to_x - x) * step / steps, y + (to_y - y) * step / steps))
            at += 1
    return found


def _thinned(places: Sequence[float]) -> tuple[float, ...]:
    """At most six of these places."""
    return tuple(places[:: max(1, math.ceil(len(places) / 6))])


def _tests(results: Sequence[BenchResult]) -> tuple[Plot, ...]:
    groups: dict[str, list[tuple[str, BenchResult]]] = {}
    for label, result in zip(labels_of(results), results, strict=True):
        test = result.case.test
        name = "prefill" if not test.n_gen else "decode" if not test.n_prompt else "both"
        groups.setdefault(name, []).append((label, result))
    found: tuple[Plot, ...] = ()
    for name, members in groups.items():
        depths = [(label, result.case.test.n_depth, result.avg_ts) for label, result in members]
        if len({depth for _, depth, _ in depths}) > 1:
            curves = _curves((label.replace(f" @ d{depth}", ""), float(depth), speed) for label, depth, speed in depths)
            found += _plot(f"{name}, tokens/s", "depth", curves)
        else:
            found += _plot(f"{name}, tokens/s", "repetition", _by_repetition(members), from_zero=False)
    return found[:2]


def _by_repetition(members: Sequence[tuple[str, BenchResult]]) -> list[Curve]:
    return [
        Curve(
            label,
            tuple((float(number), speed) for number, speed in enumerate(result.samples_ts, 1)),
            tuple(number for number, sample in enumerate(result.samples) if sample.disturbed),
        )
        for label, result in members
    ]


def _parallel(results: Sequence[BenchResult]) -> tuple[Plot, ...]:
    points = []
    for label, result in zip(labels_of(results), results, strict=True):
        count = result.case.test.sequences
        _, gen = part_speeds(result.samples, result.case.test)
        if gen is not None:
            points.append((label.replace(f" x{count}", ""), float(count), gen))
    each = _curves((name, count, gen / count) for name, count, gen in points)
    whole = _plot("all sequences, tokens/s", "sequences", _curves(points))
    return whole + _plot("each sequence, tokens/s", "sequences", each)


def _latency(record: BenchRecord) -> tuple[Plot, ...]:
    several = len(record.felt) > 1

    def curves(name: str) -> list[Curve]:
        return _curves(
            ((latency.model if several else "p50") + ", again" * result.again, float(result.n_prompt), median)
            for latency in record.felt
            for result in latency.results
            if (median := result.times(name)[0]) is not None
        )

    first = _plot("TTFT, ms", "prompt tokens", curves("ttft_ms"))
    return first + _plot("to the end, ms", "prompt tokens", curves("total_ms"))


def _sweep(levels: Sequence[SweepLevel]) -> tuple[Plot, ...]:
    """The time to the first token and the speed, by the number of users."""

    def curve(label: str, name: str) -> Curve:
        known = [(level, getattr(level, name)) for level in levels if getattr(level, name) is not None]
        known.sort(key=lambda each: each[0].concurrency)
        marked = tuple(number for number, (level, _) in enumerate(known) if level.failures)
        return Curve(label, tuple((float(level.concurrency), figure) for level, figure in known), marked)

    waits = _plot("TTFT, ms", "users", [curve("p50", "ttft_p50_ms"), curve("p95", "ttft_p95_ms")])
    return waits + _plot("tokens/s", "users", [curve("all", "tps_total"), curve("each", "tps_per_user")])


def _pairs(duel: DuelRecord) -> Plot:
    """The ratio of B's speed to A's in each pair, and the interval of all."""
    points = [(float(number), 100 * (b / a - 1)) for number, (a, b) in enumerate(duel.speeds, 1)]
    found = duel.comparison
    levels = [(0.0, "zero")]
    levels += [(100 * (end - 1), "end") for end in (found.low, found.high) if end is not None]
    figures = [figure for _, figure in points] + [figure for figure, _ in levels]
    room = max(max(figures) - min(figures), 1.0) * 0.15
    marked = tuple(number for number, pair in enumerate(duel.pairs) if pair.disturbed)
    return Plot(
        title=f"{duel.a.test.label}, B to A in %",
        across="pair",
        curves=(Curve("pairs", tuple(points), marked, line=False),),
        low=min(figures) - room,
        high=max(figures) + room,
        ticks=_thinned([place for place, _ in points]),
        levels=tuple(levels),
    )
