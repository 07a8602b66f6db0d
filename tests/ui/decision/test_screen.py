from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.lab.decision.made import FakeFile, FakeTools, bench, quality
from tests.ui.fakes import FakeClock, FakeDocuments, FakeWatch, app_on, settle, shown, until
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.decision.screen import DecisionScreen
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.export import ExportDialog


class House(FakeTools):
    """Three quantizations of one model, on disk and in the catalog."""

    def __init__(self, folder: Path) -> None:
        files = [FakeFile(folder, quant, size) for quant, size in (("F16", 300), ("Q8_0", 150), ("Q4_K_M", 100))]
        super().__init__(files)
        self.f16, self.q8, self.q4 = files
        self.watch = FakeWatch()

    def watching(self, machine: object) -> object:
        return nullcontext(self.watch)

    async def open(self, case, on_progress, cancel):  # type: ignore[no-untyped-def]
        target = await super().open(case, on_progress, cancel)
        target.model = self.files[case.ref].bench_model()
        return target

    def measure_memory(self, machine: object) -> None:
        return None

    def models(self) -> list[ScriptedModel]:  # type: ignore[override]
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
    app = app_on(make_host(house.models()), clock, house.q4.entry.ref, documents=documents)
    app.services = replace(app.services, decision=house)  # type: ignore[arg-type]
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
        await pilot.press("f9")
        await settle(pilot)
        assert isinstance(app.screen, ChooseDialog)
        await pilot.press("escape")
        house.bench_runs.records = [bench((house.f16, 20.0), (house.q8, 40.0), (house.q4, 50.0))]
        house.quality_runs.records = [quality(house.f16, (house.q8, 0.004), (house.q4, 0.06))]
        await pilot.press("f2")
        app.action_experiment("decision")
        await settle(pilot)
        assert "F16: 20" in shown(app)
        await pilot.press("ctrl+l", "3", "0")
        await settle(pilot)
        assert "Q8_0: 40" in shown(app)
        assert "Q4_K_M is 25 % faster" in shown(app)
        assert "├" in shown(app)
        assert [row.split()[-1] for row in rows(app)] == ["✗", "✓", "✓"]
        await pilot.press("escape", "enter")
        await settle(pilot)
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
        await pilot.press("ctrl+l", "f", "a")
        await settle(pilot)
        assert "it takes a number of 0 or more" in shown(app)
        assert app.screen.query_one("#limit-min_speed", Input).has_class("-wrong")
        await pilot.press("backspace", "backspace", "9", "9")
        await settle(pilot)
        assert "Nothing meets ≥ 99 tokens/s" in shown(app)
        assert max(line.cell_length for line in app.screen.query_one("#decision-plot").lines) <= 78  # type: ignore[attr-defined]
        await pilot.press("ctrl+r")
        await settle(pilot)
        assert "No decision is kept yet" in shown(app)
        await pilot.press("f6", "down", "enter")
        await settle(pilot)
        await settle(pilot)
        assert "the best by speed" in shown(app)
        await pilot.press("f7")
        await settle(pilot)
        assert isinstance(app.screen, ExportDialog)
        await pilot.press("enter")
        await settle(pilot)
        assert "Nothing meets" in documents.written[0][1]
        await pilot.press("ctrl+r")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("f9")
        assert "earlier decision" in shown(app)
        await pilot.press("escape", "ctrl+c")
        assert isinstance(app.screen, DecisionScreen)
