"""The tune screen: the live table, keeping the best, stopping, depths, and the ways there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot
from textual.widgets import Input

from tests.lab.tune.scripted import Tools
from tests.lab.tune.test_depth import slower_with_depth
from tests.lab.tune.test_judgement import Judged
from tests.lab.tune.test_tune import quiet, six_threads
from tests.ui.drive import app_on, press_keys, settle, shown, until
from tests.ui.fakes import FakeClock
from workbench.core.engine import Footprint
from workbench.core.models import ModelEntry
from workbench.core.units import GIB
from workbench.engine.scripted import Script, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.tune.screen import TuneScreen

MODEL = ModelEntry("m", "Qwen", "Q4_0", path="/models/m.gguf")


class House(Tools):
    async def footprint(self, model, load):
        return Footprint(GIB, 9_000)


@asynccontextmanager
async def tune_on(
    tools: House, make_host, clock: FakeClock, size=(120, 36)
) -> AsyncIterator[tuple[WorkbenchApp, Pilot[None]]]:
    app = app_on(make_host([ScriptedModel(MODEL, (Script.of("Yes."),))]), clock, MODEL.ref, tune=tools)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await press_keys(pilot, "f5")
        await press_keys(pilot, "ctrl+l")
        assert isinstance(app.screen, TuneScreen)
        yield app, pilot


async def test_the_best_is_found_and_kept_with_one_key_and_depths_are_one_plot(make_host, clock):
    tools = House(quiet(six_threads))
    async with tune_on(tools, make_host, clock) as (app, pilot):
        screen = app.screen

        async def ended() -> str:
            await until(pilot, lambda: not screen.running and screen._job is not None)
            await settle(pilot)
            return shown(app)

        assert "F9 finds the fastest settings that fit" in shown(app)
        await press_keys(pilot, "f6", "home", "enter")
        await pilot.press("f9")
        text = await ended()
        assert "threads 6 instead of 8: 1.2" in text
        assert "Ctrl+T keeps num_thread 6, num_thread_batch 8 for this model" in text
        await press_keys(pilot, "ctrl+t")
        assert app.services.kept.of(MODEL) == {"num_thread": 6, "num_thread_batch": 8}
        # A constraint that is none stays in its field.
        limit = screen.fields.query(Input).first()
        limit.value = "x"
        await press_keys(pilot, "f9")
        assert "--max-gb cannot be 'x'" in shown(app)
        limit.value = ""
        tools.tune_bencher.seconds = slower_with_depth
        await pilot.press("ctrl+b")
        text = await ended()
        assert "decode t/s" in text
        assert "GiB" in text
        await press_keys(pilot, "f4")
        await press_keys(pilot, "ctrl+l")
        assert app.screen is screen


async def test_speculation_is_judged_and_kept(make_host, clock):
    tools = Judged(1.4)
    app = app_on(make_host([ScriptedModel(MODEL, (Script.of("Yes."),))]), clock, MODEL.ref, tune=tools, judgement=tools)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await press_keys(pilot, "f5")
        await press_keys(pilot, "ctrl+l")
        screen = app.screen
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, ChooseDialog))
        await pilot.press("enter")
        await until(pilot, lambda: not screen.running and screen._job is not None)
        await settle(pilot)
        text = shown(app)
        assert "ngram: 1.4" in text
        assert "turn it on." in text
        assert "67% of 3" in text
        await press_keys(pilot, "ctrl+t")
        assert app.services.kept.of(MODEL) == {"speculation": "ngram"}
