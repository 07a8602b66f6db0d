"""What is plotted of a measurement: curves with their points, computed without any widget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.core.bench import BenchResult, part_speeds
from workbench.core.sweep import SweepLevel
from workbench.lab.bench.record import BenchRecord, DuelRecord
from workbench.ui.bench.tables import labels_of

MOST_CURVES = 4
"""Curves in one plot: so many can be told apart."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points that belong together."""

    label: str
    points: tuple[tuple[float, float], ...]
    marked: tuple[int, ...] = ()
    """The points that something disturbed."""
    line: bool = True
    """Whether the points are joined."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot."""

    title: str
    across: str
    """What goes from left to right."""
    curves: tuple[Curve, ...]
    low: float
    high: float
    """The ends of the scale of the figures."""
    ticks: tuple[float, ...]
    """What is written below."""
    levels: tuple[tuple[float, str], ...] = ()
    """Lines across the whole plot: the figure, and the style."""
    left_out: int = 0
    """Curves for which there was no room."""


def plots_of(record: BenchRecord) -> tuple[Plot, ...]:
    """What is plotted of a measurement: at most two plots, which stand beside each other."""
    match record.kind:
        case "parallel":
            return _parallel(record.results)
        case "pairs":
            return tuple(_pairs(duel) for duel in record.duels if duel.pairs)[:2]
        case "felt":
            return _felt(record)
        case "sweep":
            return _sweep(record.sweep.levels if record.sweep else ())
    return _tests(record.results)


def ticks_between(low: float, high: float, count: int = 4) -> tuple[float, ...]:
    """Round figures from `low` to `high`, at most about `count`."""
    if not high > low:
        return (low,)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(number * step, 10) for number in range(first, last + 1))


def _plot(title: str, across: str, curves: Sequence[Curve], *, from_zero: bool = False) -> Plot | None:
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return None
    shown = curves[:MOST_CURVES]
    figures = [figure for curve in shown for _, figure in curve.points]
    low, high = min(figures), max(figures)
    # A scale that is as narrow as the noise makes every measurement look wild.
    room = max(high - low, abs(high) * 0.06) * 0.25
    low = 0.0 if from_zero else max(0.0, low - room)
    places = sorted({place for curve in shown for place, _ in curve.points})
    return Plot(
        title, across, tuple(shown), low, high + room, _thinned(places), left_out=len(curves) - len(shown)
    )  # fmt: skip


def _thinned(places: Sequence[float], most: int = 6) -> tuple[float, ...]:
    step = max(1, math.ceil(len(places) / most))
    return tuple(places[::step])


def _tests(results: Sequence[BenchResult]) -> tuple[Plot, ...]:
    groups: dict[str, list[tuple[str, BenchResult]]] = {}
    for label, result in zip(labels_of(results), results, strict=True):
        test = result.case.test
        name = "prefill" if not test.n_gen else "decode" if not test.n_prompt else "both"
        groups.setdefault(name, []).append((label, result))
    found = []
    for name, members in groups.items():
        depths = {result.case.test.n_depth for _, result in members}
        curves = _by_depth(members) if len(depths) > 1 else _by_repetition(members)
        across = "depth" if len(depths) > 1 else "repetition"
        found.append(_plot(f"{name}, tokens/s", across, curves, from_zero=len(depths) > 1))
    return tuple(plot for plot in found if plot is not None)[:2]


def _by_depth(members: Sequence[tuple[str, BenchResult]]) -> list[Curve]:
    curves: dict[str, list[tuple[float, float]]] = {}
    for label, result in members:
        depth = result.case.test.n_depth
        name = label.replace(f" @ d{depth}", "") if depth else label
        curves.setdefault(name, []).append((float(depth), result.avg_ts))
    return [Curve(name, tuple(sorted(points))) for name, points in curves.items()]


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
    whole: dict[str, list[tuple[float, float]]] = {}
    each: dict[str, list[tuple[float, float]]] = {}
    for label, result in zip(labels_of(results), results, strict=True):
        count = result.case.test.sequences
        _, gen = part_speeds(result.samples, result.case.test)
        if gen is not None:
            name = label.replace(f" x{count}", "") if count > 1 else label
            whole.setdefault(name, []).append((float(count), gen))
            each.setdefault(name, []).append((float(count), gen / count))
    plots = (
        _plot(
            title, "sequences", [Curve(name, tuple(sorted(points))) for name, points in found.items()], from_zero=True
        )
        for title, found in (("all sequences, tokens/s", whole), ("each sequence, tokens/s", each))
    )
    return tuple(plot for plot in plots if plot is not None)


def _felt(record: BenchRecord) -> tuple[Plot, ...]:
    several = len(record.felt) > 1
    found = []
    for title, name in (("to the first words, ms", "ttft_ms"), ("to the end, ms", "total_ms")):
        curves: dict[str, list[tuple[float, float]]] = {}
        for felt in record.felt:
            for result in felt.results:
                middle = result.times(name)[0]
                if middle is not None:
                    label = (felt.model if several else "p50") + (", again" if result.again else "")
                    curves.setdefault(label, []).append((float(result.n_prompt), middle))
        drawn = [Curve(label, tuple(sorted(points))) for label, points in curves.items()]
        found.append(_plot(title, "prompt tokens", drawn, from_zero=True))
    return tuple(plot for plot in found if plot is not None)


def _sweep(levels: Sequence[SweepLevel]) -> tuple[Plot, ...]:
    """Where all users together get no more, and what each of them waits for it."""
    waits = [
        _curve("p50", levels, [level.ttft_p50_ms for level in levels]),
        _curve("p95", levels, [level.ttft_p95_ms for level in levels]),
    ]
    speeds = [
        _curve("in all", levels, [level.tps_total for level in levels]),
        _curve("each", levels, [level.tps_per_user for level in levels]),
    ]
    plots = (
        _plot("to the first words, ms", "users", waits, from_zero=True),
        _plot("tokens/s", "users", speeds, from_zero=True),
    )
    return tuple(plot for plot in plots if plot is not None)


def _curve(label: str, levels: Sequence[SweepLevel], figures: Sequence[float | None]) -> Curve:
    known = [(level, figure) for level, figure in zip(levels, figures, strict=True) if figure is not None]
    known.sort(key=lambda each: each[0].concurrency)
    marked = tuple(number for number, (level, _) in enumerate(known) if level.failures)
    return Curve(label, tuple((float(level.concurrency), figure) for level, figure in known), marked)


def _pairs(duel: DuelRecord) -> Plot:
    """B to A, pair by pair, and the interval of what they come to."""
    points = []
    for number, pair in enumerate(duel.pairs, 1):
        a, b = (sorted(sample.time.ns for sample in side) for side in (pair.a, pair.b))
        # Both sides have one test of their own, so that the ratio is that of speeds, not of times.
        ratio = duel.b.test.tokens / duel.a.test.tokens * _middle(a) / _middle(b)
        points.append((float(number), 100 * (ratio - 1)))
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


def _middle(values: Sequence[int]) -> float:
    return (values[len(values) // 2] + values[(len(values) - 1) // 2]) / 2
