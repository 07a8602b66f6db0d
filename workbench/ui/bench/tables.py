"""The results of a measurement as tables, computed without any widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Generic, TypeVar

from textual.content import Content

from workbench.core.bench import BenchModel, BenchResult, part_speeds
from workbench.core.errors import WorkbenchError
from workbench.core.origins import settings_text
from workbench.core.sweep import SweepLevel
from workbench.core.units import figure_text
from workbench.lab.bench.grid import differing_options
from workbench.lab.bench.latency import LatencyResult
from workbench.lab.bench.pairs import Pair
from workbench.lab.bench.plan import BenchPlan
from workbench.lab.bench.record import BenchRecord, Change
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.table import Column, Table
from workbench.ui.kit.text import SHORT_NAME, cut, cut_line, cut_path, styled

LOW_SHARE = 50.0
"""The share of the memory bandwidth, in per cent, below which something is probably wrong."""
LEAST_NAME = 16
"""Terminal columns that the first column keeps."""
_BAR = 12

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class BenchTable(Generic[Item]):
    """A table of results; failures stand at its end."""

    columns: Sequence[Column[Item]]
    items: Sequence[Item]
    about: Callable[[Item], str]
    """More about a row: its raw samples, and what disturbed them."""
    failures: Sequence[WorkbenchError] = ()
    coming: Sequence[str] = ()
    """The labels of what is still to be measured."""

    def __len__(self) -> int:
        return len(self.items) + len(self.failures) + len(self.coming)

    @property
    def newest(self) -> int:
        """The index of the last row that something is known about."""
        return max(0, len(self) - len(self.coming) - 1)

    @property
    def _layout(self) -> Table[Item]:
        return Table(self.columns, least_flexible=LEAST_NAME)

    def header(self, width: int) -> Content:
        return self._layout.header(width)

    def line(self, index: int, width: int) -> Content:
        if index < len(self.items):
            return self._layout.row(self.items[index], width)
        index -= len(self.items)
        if index < len(self.failures):
            line = styled((clean_line(f"✗ {self.failures[index].message}"), "rows--error"))
        else:
            line = styled((f"{clean_line(self.coming[index - len(self.failures)])}  is still to come", "rows--dim"))
        return cut_line(line, width)

    def detail(self, index: int) -> str:
        if index < len(self.items):
            return self.about(self.items[index])
        index -= len(self.items)
        return str(self.failures[index]) if index < len(self.failures) else ""


def table_of(
    record: BenchRecord, failures: Sequence[WorkbenchError] = (), plan: BenchPlan | None = None
) -> BenchTable[Any]:
    """The table of a measurement; with the `plan` of one that runs, with what is still to come."""
    makers: dict[str, Callable[[BenchRecord], _Parts[Any]]] = {
        "parallel": _parallel_table, "pairs": _pair_table, "felt": _latency_table, "sweep": _sweep_table,
    }  # fmt: skip
    columns, items, about = makers.get(record.kind, _test_table)(record)
    return BenchTable(columns, items, about, failures, coming_in(plan, record) if plan is not None else ())


def coming_in(plan: BenchPlan, record: BenchRecord) -> list[str]:
    """The labels of what a run has still to measure."""
    if plan.sweep is not None:
        done = len(record.sweep.levels) if record.sweep else 0
        return [f"{level} at a time" for level in plan.sweep.settings.levels[done:]]
    refs = list(dict.fromkeys(plan.grid.models))
    if plan.kind == "felt":
        again = ("", ", again") if plan.cache else ("",)
        prompts = [f"{length} tokens{more}" for length in plan.latency for more in again]
        done = sum(len(latency.results) for latency in record.felt)
        named = [f"{_file_of(ref)}  {prompt}" for ref in refs for prompt in prompts] if len(refs) > 1 else prompts
        return named[done:]
    if plan.pairs is not None:
        return [f"{case.test.label}: {plan.pairs} pairs" for case in plan.sides[0][len(record.duels) :]]
    cases = plan.grid.cases()
    done = max((cases.index(result.case) + 1 for result in record.results if result.case in cases), default=0)
    options = differing_options([case.settings for case in cases])
    return [
        "  ".join([*[_file_of(case.ref)] * (len(refs) > 1), case.test.label, *words])
        for case, words in list(zip(cases, options, strict=True))[done:]
    ]


def _file_of(ref: str) -> str:
    """What a model is called before it is open: the end of its file's name, which has the quantization."""
    return cut_path(PurePath(ref).name.removesuffix(".gguf"), SHORT_NAME)


Labelled = tuple[str, BenchResult]
_Parts = tuple[Sequence[Column[Item]], Sequence[Item], Callable[[Item], str]]
"""The columns of a table, its items, and what more there is about one."""


