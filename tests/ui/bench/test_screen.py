from __future__ import annotations

import json
from dataclasses import replace

from tests.lab.bench.fake_bencher import FakeBencher
from tests.lab.evals.fake_tools import FakeRuns
from tests.ui.bench.drive import add_model, bench_of, bench_on, hint, kind, put, record, result, seen
from tests.ui.drive import press_keys, settle, until
from tests.ui.fakes import FakeBench, FakeClock, FakeDocuments
from workbench.core.bench import BenchTest, Conditions
from workbench.core.errors import BenchRunError, MemoryShortError, ModelLoadError
from workbench.engine.scripted import ScriptedHost
from workbench.ui.bench.curves import plots_of
from workbench.ui.bench.form import BenchInput
from workbench.ui.bench.plot import BenchPlot
from workbench.ui.dialogs.confirm import ConfirmDialog


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
        assert app.focused is not None
        assert isinstance(app.focused.parent, BenchInput)


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
        assert app.focused is not None
        assert isinstance(app.focused.parent, BenchInput)
        await press_keys(pilot, "tab", "escape")
        assert screen.form.display


async def test_quitting_stops_a_measurement(host: ScriptedHost, clock: FakeClock, bench: FakeBench) -> None:
    async with bench_on(host, clock, bench=bench) as (_app, pilot):
        await pilot.press("f9", "ctrl+q")
        await until(pilot, lambda: bench.bencher.loaded == 0)
