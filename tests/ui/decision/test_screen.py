from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.lab.bench.fake_bencher import FakeWatch
from tests.lab.decision.made import FakeFile, FakeTools, bench, quality
from tests.ui.drive import app_on, press_keys, settle, shown, until
from tests.ui.fakes import FakeClock, FakeDocuments
from workbench.core.bench import BenchCase
from workbench.core.cancel import CancelToken
from workbench.core.engine import ProgressCallback
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.decision.screen import DecisionScreen
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.export import ExportDialog
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.experiment.result_lines import ResultPlot


class House(FakeTools):
    """Three quantizations of one model, on disk and in the catalog."""

    def __init__(self, folder: Path) -> None:
        files = [FakeFile(folder, quant, size) for quant, size in (("F16", 300), ("Q8_0", 150), ("Q4_K_M", 100))]
        super().__init__(files)
        self.f16, self.q8, self.q4 = files
        self.watch = FakeWatch()

    def watching(self, machine: object) -> object:
        return nullcontext(self.watch)

    async def open(self, case: BenchCase, on_progress: ProgressCallback, cancel: CancelToken) -> Any:
        target = await super().open(case, on_progress, cancel)
        target.model = self.files[case.ref].bench_model()
        return target

    def measure_memory(self, machine: object) -> None:
        return None

    def scripted(self) -> list[ScriptedModel]:
        return [ScriptedModel(file.entry, (Script.of("Yes."),)) for file in self.files.values()]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@asynccontextmanager
async def decision_on(
    house: House,
    make_host: Callable[[Sequence[ScriptedModel]], ScriptedHost],
    clock: FakeClock,
    *,
    size: tuple[int, int] = (120, 36),
    documents: FakeDocuments | None = None,
) -> AsyncIterator[tuple[WorkbenchApp, Pilot[None]]]:
    app = app_on(make_host(house.scripted()), clock, house.q4.entry.ref, documents=documents, decision=house)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.action_experiment("decision")
        await settle(pilot)
        assert isinstance(app.screen, DecisionScreen)
        yield app, pilot


def rows(app: WorkbenchApp) -> list[str]:
    screen = app.screen
    assert isinstance(screen, DecisionScreen)
    return [screen.rows._row(index, 100).plain for index in range(screen.rows.count)]


async def test_from_nothing_measured_to_the_choice_that_is_loaded(
    house: House, make_host: Callable[[Sequence[ScriptedModel]], ScriptedHost], clock: FakeClock
) -> None:
    async with decision_on(house, make_host, clock) as (app, pilot):
        assert "Nothing of m is measured" in shown(app)
        assert "F9 runs workbench bench" in shown(app)
        await pilot.press("f9")
        await until(pilot, lambda: bool(house.bench_runs.records))
        await settle(pilot)
        assert "the divergence of" in shown(app)
        await press_keys(pilot, "f9")
        assert isinstance(app.screen, ChooseDialog)
        await pilot.press("escape")
        house.bench_runs.records = [bench((house.f16, 20.0), (house.q8, 40.0), (house.q4, 50.0))]
        house.quality_runs.records = [quality(house.f16, (house.q8, 0.004), (house.q4, 0.06))]
        await pilot.press("f2")
        app.action_experiment("decision")
        await settle(pilot)
        assert "F16: 20" in shown(app)
        await press_keys(pilot, "ctrl+l", "3", "0")
        assert "Q8_0: 40" in shown(app)
        assert "Q4_K_M is 25 % faster" in shown(app)
        assert "├" in shown(app)
        assert [row.split()[-1] for row in rows(app)] == ["✗", "✓", "✓"]
        await press_keys(pilot, "escape", "enter")
        assert app.screen is app.chat
        assert app.workspace.model is not None
        assert app.workspace.model.quant == "Q8_0"
        assert [record.constraints.min_speed for record in house.decision_runs.records] == [30.0]


async def test_earlier_ones_exports_and_wrong_constraints_on_a_small_screen(
    house: House, make_host: Callable[[Sequence[ScriptedModel]], ScriptedHost], clock: FakeClock
) -> None:
    documents = FakeDocuments()
    house.bench_runs.records = [bench((house.f16, 20.0), (house.q8, 40.0), (house.q4, 50.0))]
    house.quality_runs.records = [quality(house.f16, (house.q8, 0.004), (house.q4, 0.06))]
    async with decision_on(house, make_host, clock, size=(80, 24), documents=documents) as (app, pilot):
        await press_keys(pilot, "ctrl+l", "f", "a")
        assert "it takes a number of 0 or more" in shown(app)
        assert app.screen.query_one("#limit-min_speed", Input).has_class("-wrong")
        await press_keys(pilot, "backspace", "backspace", "9", "9")
        assert "Nothing meets ≥ 99 tokens/s" in shown(app)
        assert max(line.cell_length for line in app.screen.query_one(ResultPlot).lines) <= 78
        await press_keys(pilot, "ctrl+r")
        assert "No decision is kept yet" in shown(app)
        await press_keys(pilot, "f6", "down", "enter")
        await settle(pilot)
        assert "the best by speed" in shown(app)
        await press_keys(pilot, "f7")
        assert isinstance(app.screen, ExportDialog)
        await press_keys(pilot, "enter")
        assert "Nothing meets" in documents.written[0][1]
        await press_keys(pilot, "ctrl+r")
        await press_keys(pilot, "enter")
        await pilot.press("f9")
        assert "earlier decision" in shown(app)
        await press_keys(pilot, "ctrl+b")
        await press_keys(pilot, "enter")
        assert isinstance(app.screen, TextDialog)
        await pilot.press("escape", "escape", "ctrl+c")
        assert isinstance(app.screen, DecisionScreen)
