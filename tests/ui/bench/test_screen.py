from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from tests.lab.bench.fake_bencher import MACHINE, FakeBencher, model_of
from tests.lab.evals.fake_tools import FakeRuns
from tests.ui.drive import app_on, press_keys, settle, until
from tests.ui.fakes import FakeBench, FakeClock, FakeDocuments, models
from workbench.core.bench import BenchCase, BenchResult, BenchSettings, BenchTest, Conditions, RunTime, Sample
from workbench.core.errors import BenchRunError, MemoryShortError, ModelLoadError, ServerUnreachableError
from workbench.core.recipe import Recipe
from workbench.core.statistics import compare
from workbench.core.sweep import LoadSample, LoadTarget, SweepLevel, SweepSettings
from workbench.core.units import ticks_between
from workbench.engine.scripted import ScriptedHost, ScriptedModel
from workbench.lab.bench.bench import BenchProgress, time_text
from workbench.lab.bench.grid import PlanError
from workbench.lab.bench.pairs import DuelRecord, Pair
from workbench.lab.bench.record import BenchRecord, Kind
from workbench.lab.bench.sweep import SweepRecord
from workbench.ui.app import WorkbenchApp
from workbench.ui.bench.curves import DASHES, MARKS, dashed, plots_of
from workbench.ui.bench.fields import FIELDS, KINDS, fields_of, form_of, plan_of, problem_of, size_text
from workbench.ui.bench.form import BenchInput
from workbench.ui.bench.plot import BenchPlot
from workbench.ui.bench.screen import BenchScreen
from workbench.ui.bench.summary import interval_lines, kept_row, progress_line, sweep_lines
from workbench.ui.bench.tables import coming_in, labels_of, table_of
from workbench.ui.dialogs.confirm import ConfirmDialog

SERVER = "http://127.0.0.1:8000"
MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]


def result(test: BenchTest, seconds: Sequence[float] = (1.0, 1.1), ref: str = "a", **settings: object) -> BenchResult:
    samples = tuple(Sample(RunTime(0, round(each * 1e9), round(each * 1e9)), seed) for seed, each in enumerate(seconds))
    case = BenchCase(ref, replace(BenchSettings(), **settings), test)  # type: ignore[arg-type]
    return BenchResult(case, model_of(ref), "2026-11-21T12:00:00Z", samples, memory_bytes_per_s=2e7)


def record(*results: BenchResult, kind: str = "tests", run: str = "261121-120000-abcd") -> BenchRecord:
    return BenchRecord(run, "2026-11-21T12:00:00Z", kind, ("bench", "a"), MACHINE, results=results)  # type: ignore[arg-type]


@pytest.fixture
def host(make_host: MakeHost) -> ScriptedHost:
    return make_host(models())


@pytest.fixture
def bench() -> FakeBench:
    return FakeBench()


def bench_of(app: WorkbenchApp) -> BenchScreen:
    assert isinstance(app.screen, BenchScreen)
    return app.screen


def seen(app: WorkbenchApp) -> str:
    """Everything that the screen shows, apart from the form."""
    screen = bench_of(app)
    table = screen.results.table
    rows = [table._row(index, 70).plain for index in range(table.count)]
    lines = [*screen.results.verdict.lines, *screen.results.detail.lines, *screen.progress.lines, *screen.state.lines]
    return "\n".join([*rows, *(line.plain for line in lines)])


def hint(app: WorkbenchApp) -> str:
    return str(bench_of(app).form.hint.content)


def put(app: WorkbenchApp, name: str, text: str) -> None:
    app.screen.query_one(f"#bench-{name}", BenchInput).input.value = text


async def go(pilot: Pilot[None]) -> None:
    await settle(pilot)
    await press_keys(pilot, "f5")


@asynccontextmanager
async def bench_on(
    host: ScriptedHost,
    clock: FakeClock,
    model: str | None = "smol:Q4_K_M",
    *,
    size: tuple[int, int] = (120, 36),
    enter: Callable[[Pilot[None]], Awaitable[None]] = go,
    **services: object,
) -> AsyncIterator[tuple[WorkbenchApp, Pilot[None]]]:
    """The program with the bench on the screen."""
    app = app_on(host, clock, model, **services)
    async with app.run_test(size=size) as pilot:
        await enter(pilot)
        yield app, pilot


async def add_model(pilot: Pilot[None], name: str) -> None:
    await press_keys(pilot, "ctrl+o")
    await press_keys(pilot, *name, "enter")


# The screen


