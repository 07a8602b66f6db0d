"""Measurements as tables of styled cells, computed without any widget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from workbench.core.bench import BenchCase, BenchResult, part_speeds
from workbench.core.errors import WorkbenchError
from workbench.core.sweep import SweepLevel
from workbench.lab.bench.grid import OPTIONS
from workbench.lab.bench.pairs import Pair
from workbench.lab.bench.record import BenchRecord, Change, DuelRecord
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar
from workbench.ui.kit.sanitize import clean_line
from workbench.ui.kit.text import padded, styled

LOW_SHARE = 50.0
"""A share of the memory bandwidth, in per cent, under which something is probably wrong."""
_SETTINGS = {field: option for option, field in OPTIONS.items() if option not in ("-p", "-n", "-d", "--parallel")}
_BAR = 12


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    width: int
    """0 is what the others leave."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table."""

    cells: tuple[Content, ...]
    """One for each column, or one that has the whole row."""
    detail: str = ""
    """What is said when it is in hand: its raw samples, and what disturbed them."""


@dataclass(frozen=True, slots=True)
class Table:
    """What came of a measurement."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def _widths(self, width: int) -> list[int]:
        """The width of each column that there is room for; the last ones are left out."""
        columns = list(self.columns)
        least = 16
        while len(columns) > 2 and sum(column.width + 2 for column in columns) + least > width:
            columns.pop()
        rest = max(8, width - sum(column.width + 2 for column in columns if column.width))
        return [column.width or rest for column in columns]

    def header(self, width: int) -> Content:
        """The names of the columns."""
        parts = [
            (padded(column.title, room, right=bool(number)), "rows--header")
            for number, (column, room) in enumerate(zip(self.columns, self._widths(width), strict=False))
        ]
        return _joined([styled(part) for part in parts])

    def line(self, index: int, width: int) -> Content:
        """One row."""
        row = self.rows[index]
        if len(row.cells) == 1:
            return row.cells[0] if row.cells[0].cell_length <= width else row.cells[0][: width - 1] + Content("…")
        cells = []
        for number, (cell, room) in enumerate(zip(row.cells, self._widths(width), strict=False)):
            shown = cell if cell.cell_length <= room else cell[: max(0, room - 1)] + Content("…")
            fill = Content(" " * max(0, room - shown.cell_length))
            cells.append(fill + shown if number else shown + fill)
        return _joined(cells)


def _joined(cells: Sequence[Content]) -> Content:
    line = Content("")
    for number, cell in enumerate(cells):
        line = line + Content("  " if number else "") + cell
    return line


def _cell(text: str, style: str = "") -> Content:
    return styled((clean_line(text), style))


# What came of it


def table_of(record: BenchRecord, failures: Sequence[WorkbenchError] = ()) -> Table:
    """A measurement as a table, what failed at its end."""
    match record.kind:
        case "parallel":
            table = _parallel_table(record)
        case "pairs":
            table = _pair_table(record)
        case "felt":
            table = _latency_table(record)
        case "sweep":
            table = _sweep_table(record)
        case _:
            table = _test_table(record)
    failed = tuple(
        Row((_cell(f"✗ {error.message}", "rows--error"),), f"{error.message} {error.hint}".strip())
        for error in failures
    )
    return Table(table.columns, table.rows + failed)


def labels_of(results: Sequence[BenchResult]) -> list[str]:
    """What each is called: its test, and whatever tells it from the others."""
    several = len({result.model.label for result in results}) > 1
    differing = [
        name for name in _SETTINGS if len({getattr(result.case.settings, name) for result in results}) > 1
    ]  # fmt: skip
    found = []
    for result in results:
        case: BenchCase = result.case
        parts = [result.model.label] if several else []
        parts.append(case.test.label)
        parts += [f"{_SETTINGS[name]} {getattr(case.settings, name)}" for name in differing]
        found.append("  ".join(parts))
    return found


def sample_text(result: BenchResult) -> str:
    """Every repetition, the disturbed ones marked, and what disturbed them."""
    speeds = " ".join(
        fmt.rate(speed) + ("*" if sample.disturbed else "")
        for speed, sample in zip(result.samples_ts, result.samples, strict=True)
    )
    reasons = dict.fromkeys(reason for sample in result.samples for reason in sample.disturbed)
    marks = f"  * {'; '.join(reasons)}" if reasons else ""
    unsteady = f"  not steady after {result.warm_up_runs} warm-up runs" if result.stable is False else ""
    return f"{speeds}{marks}{unsteady}"


def _speed_cell(result: BenchResult) -> Content:
    mark = " *" if result.disturbed else "  "
    return styled(
        (fmt.rate(result.avg_ts), "rows--figure"), (f" ± {result.stddev_ts:.1f}", "rows--dim"), (mark, "rows--warning")
    )


def _share_cell(share: float | None) -> Content:
    if share is None:
        return _cell(fmt.DASH, "rows--dim")
    low = share < LOW_SHARE
    line = bar(share / 100, _BAR, "rows--warning" if low else "rows--bar")
    return line + styled((f" {share:3.0f} %", "rows--warning" if low else ""))


def _count_cell(result: BenchResult) -> Content:
    disturbed = f"{result.disturbed}*/" if result.disturbed else ""
    return styled((disturbed, "rows--warning"), (str(len(result.samples)), ""))


def _joules(result: BenchResult) -> str:
    return fmt.DASH if result.joules_per_token is None else f"{result.joules_per_token:.2g}"


def _test_table(record: BenchRecord) -> Table:
    results = record.results
    counted = any(result.joules_per_token is not None for result in results)
    columns = (
        *(Column("Test", 0), Column("tokens/s", 18), Column("n", 5), Column("of memory speed", _BAR + 6)),
        *((Column("J/token", 8),) if counted else ()),
    )
    rows = tuple(
        Row(
            (
                _cell(label, "rows--name"),
                _speed_cell(result),
                _count_cell(result),
                _share_cell(result.roof_pct),
                *((_cell(_joules(result)),) if counted else ()),
            ),
            sample_text(result),
        )
        for label, result in zip(labels_of(results), results, strict=True)
    )
    return Table(columns, rows)


def _parallel_table(record: BenchRecord) -> Table:
    results = record.results
    columns = (Column("Test", 0), Column("written, all", 13), Column("each", 8), Column("prompts", 9), Column("n", 5))
    rows = []
    for label, result in zip(labels_of(results), results, strict=True):
        prompt, gen = part_speeds(result.samples, result.case.test)
        each = None if gen is None else gen / result.case.test.sequences
        mark = " *" if result.disturbed else "  "
        cells = (
            _cell(label, "rows--name"),
            styled((fmt.rate(gen), "rows--figure"), (mark, "rows--warning")),
            _cell(fmt.rate(each)),
            _cell(fmt.rate(prompt)),
            _count_cell(result),
        )
        rows.append(Row(cells, sample_text(result)))
    return Table(columns, tuple(rows))


def _latency_table(record: BenchRecord) -> Table:
    columns = (
        Column("Prompt", 0), Column("first words", 11), Column("p95", 8), Column("end", 8), Column("p95", 8),
        Column("cached", 7), Column("n", 4),
    )  # fmt: skip
    several = len(record.felt) > 1
    rows = []
    for felt in record.felt:
        for result in felt.results:
            ttft, total = result.times("ttft_ms"), result.times("total_ms")
            name = (f"{felt.model}  " if several else "") + f"{result.n_prompt} tokens"
            cells = (
                _cell(name + (", again" if result.again else ""), "rows--name"),
                _cell(fmt.milliseconds(ttft[0]), "rows--figure"),
                _cell(fmt.milliseconds(ttft[1])),
                _cell(fmt.milliseconds(total[0])),
                _cell(fmt.milliseconds(total[1])),
                _cell(_whole(result.count("cached_tokens"))),
                _cell(str(len(result.answers))),
            )
            times = " ".join(fmt.milliseconds(answer.ttft_ms) for answer in result.answers)
            few = "" if ttft[1] is not None else "  A p95 needs 20 answers."
            read = f"{_whole(result.count('prompt_tokens'))} prompt tokens"
            rows.append(Row(cells, f"first words after {times}; {read}.{few}"))
    return Table(columns, tuple(rows))


def _sweep_table(record: BenchRecord) -> Table:
    columns = (
        Column("Users", 0), Column("in all", 8), Column("each", 8), Column("first words", 11), Column("p95", 8),
        Column("failed", 6), Column("n", 4), Column("cached", 6),
    )  # fmt: skip
    return Table(columns, tuple(map(_level_row, record.sweep.levels if record.sweep else ())))


def _level_row(level: SweepLevel) -> Row:
    failed = _cell(str(level.failures), "rows--warning" if level.failures else "rows--dim")
    guessed = " ~" if level.estimated else ""
    cells = (
        _cell(f"{level.concurrency} at a time", "rows--name"),
        _cell(fmt.rate(level.tps_total), "rows--figure"),
        _cell(fmt.rate(level.tps_per_user) + guessed),
        _cell(fmt.milliseconds(level.ttft_p50_ms), "rows--figure"),
        _cell(fmt.milliseconds(level.ttft_p95_ms)),
        failed,
        _cell(str(len(level.samples))),
        _cell(fmt.DASH if level.cached_pct is None else f"{level.cached_pct:.0f} %"),
    )
    said = [
        f"by the median {_whole(level.middle('prompt_tokens'))} prompt tokens, "
        f"{_whole(level.middle('completion_tokens'))} written"
    ]
    if level.cost is not None:
        late = fmt.milliseconds(level.cost.lag_ns / 1e6)
        said.append(f"the client took {level.cost.cpu_pct:.0f} % of a core and was {late} late")
    said += [f"{count} failed: {error}" for error, count in level.errors.items()]
    return Row(cells, "; ".join(said))


def _whole(value: float | None) -> str:
    return fmt.DASH if value is None else f"{value:,.0f}"


def _pair_table(record: BenchRecord) -> Table:
    columns = (Column("Pair", 0), Column("A tokens/s", 11), Column("B tokens/s", 11), Column("B to A", 9))
    several = len(record.duels) > 1
    rows = []
    for duel in record.duels:
        for number, pair in enumerate(duel.pairs, 1):
            a, b = (_pair_speed(pair, duel, side) for side in ("a", "b"))
            name = f"{duel.a.test.label}  " if several else ""
            mark = " *" if pair.disturbed else ""
            order = "AB" if pair.first == "a" else "BA"
            cells = (
                styled((f"{name}{number}", "rows--name"), (f"  {order}", "rows--dim"), (mark, "rows--warning")),
                _cell(fmt.rate(a)),
                _cell(fmt.rate(b)),
                _cell(fmt.change(b / a - 1), "rows--figure"),
            )
            reasons = f"disturbed: {'; '.join(pair.disturbed)}" if pair.disturbed else "not disturbed"
            rows.append(Row(cells, f"pair {number}, {'A' if pair.first == 'a' else 'B'} first, {reasons}"))
    return Table(columns, tuple(rows))


def _pair_speed(pair: Pair, duel: DuelRecord, side: str) -> float:
    samples = pair.a if side == "a" else pair.b
    case = duel.a if side == "a" else duel.b
    times = sorted(sample.time.ns for sample in samples)
    # Of a block the middle run counts, as in the comparison.
    middle = (times[len(times) // 2] + times[(len(times) - 1) // 2]) / 2
    return case.test.tokens * 1e9 / middle


# Two runs beside each other


def change_table(changes: Sequence[Change], first: BenchRecord, second: BenchRecord) -> Table:
    """Two runs beside each other."""
    columns = (Column("Test", 0), Column("first", 11), Column("second", 11), Column("change", 9))
    rows = tuple(
        Row(
            (
                _cell(change.label, "rows--name"),
                _cell(fmt.rate(change.first)),
                _cell(fmt.rate(change.second)),
                _cell(fmt.change(change.ratio - 1), "rows--figure"),
            ),
            f"first: {first.id}, second: {second.id}",
        )
        for change in changes
    )
    return Table(columns, rows)


def change_notes(first: BenchRecord, second: BenchRecord) -> list[str]:
    """What has to be said of two runs beside each other."""
    notes = ["Two runs at different times: what the machine did in between is in the change. A against B is fair."]
    if first.machine != second.machine:
        notes.insert(0, "The two ran on another machine or another build.")
    return notes
