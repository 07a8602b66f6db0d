"""The bench in tests: made results, and the program with the bench on the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from tests.lab.bench.fake_bencher import MACHINE, model_of
from tests.ui.drive import press_keys, started
from tests.ui.fakes import FakeClock
from workbench.core.bench import BenchCase, BenchResult, BenchSettings, BenchTest, RunTime, Sample
from workbench.engine.scripted import ScriptedHost, ScriptedModel
from workbench.lab.bench.record import BenchRecord, Kind
from workbench.ui.app import WorkbenchApp
from workbench.ui.bench.form import BenchInput
from workbench.ui.bench.screen import BenchScreen

SERVER = "http://127.0.0.1:8000"
MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]


def result(test: BenchTest, seconds: Sequence[float] = (1.0, 1.1), ref: str = "a", **settings: Any) -> BenchResult:
    samples = tuple(Sample(RunTime(0, round(each * 1e9), round(each * 1e9)), seed) for seed, each in enumerate(seconds))
    case = BenchCase(ref, BenchSettings(**settings), test)
    return BenchResult(case, model_of(ref), "2026-11-21T12:00:00Z", samples, memory_bytes_per_s=2e7)


def record(*results: BenchResult, kind: Kind = "tests", run: str = "261121-120000-abcd") -> BenchRecord:
    return BenchRecord(run, "2026-11-21T12:00:00Z", kind, ("bench", "a"), MACHINE, results=results)


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
    await press_keys(pilot, "f5")


@asynccontextmanager
async def bench_on(
    host: ScriptedHost,
    clock: FakeClock,
    model: str | None = "smol:Q4_K_M",
    *,
    size: tuple[int, int] = (120, 36),
    enter: Callable[[Pilot[None]], Awaitable[None]] = go,
    **services: Any,
) -> AsyncIterator[tuple[WorkbenchApp, Pilot[None]]]:
    """The program with the bench on the screen."""
    async with started(host, clock, model, size=size, **services) as (app, pilot):
        await enter(pilot)
        yield app, pilot


async def add_model(pilot: Pilot[None], name: str) -> None:
    await press_keys(pilot, "ctrl+o")
    await press_keys(pilot, *name, "enter")


async def kind(pilot: Pilot[None], index: int) -> None:
    """Choose a kind of run, counted from the first."""
    await press_keys(pilot, "f6", "home", *["down"] * index, "enter")
