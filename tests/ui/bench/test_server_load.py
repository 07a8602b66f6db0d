"""A server under load, from the screen."""

from __future__ import annotations

from textual.pilot import Pilot

from tests.ui.bench.drive import SERVER, bench_on, go, kind, put, seen
from tests.ui.drive import press_keys, settle
from tests.ui.fakes import FakeBench, FakeClock
from workbench.core.errors import ServerUnreachableError
from workbench.engine.scripted import ScriptedHost
from workbench.ui.bench.curves import MARKS, plots_of
from workbench.ui.bench.plot import BenchPlot
from workbench.ui.dialogs.confirm import ConfirmDialog


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
