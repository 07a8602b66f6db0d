"""Speed and memory by context depth: decode, prefill and bytes from an empty context to the longest that fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import override

from workbench.core.bench import BenchCase, BenchMachine, BenchResult, BenchSettings, BenchTest, part_speeds
from workbench.core.errors import MemoryShortError
from workbench.core.load_settings import LoadSettings
from workbench.core.models import ModelEntry
from workbench.core.units import figure_text, size_text
from workbench.lab.bench.bench import Bench, BenchProgress
from workbench.lab.bench.report import build_line, markdown
from workbench.lab.tune.depth_plot import Strip, strip_rows
from workbench.lab.tune.goal import measured_settings
from workbench.lab.tune.job import TuningJob
from workbench.lab.tune.tune import TuneTools

PROMPT, ANSWER = 256, 16
"""Tokens that are timed at each depth."""
FIRST = 1024
"""The first depth beyond the empty context."""
MOST_DEPTHS = 8
REPETITIONS = 3
PLOT_WIDTH = 78


@dataclass(frozen=True, slots=True)
class DepthPlan:
    """A whole measurement."""

    model: ModelEntry
    today: LoadSettings
    caches: tuple[str, ...]
    """The cache types: `q8_0`, or `q8_0/f16` for K and V."""
    depths: tuple[int, ...] = ()
    """In tokens; empty for those from 0 to the longest that fits."""
    repetitions: int = REPETITIONS

    def load(self, cache: str) -> LoadSettings:
        """Today's settings with a cache type."""
        type_k, _, type_v = cache.partition("/")
        return replace(self.today, type_k=type_k, type_v=type_v or type_k)


@dataclass(frozen=True, slots=True)
class DepthPoint:
    """One depth with one cache type."""

    cache: str
    depth: int
    prefill_tps: float | None
    decode_tps: float | None
    memory_bytes: int | None
    """An estimate with a context as long as is needed there; None where it is unknown."""
    disturbed: int = 0
    """Repetitions that something disturbed."""


@dataclass(frozen=True, slots=True)
class DepthRecord:
    """The results so far."""

    model: str
    machine: BenchMachine | None = None
    points: tuple[DepthPoint, ...] = ()
    notes: tuple[str, ...] = ()


def cache_name(settings: LoadSettings | BenchSettings) -> str:
    """The types of the cache: `q8_0`, or `q8_0/f16` where K and V differ."""
    type_k, type_v = settings.type_k, settings.type_v
    return type_k if type_k == type_v else f"{type_k}/{type_v}"