def labels_of(results: Sequence[BenchResult]) -> list[str]:
    """A label for each: its test, and the settings in which it differs from the others."""
    models = [result.model for result in results]
    differing = differing_options([result.case.settings for result in results])
    return [
        "  ".join(filter(None, [_told_apart(result.model, models), result.case.test.label, *options]))
        for result, options in zip(results, differing, strict=True)
    ]


def _told_apart(model: BenchModel, models: Sequence[BenchModel]) -> str:
    """What a model is called among others: its quantization where only that differs; nothing where it is the only."""
    if len({each.label for each in models}) == 1:
        return ""
    if model.quant and len({each.name for each in models}) == 1:
        return clean_line(model.quant)
    quant = f" {model.quant}" if model.quant else ""
    return f"{cut(model.name, SHORT_NAME - len(quant))}{clean_line(quant)}"


def _labelled(record: BenchRecord) -> list[Labelled]:
    return list(zip(labels_of(record.results), record.results, strict=True))


_TEST: Column[Labelled] = Column("Test", lambda item: item[0], style="rows--name")


def _count_cell(item: Labelled) -> Content:
    result = item[1]
    disturbed = f"{result.disturbed}*/" if result.disturbed else ""
    return styled((disturbed, "rows--warning"), (str(len(result.samples)), ""))


def _speed_cell(item: Labelled, speed: float | None, spread: str = "") -> Content:
    mark = " *" if item[1].disturbed else "  "
    return styled((fmt.rate(speed), "rows--figure"), (spread, "rows--dim"), (mark, "rows--warning"))


_COUNT: Column[Labelled] = Column("n", _count_cell, 5, right=True)


def samples_text(item: Labelled) -> str:
    """Every repetition, the disturbed ones marked, and what disturbed them."""
    result = item[1]
    speeds = " ".join(
        fmt.rate(speed) + ("*" if sample.disturbed else "")
        for speed, sample in zip(result.samples_ts, result.samples, strict=True)
    )
    reasons = dict.fromkeys(reason for sample in result.samples for reason in sample.disturbed)
    marks = f"  * {'; '.join(reasons)}" if reasons else ""
    unstable = f"  not stable after {result.warm_up_runs} warm-up runs" if result.stable is False else ""
    return f"{speeds}{marks}{unstable}"


def _test_table(record: BenchRecord) -> _Parts[Labelled]:
    def speed(item: Labelled) -> Content:
        return _speed_cell(item, item[1].avg_ts, f" ± {item[1].stddev_ts:.1f}")

    columns = [
        _TEST,
        Column("tokens/s", speed, 18, right=True),
        _COUNT,
        Column("of bandwidth", lambda item: _share_cell(item[1].roof_pct), _BAR + 6, right=True),
    ]
    if any(result.joules_per_token is not None for result in record.results):
        columns.append(Column("J/token", lambda item: figure_text(item[1].joules_per_token, ".2g"), 8, right=True))
    return columns, _labelled(record), samples_text


def _share_cell(share: float | None) -> Content:
    """A share of the memory bandwidth, in per cent, as a bar and a figure."""
    if share is None:
        return styled((fmt.DASH, "rows--dim"))
    low = share < LOW_SHARE
    line = bar(share / 100, _BAR, "rows--warning" if low else "rows--bar")
    return line + styled((f" {share:3.0f} %", "rows--warning" if low else ""))


def _parallel_table(record: BenchRecord) -> _Parts[Labelled]:
    def speeds(item: Labelled) -> tuple[float | None, float | None]:
        return part_speeds(item[1].samples, item[1].case.test)

    def each(item: Labelled) -> str:
        gen = speeds(item)[1]
        return fmt.rate(gen and gen / item[1].case.test.sequences)

    columns = [
        _TEST,
        Column("decode, all", lambda item: _speed_cell(item, speeds(item)[1]), 13, right=True),
        Column("each", each, 8, right=True),
        Column("prefill", lambda item: fmt.rate(speeds(item)[0]), 9, right=True),
        _COUNT,
    ]
    return columns, _labelled(record), samples_text