async def kind(pilot: Pilot[None], index: int) -> None:
    """Choose a kind of run, counted from the first."""
    await press_keys(pilot, "f6", "home", *["down"] * index, "enter")


async def test_the_model_of_the_chat_is_measured_with_enter(
    host: ScriptedHost, clock: FakeClock, bench: FakeBench
) -> None:
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        assert "2 tests, 5 times each" in seen(app)
        assert "workbench bench smol:Q4_K_M" in seen(app)
        await press_keys(pilot, "enter")
        text = seen(app)
        assert "pp512" in text
        assert "tg128" in text
        assert "kept as 261121-120001-abcd" in text
        assert len(app.screen.query(BenchPlot)) == 2
        (kept,) = bench.bench_runs.records
        assert kept.command == ("bench", "smol:Q4_K_M")
        assert [len(one.samples) for one in kept.results] == [5, 5]
        assert not host.opened[0].closed


async def test_lists_make_a_grid_and_depths_are_plotted(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        put(app, "n_depth", "0,256")
        put(app, "type_k", "f16,q8_0")
        await press_keys(pilot, "f9")
        assert "tg128 @ d256  -ctk q8_0" in seen(app)
        assert len(bench.bench_runs.records[0].results) == 8
        assert [plot.across for plot in plots_of(bench.bench_runs.records[0])] == ["depth", "depth"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("n_prompt", "abc", "-p cannot be 'abc'"),
        ("repetitions", "0", "-r cannot be 0"),
        ("repetitions", "1,2", "-r cannot be '1,2'"),
        ("type_k", "q9", "-ctk cannot be 'q9'"),
        ("n_threads", "-3", "-t cannot be -3"),
        ("n_depth", "1-5*1", "never ends"),
        ("n_gpu_layers", "9" * 1000, "too large"),
        ("flash_attn", "maybe", "-fa cannot be 'maybe'"),
        ("n_batch", "", "-b cannot be ''"),
    ],
)
def test_nonsense_is_blamed_on_its_field(name: str, text: str, said: str) -> None:
    with pytest.raises(PlanError, match=re.escape(said)) as caught:
        plan_of("tests", ["a"], {name: text})
    assert caught.value.field == name