def depths_to(longest: int) -> tuple[int, ...]:
    """From 0 to the longest in steps that double; at most `MOST_DEPTHS`."""
    steps = [longest]
    while len(steps) < MOST_DEPTHS - 1 and steps[-1] // 2 >= FIRST:
        steps.append(steps[-1] // 2)
    return tuple(dict.fromkeys([0, *reversed(steps)])) if longest > 0 else (0,)


class DepthJob(TuningJob):
    """One measurement at several depths."""

    def __init__(self, plan: DepthPlan, tools: TuneTools, on_change: Callable[[], None] = lambda: None) -> None:
        super().__init__(on_change)
        self.plan = plan
        self._tools = tools
        self._memory: dict[tuple[str, int], int | None] = {}
        self._bench: Bench | None = None
        self._machine: BenchMachine | None = None
        self._notes: list[str] = []

    @property
    def record(self) -> DepthRecord:
        """The results so far."""
        results = () if self._bench is None else tuple(self._bench.results)
        return DepthRecord(
            self.plan.model.label, self._machine, tuple(map(self._point, results)), tuple(dict.fromkeys(self._notes))
        )

    @override
    async def _work(self) -> None:
        self._machine = await self._tools.tune_bencher.machine()
        cases = [case for cache in self.plan.caches for case in await self._cases(cache)]
        with self._tools.watching(self._machine) as watch:
            bench = self._bench = Bench(self._tools.tune_bencher, cases, watch, repetitions=self.plan.repetitions)
            await bench.run(self._cancel, self._show, lambda _: self._on_change())
        self._notes += [error.message for error in bench.failures]
        if bench.failures and not bench.results:
            raise bench.failures[0]

    async def _cases(self, cache: str) -> list[BenchCase]:
        plan, load, adviser = self.plan, self.plan.load(cache), self._tools.adviser
        depths = plan.depths
        if not depths:
            known = await adviser.footprint(plan.model, load)
            longest = 0 if known is None else known.largest_ctx
            if known is not None and longest < PROMPT + ANSWER:
                raise MemoryShortError(
                    f"{plan.model.label} does not fit with a {cache} cache.",
                    "Name depths (--depth 0,1024), or free memory.",
                )
            depths = depths_to(max(0, longest - PROMPT - ANSWER))
        cases = []
        for depth in depths:
            test = BenchTest(PROMPT, ANSWER, depth)
            needs = await adviser.needs(plan.model, replace(load, num_ctx=test.context))
            if needs is not None and needs.refusal is not None:
                self._notes.append(f"{cache}: {needs.refusal.message}")
                return []
            total = None if needs is None else sum(each.total_bytes for each in needs.devices)
            self._memory[cache, depth] = total
            cases.append(BenchCase(plan.model.ref, measured_settings(load), test))
        return cases

    def _point(self, result: BenchResult) -> DepthPoint:
        cache, depth = cache_name(result.case.settings), result.case.test.n_depth
        prefill, decode = part_speeds(result.samples, result.case.test)
        return DepthPoint(cache, depth, prefill, decode, self._memory.get((cache, depth)), result.disturbed)

    def _show(self, progress: BenchProgress) -> None:
        self.progress = progress
        self._on_change()


def as_json(record: DepthRecord) -> dict[str, Any]:
    """The fields of `--json`. Speeds are in tokens/s."""
    names = ("cache", "depth", "prefill_tps", "decode_tps", "memory_bytes", "disturbed")
    return {
        "model": record.model,
        "points": [{name: getattr(point, name) for name in names} for point in record.points],
        "notes": list(record.notes),
        "build_commit": None if record.machine is None else record.machine.build_commit,
    }


def strips_of(record: DepthRecord) -> tuple[Strip, ...]:
    """The three strips of the plot, with a curve for each cache type."""
    caches = tuple(dict.fromkeys(point.cache for point in record.points))
    wanted: Sequence[tuple[str, Callable[[DepthPoint], float | None]]] = (
        ("decode t/s", lambda point: point.decode_tps),
        ("prefill t/s", lambda point: point.prefill_tps),
        ("GiB", lambda point: None if point.memory_bytes is None else point.memory_bytes / 2**30),
    )
    return tuple(
        Strip(
            title,
            tuple(
                (cache, tuple((point.depth, value) for point in record.points
                              if point.cache == cache and (value := figure(point)) is not None))
                for cache in caches
            ),
        )
        for title, figure in wanted
    )  # fmt: skip


def as_markdown(record: DepthRecord) -> str:
    """The measurement for people, as Markdown that a terminal can show."""
    rows = [
        (
            point.cache,
            f"{point.depth:,}",
            figure_text(point.prefill_tps, ".1f"),
            figure_text(point.decode_tps, ".2f") + " *" * bool(point.disturbed),
            size_text(point.memory_bytes),
        )
        for point in record.points
    ]
    lines = [f"# {record.model}: speed by depth", ""]
    lines += [markdown(("cache", "depth", "prefill t/s", "decode t/s", "memory"), rows), ""]
    plot = strip_rows(strips_of(record), PLOT_WIDTH)
    if plot:
        lines += ["```", *("".join(text for text, _ in row).rstrip() for row in plot), "```", ""]
    if any(point.disturbed for point in record.points):
        lines.append("* something disturbed some of its runs")
    lines += [*record.notes, "Memory is an estimate for a context of that length."]
    if record.machine is not None:
        lines.append(build_line(record.machine))
    return "\n".join(lines) + "\n"
