"""Messages go when what they say is no longer so, stand in the place of older ones, and leave the prompt free."""

from __future__ import annotations

import pytest
from textual.widgets._toast import Toast, ToastRack

from tests.ui.drive import app_on, press_keys, settle, shown, started, turns, until, writing
from tests.ui.fakes import FakeClock
from workbench.core.logbook import LogBook
from workbench.engine.scripted import ScriptedHost
from workbench.ui.chat.log_pane import LogPane
from workbench.ui.transcript.notice import Notice
from workbench.ui.transcript.swap_card import SwapCard


async def test_a_refusal_goes_when_there_is_no_more_reason_for_it(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        clock.hold_after(4)
        await pilot.press(*"why", "enter")
        await until(pilot, lambda: writing(app) and writing(app).meter.tokens > 1)
        await pilot.press(*"and", "enter")
        await until(pilot, lambda: "An answer is being written" in shown(app))
        app.chat.branches.perform("regenerate")
        assert "An answer is being written" in shown(app), "not that there is no message"
        clock.release()
        await settle(pilot)
        assert "An answer is being written" not in shown(app)
        assert app.chat.prompt.text == "and"


async def test_the_ways_to_a_model_go_when_one_is_open(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, None, no_model_hint="pip install a model") as (app, pilot):
        assert "pip install a model" in shown(app)
        await press_keys(pilot, *"/load broken", "enter")
        assert turns(app) == ["The file /m/b is truncated.\nDownload it again."]
        await press_keys(pilot, *"/load qwen", "enter")
        assert turns(app) == []
        assert "No model is open" not in shown(app)
        assert "pip install a model" not in shown(app)
        assert "choose a model; the conversation continues with it" in shown(app)


async def test_swaps_and_exports_do_not_pile_up(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        for _ in range(3):
            await press_keys(pilot, "ctrl+l")
        assert app.screen.query_one(SwapCard).text.startswith("Q4_K_M → Q8_0")
        await press_keys(pilot, *"why", "enter")
        await press_keys(pilot, "ctrl+l")
        assert len(app.screen.query(SwapCard)) == 2, "one above the answer, and one below"
        for _ in range(2):
            await press_keys(pilot, "f7", "enter")
        assert [notice.text.split()[0] for notice in app.screen.query(Notice)] == ["Written"]


@pytest.mark.parametrize("size", [(120, 36), (60, 20)])
async def test_no_notification_covers_the_prompt_and_the_log_wraps(
    host: ScriptedHost, clock: FakeClock, size: tuple[int, int]
) -> None:
    logs = LogBook()
    logs.add("info", "llama_cpp", "word " * 40)
    app = app_on(host, clock, logs=logs)
    async with app.run_test(size=size, notifications=True) as pilot:
        await settle(pilot)
        for _ in range(4):
            app.notify("word " * 30)
        await press_keys(pilot, "f12")
        rack = app.screen.get_child_by_type(ToastRack)
        assert len(rack.query(Toast)) == 4
        assert not rack.region.overlaps(app.chat.prompt.region)
        app.chat.status.say("word " * 20)
        assert sum(line.plain.count("word") for line in app.chat.status.lines) == 20
        lines = app.screen.query_one(LogPane).text.lines
        assert sum(line.plain.count("word") for line in lines) == 40
        assert max(line.cell_length for line in lines) <= app.chat.prompt.region.width
