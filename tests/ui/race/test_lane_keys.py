"""The keys of lanes."""

from __future__ import annotations

from dataclasses import replace

from textual import events
from textual.widgets import Input

from tests.ui.drive import press_keys, settle, started
from tests.ui.fakes import FakeClock
from tests.ui.race.drive import ANSWERS, MakeHost, ask, labels, race_of, race_on, scripted, seen
from workbench.engine.scripted import Script, ScriptedHost
from workbench.ui.dialogs.model_picker import ModelPicker
from workbench.ui.race.lane import LaneColumn


async def test_a_lane_is_removed_swapped_and_stopped_by_its_own_keys(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        await press_keys(pilot, "tab", "x", "enter")
        assert len(labels(app)) == 2
        race_of(app).query(LaneColumn).first().scroll.focus()
        await press_keys(pilot, "o")
        assert isinstance(app.screen, ModelPicker)
        await ask(pilot, "q4")
        assert labels(app)[0] == "Sea-1B Q4_K_M"
        assert ANSWERS["Q4_K_M"] in race_of(app).query(LaneColumn).first().lane.answers[0].outcome.message.content


async def test_a_lane_with_settings_of_its_own(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        list(race_of(app).query(LaneColumn))[1].scroll.focus()
        await press_keys(pilot, "e")
        app.screen.query_one("#field-temperature Input", Input).value = "1.5"
        await press_keys(pilot, "escape")
        assert labels(app) == ["Sea-1B F16", "Sea-1B Q8_0", "Sea-1B Q4_K_M"]
        assert "temperature=1.5" in seen(app)
        assert host.opened[-1].requests[-1].sampling.temperature == 1.5
        await press_keys(pilot, "f2", "f3", *"and", "enter")
        heat = {e.info.model.quant: e.requests[-1].sampling.temperature for e in host.opened[1:] if not e.closed}
        assert heat == {"F16": 0.0, "Q8_0": 1.5, "Q4_K_M": 0.0}
        count = len(host.opened)
        list(race_of(app).query(LaneColumn))[1].scroll.focus()
        await press_keys(pilot, "e", "escape")
        assert len(host.opened) == count


async def test_the_differences_are_gone_through(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        column = list(race_of(app).query(LaneColumn))[2]
        column.scroll.focus()
        await press_keys(pilot, "w")
        styles = {span.style for line in column.text.lines for span in line.spans}
        assert {"lane--added", "lane--missing"} <= styles
        assert column.text.differences
        await press_keys(pilot, "n", "p", "w")
        assert not any(span.style == "lane--added" for line in column.text.lines for span in line.spans)


async def test_keys_that_are_pressed_fast_reach_the_lane_that_tab_goes_to(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, size=(80, 24), question="") as (app, pilot):
        for key in ("tab", "tab", "right"):
            app.post_message(events.Key(key, None))
        await settle(pilot)
        assert "lanes ← 2-3/3" in seen(app)


async def test_on_a_narrow_screen_every_lane_is_gone_to_and_has_its_keys(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock, size=(80, 24)) as (app, pilot):
        columns = list(race_of(app).query(LaneColumn))

        def shown() -> list[int]:
            return [index for index, column in enumerate(columns) if column.display]

        async def press(*keys: str) -> list[int]:
            await press_keys(pilot, *keys)
            return shown()

        assert shown() == [0, 1]
        assert "lanes 1-2/3 →" in seen(app)
        assert await press("tab", "tab") == [0, 1]
        assert await press("right") == [1, 2]
        assert columns[2].scroll.has_focus
        assert "lanes ← 2-3/3" in seen(app)
        assert "green" in " ".join(line.plain for line in columns[2].text.lines)
        assert await press("right") == [1, 2], "there is no lane behind the last one"
        assert await press("left", "left") == [0, 1]
        await pilot.resize_terminal(60, 24)
        await settle(pilot)
        assert shown() == [0]
        assert "lanes 1/3 →" in seen(app)
        assert await press("tab", "tab") == [2]
        assert columns[2].scroll.has_focus
        assert await press("tab") == [2]
        assert race_of(app).prompt.has_focus
        await press("shift+tab", "x", "enter")
        assert len(labels(app)) == 2


async def test_what_is_typed_after_a_click_on_a_lane_goes_to_the_prompt(host: ScriptedHost, clock: FakeClock) -> None:
    async with race_on(host, clock) as (app, pilot):
        column = list(race_of(app).query(LaneColumn))[1]
        await pilot.click(column.text, offset=(2, 2))
        await pilot.press(*"extra")
        assert race_of(app).prompt.text == "extra"
        assert len(labels(app)) == 3
        await pilot.click(column.head, offset=(2, 1))
        assert column.scroll.has_focus


async def test_a_new_question_scrolls_every_lane_to_it_and_another_width_hides_no_word(
    make_host: MakeHost, clock: FakeClock
) -> None:
    long = " ".join(f"word{number}" for number in range(300))
    entries = [scripted("F16", 300), scripted("Q8_0", 200)]
    models = [replace(each, scripts=(Script.of("warm"), Script.of(long), Script.of(long))) for each in entries]
    async with started(make_host(models), clock, "Sea-1B:F16", size=(80, 24)) as (app, pilot):
        await press_keys(pilot, "f3")
        await ask(pilot, "why")
        columns = list(race_of(app).query(LaneColumn))
        for column in columns:
            column.scroll.scroll_home(animate=False)
        await ask(pilot, "and")
        assert all(column.scroll.scroll_y == column.scroll.max_scroll_y > 0 for column in columns)
        await pilot.resize_terminal(140, 24)
        await settle(pilot)
        for column in columns:
            assert max(line.cell_length for line in column.text.lines) <= column.text.size.width
            assert " ".join(line.plain.strip() for line in column.text.lines).endswith(long)
