from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.widgets import Input, Label

from tests.ui.drive import app_on, press_keys, settle, shown, started, turns, until, writing
from tests.ui.fakes import ANSWER, FakeClock, FakeStore
from workbench.core.errors import EngineError, MemoryShortError
from workbench.core.models import ModelEntry
from workbench.engine.scripted import Script, ScriptedEngine, ScriptedHost, ScriptedModel
from workbench.ui.dialogs.model_picker import ModelPicker, matching, ordered

MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]
SMALL = ModelEntry("small", "Some", "Q4_0", size_bytes=100)
BIG = ModelEntry("big", "Some", "F16", size_bytes=900)
OTHER = ModelEntry("other", "Other", "Q8_0", size_bytes=50, source="ollama")


def test_the_own_quantizations_come_first_and_the_open_one_after_them() -> None:
    assert ordered([OTHER, BIG, SMALL], BIG) == [SMALL, BIG, OTHER]
    assert ordered([OTHER, BIG], None) == [OTHER, BIG]


def test_a_search_finds_names_quantizations_and_sources() -> None:
    models = [SMALL, BIG, OTHER]
    assert matching(models, "f16") == [BIG]
    assert matching(models, "olla") == [OTHER]
    assert matching(models, "  ") == models
    assert matching(models, "zzz") == []


async def test_swapping_keeps_the_conversation(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with started(host, clock, store=store) as (app, pilot):
        await press_keys(pilot, *"why", "enter")
        await press_keys(pilot, "ctrl+o")
        assert isinstance(app.screen, ModelPicker)
        assert isinstance(app.focused, Input)
        await press_keys(pilot, "enter")
        assert [engine.info.model.ref for engine in host.opened] == ["smol:Q4_K_M", "smol:Q8_0"]
        assert host.opened[0].closed
        await press_keys(pilot, *"and", "enter")
        contents = [message.content for message in host.opened[1].requests[0].messages]
        assert contents == ["why", ANSWER, "and"]
        assert store.journals[0].kinds().count("model") == 2


async def test_the_picker_searches_and_closes(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "ctrl+o", *"qwen")
        assert app.screen.list.count == 1
        assert "1 of 4" in str(app.screen.query_one("#picker-state", Label).content)
        await pilot.press("escape")
        assert app.screen is app.chat
        assert len(host.opened) == 1
        await press_keys(pilot, "ctrl+o")
        await press_keys(pilot, "down", "down", "down", "up", "pagedown", "enter")
        assert "The file /m/b is truncated." in turns(app)[-1]


async def test_a_load_that_fails_leaves_the_old_model(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "ctrl+o", *"broken", "enter")
        assert turns(app) == ["The file /m/b is truncated.\nDownload it again."]
        assert app.workspace.model is not None
        assert app.workspace.model.ref == "smol:Q4_K_M"
        assert not host.opened[0].closed
        await press_keys(pilot, *"why", "enter")
        assert ANSWER in turns(app)


async def test_an_unknown_first_model_names_the_nearest(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, "smol:Q4") as (app, _pilot):
        assert "Did you mean 'smol:Q4_K_M'" in turns(app)[0]
        assert app.workspace.engine is None


async def test_escape_stops_a_load_and_the_old_model_stays(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        clock.hold_after(2)
        await pilot.press("ctrl+o", "enter")
        await until(pilot, lambda: app.workspace.slot.loading)
        await pilot.press(*"later", "enter", "escape")
        clock.release()
        await settle(pilot)
        assert "was stopped" in shown(app)
        assert app.workspace.model is not None
        assert app.workspace.model.ref == "smol:Q4_K_M"
        assert app.chat.prompt.text == "later"


async def test_another_choice_stops_the_load_before_it(host: ScriptedHost, clock: FakeClock) -> None:
    clock.hold_after(2)
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.workspace.slot.loading)
        await pilot.press("ctrl+o", *"qwen", "enter")
        await until(pilot, lambda: app.workspace.slot.load is None or app.workspace.slot.load.ref == "qwen")
        clock.release()
        await settle(pilot)
        assert [engine.info.model.ref for engine in host.opened] == ["qwen"]


async def test_swapping_stops_the_answer_first(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        clock.hold_after(4)
        await pilot.press(*"why", "enter")
        await until(pilot, lambda: writing(app) and writing(app).meter.tokens > 1)
        await pilot.press("ctrl+o", *"qwen", "enter")
        await until(pilot, lambda: app.workspace.answering is None)
        clock.release()
        await settle(pilot)
        assert app.workspace.conversation.turns[-1].finish_reason == "cancelled"
        assert app.workspace.model is not None
        assert app.workspace.model.ref == "qwen"


async def test_warnings_of_a_model_are_shown(make_host: MakeHost, clock: FakeClock) -> None:
    model = ScriptedModel(SMALL, (Script.of("x"),), warnings=("The context is longer than the model was trained for.",))
    async with started(make_host([model]), clock, "small") as (app, _pilot):
        assert turns(app) == ["The context is longer than the model was trained for."]


class ShortOfMemory(ScriptedHost):
    """Opens one model at a time."""

    opened_beside = 0

    async def open(self, ref, settings, on_progress, cancel):
        if any(not engine.closed for engine in self.opened):
            self.opened_beside += 1
            raise MemoryShortError("Both do not fit.")
        return await super().open(ref, settings, on_progress, cancel)


async def test_what_does_not_fit_beside_the_old_model_takes_its_place(clock: FakeClock) -> None:
    broken = ScriptedModel(OTHER, (), load_error=EngineError("broken"))
    scripted = [ScriptedModel(SMALL, (Script.of("x"),)), ScriptedModel(BIG, (Script.of("y"),)), broken]
    host = ShortOfMemory(scripted, clock=clock, sleep=clock.sleep)
    async with started(host, clock, "small") as (app, pilot):
        await press_keys(pilot, "ctrl+o", "enter")
        assert app.workspace.model == BIG
        assert host.opened_beside == 1
        await press_keys(pilot, "ctrl+o", *"other", "enter")
        assert turns(app) == ["broken"]
        assert app.workspace.model == BIG
        engine = app.workspace.engine
        assert isinstance(engine, ScriptedEngine)
        assert not engine.closed


async def test_changed_load_settings_need_a_reload(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await app.workspace.change("", {"num_ctx": 512})
        app.chat.view.look()
        assert "settings need a reload" in shown(app)
        await press_keys(pilot, "f9")
        assert "settings need a reload" not in shown(app)
        engine = app.workspace.engine
        assert engine is not None
        assert engine.info.settings.num_ctx == 512


async def test_a_click_loads_a_model_and_a_broken_one_says_why(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "ctrl+o")
        picker = app.screen
        assert isinstance(picker, ModelPicker)
        drawn = [picker.list.render_line(y).text.rstrip() for y in range(picker.list.count)]
        assert any("The file is truncated" in line for line in drawn)
        await pilot.click(picker.list, offset=(3, 10))
        assert app.screen is picker
        await pilot.click(picker.list, offset=(3, 2))
        await settle(pilot)
        assert app.screen is app.chat
        assert len(host.opened) == 2


async def test_a_picker_that_is_closed_before_it_is_drawn_ends_quietly(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        app.push_screen(ModelPicker(app.services, None))
        app.pop_screen()
        await settle(pilot)
        assert app.screen is app.chat
