"""Results of the bench as rows, lines and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.bench.fake_bencher import MACHINE, model_of
from tests.ui.bench.drive import record, result
from tests.ui.bench.test_fields import SERVER
from workbench.core.bench import BenchTest, RunTime, Sample
from workbench.core.statistics import compare
from workbench.core.sweep import LoadSample, LoadTarget, SweepLevel, SweepSettings
from workbench.core.units import ticks_between
from workbench.lab.bench.bench import BenchProgress, time_text
from workbench.lab.bench.pairs import DuelRecord, Pair
from workbench.lab.bench.record import BenchRecord
from workbench.lab.bench.sweep import SweepRecord
from workbench.ui.bench.curves import DASHES, dashed, plots_of
from workbench.ui.bench.fields import plan_of
from workbench.ui.bench.summary import interval_lines, kept_row, progress_line, sweep_lines
from workbench.ui.bench.tables import coming_in, labels_of, table_of


@pytest.mark.parametrize(
    ("seconds", "listed"),
    [
        ([(1.0, 1.4), (1.4, 1.0)] * 5, "  too noisy"),
        ([(1.0, 1.0)] * 10, "  no difference"),
        ([(1.0, 1.0)] * 2, "  too few pairs"),
        ([(1.0, 0.5)] * 10, "  +100.0 %"),
    ],
)
def test_a_comparison_is_listed_by_its_verdict(seconds: Sequence[tuple[float, float]], listed: str) -> None:
    def samples(time_s: float) -> tuple[Sample, ...]:
        return (Sample(RunTime(0, round(time_s * 1e9), round(time_s * 1e9)), 1),)

    first, second = result(BenchTest(n_gen=8), ref="a").case, result(BenchTest(n_gen=8), ref="b").case
    pairs = tuple(Pair("a", samples(one), samples(other)) for one, other in seconds)
    duel = DuelRecord(first, second, (model_of("a"), model_of("b")), "interleaved", pairs)
    assert kept_row(replace(record(kind="pairs"), duels=(duel,)), 100, marked=False).plain.endswith(listed)


def test_what_is_still_to_come_stands_below_what_was_measured() -> None:
    plan = plan_of("tests", ["/m/a.gguf"], {"type_k": "f16,q8_0"})
    first = result(BenchTest(n_prompt=512), ref="/m/a.gguf")
    table = table_of(record(first), (), plan)
    rows = [table.line(index, 70).plain.rstrip() for index in range(len(table))]
    assert rows[0].startswith("pp512 ")
    assert rows[1:] == [
        f"{row}  is still to come" for row in ("tg128  -ctk f16", "pp512  -ctk q8_0", "tg128  -ctk q8_0")
    ]
    assert table.newest == 0
    assert coming_in(plan_of("pairs", ["a", "b"], {}), record())[1:] == ["tg128: 10 pairs"]
    assert coming_in(plan_of("felt", ["a"], {"cache": "yes"}), record())[:2] == ["128 tokens", "128 tokens, again"]
    assert coming_in(plan_of("sweep", [], {"server": SERVER, "concurrency": "1,4"}), record())[-1] == "4 at a time"


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=6), st.sampled_from(DASHES[1:]))
def test_a_dashed_line_is_a_part_of_the_whole_one(points: list[tuple[float, float]], dashes: tuple[int, ...]) -> None:
    dots, whole = dashed(points, dashes, (0.5, 0.5)), dashed(points, (1,), (0.5, 0.5))
    assert dots[0] == points[0]
    assert set(dots) <= set(whole)
    period, drawn = sum(dashes), sum(dashes[::2])
    assert abs(len(dots) - len(whole) * drawn / period) <= drawn


def test_levels_with_failures_are_marked_and_explained() -> None:
    good = LoadSample(0, 10**9, 10**8, 10**9, 128, 100, 20)
    bad = LoadSample(0, 10**9, error="it is busy")
    levels = (SweepLevel(1, (good,) * 20), SweepLevel(2, (good,) * 20 + (bad,)))
    sweep = SweepRecord(LoadTarget(SERVER, "vLLM", "m", "0.13"), SweepSettings((1, 2), n_gen=64), levels)
    kept = BenchRecord("261121-120000-abcd", "2026-11-21T12:00:00Z", "sweep", ("bench",), MACHINE, sweep=sweep)
    waits, speeds = plots_of(kept)
    assert [curve.marked for curve in (*waits.curves, *speeds.curves)] == [(1,), (1,), (1,), (1,)]
    text = "\n".join(line.plain for line in sweep_lines(sweep, 200))
    assert "2 users: 1 of 21 failed: it is busy" in text
    assert "a median of 20 tokens, of the 64 requested" in text
    assert "came from the server's cache" in text
    table = table_of(kept)
    assert "it is busy" in table.detail(1)
    assert all(table.line(row, width).cell_length <= width for row in (0, 1) for width in (30, 50, 70, 100))
    assert "400 tokens/s total" in kept_row(kept, 100, marked=False).plain


def test_a_row_is_named_by_what_tells_it_from_the_others() -> None:
    same = [result(BenchTest(n_gen=8)), result(BenchTest(n_prompt=8))]
    assert labels_of(same) == ["tg8", "pp8"]
    other = [result(BenchTest(n_gen=8), ref="a"), result(BenchTest(n_gen=8), ref="b", type_k="q8_0")]
    assert labels_of(other) == ["a Q4_0  tg8  -ctk f16", "b Q4_0  tg8  -ctk q8_0"]
    models = [replace(model_of("a"), name="SmolLM2-135M-Instruct", quant=quant) for quant in ("Q4_0", "Q8_0")]
    quants = [replace(each, model=model) for each, model in zip(other, models, strict=True)]
    assert labels_of(quants) == ["Q4_0  tg8  -ctk f16", "Q8_0  tg8  -ctk q8_0"]


@pytest.mark.parametrize("width", [30, 40, 60, 100])
def test_a_table_fits_its_width(width: int) -> None:
    table = table_of(record(result(BenchTest(n_gen=8)), result(BenchTest(n_prompt=8))))
    assert table.header(width).cell_length <= width
    assert all(table.line(index, width).cell_length <= width for index in range(len(table)))


def test_the_share_of_the_memory_speed_is_a_bar() -> None:
    line = table_of(record(result(BenchTest(n_gen=8)))).line(0, 80)
    assert "━" in line.plain
    assert "38 %" in line.plain
    assert any(span.style == "rows--warning" for span in line.spans)


@pytest.mark.parametrize("count", [1, 2, 9, 12])
def test_an_interval_is_drawn_on_its_scale(count: int) -> None:
    found = compare([100.0] * count, [103.0 + number % 2 for number in range(count)])
    line, ends = interval_lines(found, 61)
    assert line.cell_length == 61
    assert ends.cell_length == 61
    assert line.plain[30] in "┼╋"
    assert line.plain.index("●") > 30


def test_progress_says_phase_repetition_and_time_left() -> None:
    line = progress_line(BenchProgress("measuring", "a Q4_0 tg128", 2, 5, 0.25, 130.0), 100).plain
    assert "25%  measuring a Q4_0 tg128 2 of 5, about 2 min 10 s left" in line
    assert progress_line(BenchProgress("loading", "a" * 300, 0, 5, 0.0), 40).cell_length <= 42
    assert time_text(0.2) == "1 s"
    assert time_text(11_100) == "3 h 5 min"


def test_round_figures() -> None:
    assert ticks_between(0, 100) == (0, 50, 100)
    assert ticks_between(3, 3) == (3,)
    assert all(3.1 <= tick <= 4.2 for tick in ticks_between(3.1, 4.2))


def test_a_kept_run_is_one_row() -> None:
    line = kept_row(record(result(BenchTest(n_gen=8))), 90, marked=True)
    assert line.plain.startswith("● 2026-11-21 12:00")
    assert "tokens/s" in line.plain
