from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.lab.quality.test_job import TEXT, Tools
from tests.ui.drive import press_keys, settle, started, until
from tests.ui.fakes import FakeClock
from workbench.core.models import ModelEntry
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.quality.screen import QualityScreen


@pytest.fixture
def host(clock: FakeClock) -> ScriptedHost:
    entries = [ModelEntry(ref, "tiny", quant, f"/m/{ref}.gguf") for ref, quant in (("0", "F16"), ("0.5", "Q4_0"))]
    return ScriptedHost([ScriptedModel(each, (Script.of("yes"),)) for each in entries], clock=clock, sleep=clock.sleep)


def seen(app: WorkbenchApp) -> str:
    screen = app.screen
    assert isinstance(screen, QualityScreen)
    rows = [screen.rows._row(index, 78).plain for index in range(screen.rows.count)]
    lines = [*screen.head.lines, *screen.detail.lines, *screen.state.lines]
    return "\n".join([*rows, *(line.plain for line in lines)])


async def test_a_measurement_from_the_keyboard(host: ScriptedHost, clock: FakeClock, tmp_path: Path) -> None:
    tools = Tools(tmp_path / "kept")
    text = tmp_path / "text.txt"
    text.write_text(TEXT * 4)
    async with started(host, clock, "0", quality=tools, export_folder=tmp_path, size=(80, 24)) as (app, pilot):
        await press_keys(pilot, "f11", "f11")
        assert "reference tiny F16" in seen(app)
        await pilot.press("f9")
        assert "A candidate is missing" in seen(app)
        await press_keys(pilot, "ctrl+o")
        await press_keys(pilot, "enter")
        await press_keys(pilot, "ctrl+t")
        await press_keys(pilot, "enter")
        await press_keys(pilot, "ctrl+l")
        assert isinstance(app.screen, ChooseDialog)
        app.screen.dismiss(str(text))
        await until(pilot, lambda: isinstance(app.screen, QualityScreen) and app.screen._setup.text)
        await pilot.press("f9")
        await until(pilot, lambda: app.screen._shown)
        # On a busy machine a warning stands in its place first.
        app.screen._said.clear()
        app.screen._paint()
        assert "kept." in seen(app)
        # One pass of the reference for both candidates.
        assert tools.logits.opened == [["0", "0.5", "0"]]
        found = seen(app)
        assert "perplexity" in found
        assert "The largest divergences" in found
        await pilot.press("down")
        assert "type_k=q8_0 gives the same distributions as the reference" in seen(app)
        record = tools.quality_runs.load("last")
        assert record.command == ("quality", "0", "0.5", ",type_k=q8_0", "--text", str(text))
        assert record.candidates[1].model.label.endswith("type_k=q8_0")
        await pilot.press("ctrl+b")
        await until(pilot, lambda: isinstance(app.screen, ChooseDialog))
        await press_keys(pilot, "enter")
        assert record.id in str([line.plain for line in app.screen.rows._row(0, 0).split("\n")])
        await press_keys(pilot, "escape", "f11")
        assert app.current_mode == "evals"


async def test_escape_keeps_what_is_done(host: ScriptedHost, clock: FakeClock, tmp_path: Path) -> None:
    tools = Tools(tmp_path / "kept", stop_after=1)
    async with started(host, clock, "0", quality=tools) as (app, pilot):
        app.action_experiment("quality")
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, QualityScreen)
        setup = screen._setup
        setup.reference = ModelEntry("0", "tiny", "F16", "/m/0.gguf")
        setup.candidates.append(SimpleNamespace(model=None, values={}, label=lambda _: "same", word=""))
        setup.name, setup.text = "a text", TEXT * 4
        await pilot.press("f9", "escape")
        await until(pilot, lambda: screen._shown)
        (record,) = screen._shown
        assert record.interrupted
        assert record.scored == record.scored_of_chunk
        await press_keys(pilot, "f6", "down", "enter")
        assert "depth 4,096" in seen(app)
        await pilot.press("f9")
        await until(pilot, lambda: "one chunk needs 4,608" in seen(app))