async def test_nonsense_is_told_at_the_field(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        for name, text, said in (("n_batch", "", "-b cannot be ''"), ("n_prompt", "abc", "-p cannot be 'abc'")):
            put(app, name, text)
            await press_keys(pilot, "f9")
            assert said in hint(app)
            field = app.screen.query_one(f"#bench-{name}", BenchInput)
            assert field.has_class("-wrong")
            assert app.focused is field.input
            assert not bench.bench_runs.records


async def test_without_a_model_nothing_begins(host: ScriptedHost, clock: FakeClock) -> None:
    async with bench_on(host, clock, None) as (app, pilot):
        await press_keys(pilot, "f9")
        assert "No model is chosen." in hint(app)
        assert "Ctrl+O adds a model." in seen(app)


async def test_models_are_added_and_taken_out(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        await add_model(pilot, "qwen")
        assert bench_of(app).form.models.count == 2
        await add_model(pilot, "qwen")
        assert "in the list" in seen(app)
        bench_of(app).form.models.focus()
        await press_keys(pilot, "delete", "f2", "f5", "f9")
        assert bench.bench_runs.records[0].command == ("bench", "qwen")


async def test_what_does_not_load_or_fit_is_said_and_the_rest_goes_on(host: ScriptedHost, clock: FakeClock) -> None:
    bench = FakeBench(
        FakeBencher(
            errors={"broken": ModelLoadError("The file is truncated.", "Download it again.")},
            context_errors={"pp512": MemoryShortError("It does not fit in memory.", "Take a shorter prompt.")},
        )
    )
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        await add_model(pilot, "broken")
        await press_keys(pilot, "f9")
        text = seen(app)
        assert "tg128" in text
        assert "✗ It does not fit in memory." in text
        assert "✗ The file is truncated." in text


async def test_where_nothing_could_be_measured_nothing_is_kept(host: ScriptedHost, clock: FakeClock) -> None:
    bench = FakeBench(FakeBencher(errors={"smol:Q4_K_M": ModelLoadError("The file is truncated.")}))
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        await press_keys(pilot, "f9")
        assert "✗ The file is truncated." in seen(app)
        assert not bench.bench_runs.records


async def test_stopping_keeps_what_is_done(host: ScriptedHost, clock: FakeClock) -> None:
    bench = FakeBench(FakeBencher(stop_after=12))
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        await press_keys(pilot, "f9")
        assert "stopped, results so far kept" in seen(app)
        (kept,) = bench.bench_runs.records
        assert kept.interrupted
        assert [len(one.samples) for one in kept.results] == [5, 3]
        await press_keys(pilot, "escape")
        assert isinstance(app.focused.parent, BenchInput)  # type: ignore[union-attr]


async def test_the_plan_is_back_where_nothing_was_measured(host: ScriptedHost, clock: FakeClock) -> None:
    async with bench_on(host, clock, bench=FakeBench(FakeBencher(stop_after=0))) as (app, pilot):
        await press_keys(pilot, "f9")
        assert "2 tests, 5 times each" in seen(app)
        assert "Stopped before the first result." in seen(app)


async def test_a_against_b_and_ten_more(host: ScriptedHost, clock: FakeClock) -> None:
    def seconds(ref: str, test: BenchTest, number: int) -> float:
        return (1.0 if ref == "qwen" else 1.1) + 0.001 * (number % 3)

    bench = FakeBench(FakeBencher(seconds))
    bench.watch.conditions = [Conditions(others_percent=50.0, others_s=3.0)]
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        await kind(pilot, 1)
        await press_keys(pilot, "f9")
        assert "Add a second model" in hint(app)
        await add_model(pilot, "qwen")
        put(app, "n_prompt", "0")
        put(app, "pairs", "5")
        await press_keys(pilot, "f9")
        text = seen(app)
        assert "faster than" in text
        assert "5 pairs" in text
        assert "1 of 5 pairs were disturbed" in text
        await press_keys(pilot, "ctrl+t")
        text = seen(app)
        assert "15 pairs" in text
        assert "10 pairs were added after a look" in text
        (kept,) = bench.bench_runs.records
        assert kept.command == ("bench", "smol:Q4_K_M", "qwen", "-p", "0", "--pairs", "15")
        assert bench.bencher.loaded == 0


async def test_sequences(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        await kind(pilot, 2)
        await press_keys(pilot, "f9")
        assert [one.case.test.sequences for one in bench.bench_runs.records[0].results] == [1, 2, 4, 8]
        assert "x8" in seen(app)
        assert len(plots_of(bench.bench_runs.records[0])) == 2


async def test_latency(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        await kind(pilot, 3)
        put(app, "felt", "32,64")
        put(app, "n_gen", "4")
        put(app, "cache", "yes")
        await press_keys(pilot, "f9")
        text = seen(app)
        assert "32 tokens, again" in text
        assert "64 tokens" in text
        assert bench.bench_runs.records[0].command[-3:] == ("--felt", "32,64", "--cache")
        assert [engine.closed for engine in host.opened] == [False, True]


async def test_earlier_runs_one_and_two(host: ScriptedHost, clock: FakeClock) -> None:
    old = record(result(BenchTest(n_gen=128), (2.0, 2.0)), run="261120-120000-aaaa")
    new = record(result(BenchTest(n_gen=128), (1.0, 1.0)), run="261121-120000-bbbb")
    async with bench_on(host, clock, bench=FakeBench(book=FakeRuns([new, old]))) as (app, pilot):
        await press_keys(pilot, "ctrl+r")
        await press_keys(pilot, "down", "enter")
        assert "261120-120000-aaaa, kept" in seen(app)
        assert "64.0" in seen(app)
        await press_keys(pilot, "ctrl+r")
        await press_keys(pilot, "space", "down", "enter")
        assert "+100.0 %" in seen(app)
        assert "Two runs at different times" in seen(app)
        await press_keys(pilot, "ctrl+r")
        await press_keys(pilot, "escape")
        assert "+100.0 %" in seen(app)


async def test_an_earlier_run_puts_its_settings_into_the_form_and_arrows_pass_through_the_models(
    host: ScriptedHost, clock: FakeClock
) -> None:
    command = ("bench", "qwen", "smol:Q8_0", "gone", "-n", "32", "-ctk", "q8_0", "--pairs", "7")
    old = replace(record(result(BenchTest(n_gen=32))), kind="pairs", command=command)
    async with bench_on(host, clock, bench=FakeBench(book=FakeRuns([old])), size=(80, 24)) as (app, pilot):
        await press_keys(pilot, "ctrl+r")
        await press_keys(pilot, "enter")
        form = bench_of(app).form
        texts = form.texts
        assert (texts["n_gen"], texts["type_k"], texts["pairs"], texts["n_prompt"]) == ("32", "q8_0", "7", "512")
        assert "Not on this machine any more: gone." in hint(app)
        assert bench_of(app)._kind == "pairs"
        assert form.models.count == 2
        await press_keys(pilot, "tab")
        first = app.focused
        await pilot.press("up")
        assert (app.focused, form.models.cursor) == (form.models, 1)
        await pilot.press("up", "down", "down")
        assert app.focused is first
        await pilot.press("up", "up", "up")
        assert app.focused is not form.models, "out of the top of the list, to the last field"
        await pilot.press("down")
        assert (app.focused, form.models.cursor) == (form.models, 0)


async def test_a_run_beyond_the_context_or_ten_minutes_is_asked_about(
    host: ScriptedHost, clock: FakeClock, bench: FakeBench
) -> None:
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        put(app, "n_prompt", "16384")
        put(app, "n_gen", "200000")
        await settle(pilot)
        assert "was trained for a context of 8,192 tokens" in " ".join(seen(app).split())
        await press_keys(pilot, "f9")
        assert isinstance(app.screen, ConfirmDialog)
        await press_keys(pilot, "escape")
        assert bench.bench_runs.records == []
        await press_keys(pilot, "f9", "enter")
        assert len(bench.bench_runs.records) == 1


@pytest.mark.parametrize(
    ("kind", "models", "texts"),
    [
        ("tests", ["a", "b"], {"n_prompt": "128,256", "type_k": "q8_0", "n_gpu_layers": "-1", "repetitions": "3"}),
        ("pairs", ["a", "b"], {"pairs": "20", "n_depth": "64"}),
        ("parallel", ["a"], {"sequences": "2,4"}),
        ("felt", ["a"], {"felt": "32,64", "cache": "yes"}),
        ("sweep", [], {"server": f"{SERVER}#m", "concurrency": "1,2", "read": "64"}),
    ],
)
def test_the_form_of_a_command_makes_that_command(kind: Kind, models: list[str], texts: dict[str, str]) -> None:
    command = plan_of(kind, models, texts).command
    found, refs, values = form_of(command)
    assert (found, refs) == (kind, models)
    assert plan_of(found, refs, values).command == command


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


async def test_the_command_is_copied_and_the_run_exported(
    host: ScriptedHost, clock: FakeClock, bench: FakeBench, tmp_path
) -> None:
    documents = FakeDocuments()
    async with bench_on(host, clock, bench=bench, documents=documents, export_folder=tmp_path) as (app, pilot):
        await press_keys(pilot, "f7")
        assert "nothing to export" in seen(app)
        put(app, "n_prompt", "64")
        await press_keys(pilot, "f9")
        await pilot.press("ctrl+y")
        assert app.clipboard == "workbench bench smol:Q4_K_M -p 64"
        await press_keys(pilot, "f7", "enter")
        await press_keys(pilot, "f7", "down", "enter")
        (first, text), (second, lines) = documents.written
        assert first.suffix == ".md"
        assert " pp64 " in text
        assert second.suffix == ".jsonl"
        assert [json.loads(line)["n_prompt"] for line in lines.splitlines()] == [64, 0]


async def test_a_run_that_cannot_be_kept_is_told(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    bench.bench_runs.error = BenchRunError("The disk is full.", "Make room.")
    async with bench_on(host, clock, bench=bench) as (app, pilot):
        await press_keys(pilot, "f9")
        assert "The disk is full." in seen(app)
        assert "tg128" in seen(app)


async def test_a_narrow_screen_shows_form_or_results(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    async with bench_on(host, clock, bench=bench, size=(80, 24)) as (app, pilot):
        screen = bench_of(app)
        assert screen.form.display
        assert not screen.results.display
        await press_keys(pilot, "f9")
        assert screen.results.display
        assert not screen.form.display
        await press_keys(pilot, "tab")
        assert screen.form.display
        assert isinstance(app.focused.parent, BenchInput)  # type: ignore[union-attr]
        await press_keys(pilot, "tab", "escape")
        assert screen.form.display


async def test_quitting_stops_a_measurement(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    async with bench_on(host, clock, bench=bench) as (_app, pilot):
        await pilot.press("f9", "ctrl+q")
        await until(pilot, lambda: bench.bencher.loaded == 0)


# Without a screen


def test_the_defaults_are_a_plan_of_every_kind() -> None:
    for kind in KINDS:
        plan = plan_of(kind, ["http://127.0.0.1:8000#m"] if kind == "sweep" else ["a", "b"], {})
        assert plan.kind == kind
        assert size_text(plan)
    assert all(not problem_of(field, field.default) for field in FIELDS)


async def go_under_load(pilot: Pilot[None]) -> None:
    await go(pilot)
    await kind(pilot, 4)


async def test_a_server_is_put_under_load(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    async with bench_on(host, clock, bench=bench, enter=go_under_load) as (app, pilot):
        assert "Which server?" in seen(app)
        put(app, "server", SERVER)
        put(app, "questions", "20")
        await settle(pilot)
        assert "up to 620 questions, up to 16 at a time" in seen(app)
        assert f"bench --server {SERVER} --concurrency 1,2,4,8,16 -r 20" in " ".join(seen(app).split())
        await press_keys(pilot, "enter")
        text = seen(app)
        assert "8 at a time" in text
        assert "16 at a time" not in text
        assert "more users only wait longer" in text
        assert "vLLM  m at somewhere:8000" in text
        assert "the client used 10 % of a core" in " ".join(text.split())
        assert [len(plot.curves) for plot in plots_of(bench.bench_runs.records[0])] == [2, 2]
        waits, _ = app.screen.query(BenchPlot)
        assert f"{MARKS[0]} p50  {MARKS[1]} p95" in waits.title_line.lines[0].plain
        drawn = app.export_screenshot()
        assert [drawn.count(mark) >= 4 for mark in MARKS[:2]] == [True, True], "the curves have marks of their own"
        assert bench.load_clients.opened == [SERVER]
        assert bench.load_clients.clients[0].closed
        assert bench.bench_runs.records[0].command[:3] == ("bench", "--server", SERVER)


async def test_a_server_elsewhere_is_asked_only_when_somebody_agrees(
    host: ScriptedHost, clock: FakeClock, bench: FakeBench
) -> None:
    async with bench_on(host, clock, bench=bench, enter=go_under_load) as (app, pilot):
        put(app, "server", "http://192.0.2.1:8000")
        await press_keys(pilot, "enter")
        assert isinstance(app.screen, ConfirmDialog)
        await press_keys(pilot, "escape")
        assert bench.load_clients.opened == []
        await press_keys(pilot, "enter")
        await press_keys(pilot, "y")
        assert bench.load_clients.opened == ["http://192.0.2.1:8000"]


async def test_a_server_that_cannot_be_asked_is_told(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    bench.load_clients.error = ServerUnreachableError("Nothing answers at 127.0.0.1:8000.", "See whether it runs.")
    async with bench_on(host, clock, bench=bench, size=(80, 24), enter=go_under_load) as (app, pilot):
        put(app, "server", SERVER)
        await press_keys(pilot, "enter")
        assert "Nothing answers at 127.0.0.1:8000." in seen(app)
        assert bench.bench_runs.records == []


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


def refusal(kind: Kind, models: Sequence[str], **texts: str) -> PlanError:
    with pytest.raises(PlanError) as caught:
        plan_of(kind, models, texts)
    return caught.value


def test_what_is_no_server_is_refused_at_its_field() -> None:
    for server in ("ftp://x", "http://a:b@c", ""):
        assert refusal("sweep", ["a"], server=server).field == "server"
    assert "latency" in refusal("tests", [f"{SERVER}#m"]).hint
    plan = plan_of("sweep", ["a", f"{SERVER}#m"], {})
    assert plan.sweep is not None
    assert (plan.sweep.server, plan.sweep.model) == (SERVER, "m")


def test_plans_that_make_no_sense_are_refused_at_a_field() -> None:
    assert refusal("tests", ["a"], n_prompt="0", n_gen="0").field == "n_prompt"
    assert refusal("parallel", ["a"], n_batch="2").field == "sequences"
    assert refusal("felt", ["a"], n_gen="0").field == "n_gen"
    assert refusal("felt", ["a"], cache="perhaps").field == "cache"
    assert refusal("felt", ["a"], type_k="f16,q8_0").field == "type_k"
    assert "not 3" in refusal("pairs", ["a", "b", "c"]).message
    assert plan_of("pairs", ["a"], {"type_k": "f16,q8_0"}).pairs == 10
    # Fields of another kind of run are ignored.
    assert plan_of("tests", ["a"], {"pairs": "x"}).pairs is None
    assert "pairs" not in {field.name for field in fields_of("tests")}


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


def test_what_a_modelfile_says_counts_where_a_field_is_as_it_was_found() -> None:
    recipes = {"a": Recipe(parameters=(("num_thread", 2), ("num_batch", 64))), "b": None}
    plan = plan_of("tests", ["a", "b"], {"n_batch": "128"}, recipes)
    found = [(model, one.n_threads, one.n_batch) for model, one in plan.grid.arms()]
    assert found == [("a", 2, 128), ("b", 0, 128)]
    assert plan.grid.own_words("a") == ("-t 2",)
    assert "-b 128" in " ".join(plan.command)