def _latency_table(record: BenchRecord) -> _Parts[tuple[str, LatencyResult, str]]:
    several = len(record.felt) > 1
    items = [
        (
            f"{latency.model}  " * several + f"{result.n_prompt} tokens" + ", again" * result.again,
            result,
            settings_text(latency.settings),
        )
        for latency in record.felt
        for result in latency.results
    ]

    def time(name: str, place: int) -> Callable[[tuple[str, LatencyResult, str]], str]:
        return lambda item: fmt.milliseconds(item[1].times(name)[place])

    def about(item: tuple[str, LatencyResult, str]) -> str:
        result = item[1]
        times = " ".join(fmt.milliseconds(answer.ttft_ms) for answer in result.answers)
        few = "" if result.times("ttft_ms")[1] is not None else "  A p95 needs 20 answers."
        prompt = figure_text(result.count("prompt_tokens"), ",.0f")
        return f"TTFT {times}; {prompt} prompt tokens.{few}  Sampling: {item[2] or 'the defaults'}."

    columns: list[Column[tuple[str, LatencyResult, str]]] = [
        Column("Prompt", lambda item: item[0], style="rows--name"),
        Column("TTFT", time("ttft_ms", 0), 11, right=True, style="rows--figure"),
        Column("p95", time("ttft_ms", 1), 8, right=True),
        Column("end", time("total_ms", 0), 8, right=True),
        Column("p95", time("total_ms", 1), 8, right=True),
        Column("cached", lambda item: figure_text(item[1].count("cached_tokens"), ",.0f"), 7, right=True),
        Column("n", lambda item: str(len(item[1].answers)), 4, right=True),
    ]
    return columns, items, about


def _sweep_table(record: BenchRecord) -> _Parts[SweepLevel]:
    def failed(level: SweepLevel) -> Content:
        return styled((str(level.failures), "rows--warning" if level.failures else "rows--dim"))

    columns: list[Column[SweepLevel]] = [
        Column("Users", lambda level: f"{level.concurrency} at a time", style="rows--name"),
        Column("all", lambda level: fmt.rate(level.tps_total), 8, right=True, style="rows--figure"),
        Column("each", lambda level: fmt.rate(level.tps_per_user) + " ~" * level.estimated, 8, right=True),
        Column("TTFT", lambda level: fmt.milliseconds(level.ttft_p50_ms), 11, right=True, style="rows--figure"),
        Column("p95", lambda level: fmt.milliseconds(level.ttft_p95_ms), 8, right=True),
        Column("failed", failed, 6, right=True),
        Column("n", lambda level: str(len(level.samples)), 4, right=True),
        Column("cached", lambda level: fmt.percent(level.cached_pct), 6, right=True),
    ]
    return columns, record.sweep.levels if record.sweep else (), _level_text


def _level_text(level: SweepLevel) -> str:
    read, written = (figure_text(level.middle(name), ",.0f") for name in ("prompt_tokens", "completion_tokens"))
    said = [f"median of {read} prompt tokens and {written} answer tokens"]
    if level.cost is not None:
        late = fmt.milliseconds(level.cost.lag_ns / 1e6)
        said.append(f"the client used {level.cost.cpu_pct:.0f} % of a core and was {late} late")
    said += [f"{count} failed: {error}" for error, count in level.errors.items()]
    return "; ".join(said)


_PairRow = tuple[str, Pair, tuple[float, float]]
"""A label, a pair, and the speeds of A and of B in tokens/s."""


def _pair_table(record: BenchRecord) -> _Parts[_PairRow]:
    several = len(record.duels) > 1
    rows = [
        (f"{duel.a.test.label}  " * several + str(number), pair, speeds)
        for duel in record.duels
        for number, (pair, speeds) in enumerate(zip(duel.pairs, duel.speeds, strict=True), 1)
    ]

    def name(row: _PairRow) -> Content:
        label, pair, _ = row
        mark, order = " *" * bool(pair.disturbed), "AB" if pair.first == "a" else "BA"
        return styled((clean_line(label), "rows--name"), (f"  {order}", "rows--dim"), (mark, "rows--warning"))

    def about(row: _PairRow) -> str:
        label, pair, _ = row
        reasons = f"disturbed: {'; '.join(pair.disturbed)}" if pair.disturbed else "not disturbed"
        return f"pair {label}, {pair.first.upper()} first, {reasons}"

    columns: list[Column[_PairRow]] = [
        Column("Pair", name),
        Column("A tokens/s", lambda row: fmt.rate(row[2][0]), 11, right=True),
        Column("B tokens/s", lambda row: fmt.rate(row[2][1]), 11, right=True),
        Column("B to A", lambda row: fmt.change(row[2][1] / row[2][0] - 1), 9, right=True, style="rows--figure"),
    ]
    return columns, rows, about


def change_table(changes: Sequence[Change], first: BenchRecord, second: BenchRecord) -> BenchTable[Change]:
    """Two runs beside each other."""
    columns: list[Column[Change]] = [
        Column("Test", lambda change: change.label, style="rows--name"),
        Column("first", lambda change: fmt.rate(change.first), 11, right=True),
        Column("second", lambda change: fmt.rate(change.second), 11, right=True),
        Column("change", lambda change: fmt.change(change.ratio - 1), 9, right=True, style="rows--figure"),
    ]
    return BenchTable(columns, changes, lambda _: f"first: {first.id}, second: {second.id}")
