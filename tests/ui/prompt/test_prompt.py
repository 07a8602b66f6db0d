from __future__ import annotations

import stat
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from tests.ui.drive import app_on, press_keys, settle, shown, started, turns, until
from tests.ui.fakes import ANSWER, FakeClock, FakePrompts, FakeStore
from workbench.core.errors import DiskFullError
from workbench.core.models import ModelEntry
from workbench.core.prompt_text import PromptText
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.dialogs.text_viewer import ValueDialog

KEYS = {"<": "backspace", "^": "ctrl+u", "[": "left", "]": "right", "\n": "enter", "\t": "tab"}


async def burst(app: WorkbenchApp, pilot: Pilot[None], text: str) -> None:
    """Type faster than the program looks."""
    for character in text:
        key = KEYS.get(character)
        app.post_message(events.Key(key or character, None if key else character))
    await settle(pilot)


async def command(app: WorkbenchApp, pilot: Pilot[None], text: str) -> None:
    app.chat.prompt.show_text(text)
    await press_keys(pilot, "enter")


@pytest.mark.parametrize(
    ("typed", "text"),
    [("abc<d[[X", "aXbd"), ("wrong^right", "right"), ("ab[[c]]d", "cabd"), ("/show tem\t", "/show template")],
)
async def test_keys_are_taken_in_the_order_in_which_they_were_typed(
    host: ScriptedHost, clock: FakeClock, typed: str, text: str
) -> None:
    async with started(host, clock) as (app, pilot):
        await burst(app, pilot, typed)
        assert app.chat.prompt.text == text


async def test_a_parameter_is_set_and_the_text_taken(host: ScriptedHost, clock: FakeClock) -> None:
    prompts = FakePrompts()
    async with started(host, clock, prompts=prompts) as (app, pilot):
        await burst(app, pilot, "/set parameter temperature 0.25\n")
        assert app.workspace.conversation.sampling.temperature == 0.25
        assert "temperature is 0.25" in shown(app)
        assert (app.chat.prompt.text, prompts.kept) == ("", ["/set parameter temperature 0.25"])
        await command(app, pilot, "/set num_ctx 2048")
        assert "num_ctx is 2048: needs a reload" in shown(app)
        await command(app, pilot, '/set system """Be brief.\nBe kind."""')
        assert app.workspace.conversation.system == "Be brief.\nBe kind."
        await command(app, pilot, "/set stop a b")
        assert app.workspace.conversation.sampling.stop == ("a", "b")
        await command(app, pilot, "/seed 7")
        await command(app, pilot, "/set nothink")
        assert app.workspace.conversation.sampling.seed == 7
        assert "Thinking is folded" in shown(app)
        assert turns(app) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/sett x", "Did you mean 'set'"),
        ("/etc/passwd is what?", "no command /etc/passwd"),
        ("/set temperature hot", "temperature cannot be 'hot'"),
        ("/set temprature 1", "temperature"),
        ("/set temperature", "needs a value"),
        ("/set wordwrap", "lines are always wrapped"),
        ("/show weather", "There is nothing called 'weather'"),
        ("/set nothink off", "/set nothink takes no value"),
        ("/load nosuch", "There is no model 'nosuch'"),
        ("/save", "/save needs a name"),
        ("/save ~nosuchuser/x", "knows no home folder for '~nosuchuser'"),
        ("/clear now", "/clear takes no argument"),
    ],
)
async def test_what_cannot_be_done_is_said_and_the_text_stays(
    host: ScriptedHost, clock: FakeClock, text: str, said: str
) -> None:
    async with started(host, clock, size=(160, 36)) as (app, pilot):
        await command(app, pilot, text)
        assert said in shown(app)
        assert app.chat.prompt.text == text
        assert turns(app) == []


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("/show", "SmolLM2-135M-Instruct"),
        ("/show parameters", "temperature         0.8"),
        ("/show system", "There is no system prompt."),
        ("/show modelfile", "FROM "),
        ("/set", "num_ctx"),
        ("/?", "/load MODEL"),
    ],
)
async def test_a_command_shows_its_answer_in_a_dialog(
    host: ScriptedHost, clock: FakeClock, what: str, said: str
) -> None:
    async with started(host, clock) as (app, pilot):
        await command(app, pilot, what)
        dialog = app.screen
        assert isinstance(dialog, ValueDialog)
        assert said in "\n".join(line.plain for line in dialog._lay_out(200))
        await pilot.press("escape")
        assert app.chat.prompt.text == ""


async def test_models_and_conversations_are_swapped_by_command(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with started(host, clock, store=store, export_folder=Path("/exports")) as (app, pilot):
        await command(app, pilot, "//etc is what?")
        assert turns(app) == ["/etc is what?", ANSWER]
        await command(app, pilot, "/load smol:Q8_0")
        assert app.workspace.model.quant == "Q8_0"  # type: ignore[union-attr]
        await command(app, pilot, "/save my-coder")
        assert store.exports[-1][2] == Path("/exports/my-coder.modelfile")
        await command(app, pilot, "/clear")
        assert turns(app) == []


async def test_earlier_prompts_are_at_hand(host: ScriptedHost, clock: FakeClock) -> None:
    prompts = FakePrompts(["older", "newer"])
    async with started(host, clock, prompts=prompts) as (app, pilot):
        await burst(app, pilot, "now")
        await pilot.press("up")
        assert app.chat.prompt.text == "newer"
        await pilot.press("up", "up")
        assert app.chat.prompt.text == "older"
        await pilot.press("down", "down")
        assert app.chat.prompt.text == "now"
        await press_keys(pilot, "enter")
        assert prompts.kept == ["now"]


async def test_what_was_being_typed_when_the_program_died_is_in_the_prompt(
    host: ScriptedHost, clock: FakeClock
) -> None:
    prompts = FakePrompts(lost=["older half", "half a quest"])
    async with started(host, clock, prompts=prompts) as (app, pilot):
        assert app.chat.prompt.text == "half a quest"
        assert any("when the program ended" in note.message for note in app._notifications)
        assert prompts.kept == ["older half", "half a quest"]
        await burst(app, pilot, "ion")
        app.chat.input.keep_draft()
        await settle(pilot)
        assert prompts.draft == PromptText("half a question")


def editor(folder: Path, script: str) -> str:
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ('printf "%s, and more\\n" "$(cat "$1")" > "$1.new"; mv "$1.new" "$1"', "begun, and more"),
        ("exit 3", "begun"),
        ('rm "$1"', "begun"),
    ],
)
async def test_the_text_can_be_written_in_an_editor(
    host: ScriptedHost, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, text: str
) -> None:
    monkeypatch.setenv("VISUAL", editor(tmp_path, script))
    app = app_on(host, clock)
    monkeypatch.setattr(app, "suspend", app.batch_update)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await burst(app, pilot, "begun")
        await press_keys(pilot, "ctrl+g")
        assert app.chat.prompt.text == text


@pytest.mark.parametrize("named", ["/no/such/editor", 'broken "quote'])
async def test_an_editor_that_is_not_there_is_said(
    host: ScriptedHost, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("VISUAL", named)
    async with started(host, clock) as (app, pilot):
        await burst(app, pilot, "begun")
        await press_keys(pilot, "ctrl+g")
        assert app.chat.prompt.text == "begun"
        assert any("EDITOR" in note.message for note in app._notifications)


async def test_the_command_that_ends_the_program_is_no_draft(host: ScriptedHost, clock: FakeClock) -> None:
    prompts = FakePrompts()
    async with started(host, clock, prompts=prompts) as (app, pilot):
        await burst(app, pilot, "/bye")
        app.chat.input.keep_draft()
        await settle(pilot)
        assert prompts.draft == PromptText("/bye")
        await pilot.press("enter")
        await until(pilot, lambda: app.return_code is not None)
    assert prompts.draft == PromptText("")


async def test_a_text_that_cannot_be_stored_stays_on_the_screen_and_that_is_said_once(
    host: ScriptedHost, clock: FakeClock
) -> None:
    prompts = FakePrompts()
    prompts.error = DiskFullError("The text in the prompt is not stored: No space left on device.", "Free some space.")
    async with started(host, clock, prompts=prompts) as (app, pilot):
        await burst(app, pilot, "begun")
        app.chat.input.keep_draft()
        await settle(pilot)
        assert "No space left" in shown(app)
        assert app.chat.prompt.text == "begun"
        app.chat.status.clear()
        app.chat.status.show()
        await burst(app, pilot, " more")
        app.chat.input.keep_draft()
        await settle(pilot)
        assert "No space left" not in shown(app)
        prompts.error = None
        app.chat.input.keep_draft()
        await settle(pilot)
        assert prompts.draft == PromptText("begun more")


async def test_a_message_that_waits_for_its_model_is_a_draft_until_it_is_sent(
    host: ScriptedHost, clock: FakeClock
) -> None:
    prompts = FakePrompts()
    app = app_on(host, clock, prompts=prompts)
    clock.hold_after(3)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.workspace.slot.loading)
        await pilot.press(*"early", "enter")
        await until(pilot, lambda: app.workspace.queued == "early")
        app.chat.input.keep_draft()
        await until(pilot, lambda: prompts.draft == PromptText("early"))
        await pilot.press(*"more")
        app.chat.input.keep_draft()
        await until(pilot, lambda: prompts.draft == PromptText("early\n\nmore"))
        clock.release()
        await settle(pilot)
        app.chat.input.keep_draft()
        await settle(pilot)
        assert prompts.draft == PromptText("more")


async def test_the_conversation_is_scrolled_from_the_prompt(clock: FakeClock) -> None:
    entry = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")
    host = ScriptedHost([ScriptedModel(entry, (Script.of("word\n\n" * 60),))], clock=clock, sleep=clock.sleep)
    async with started(host, clock, "tiny", size=(80, 24)) as (app, pilot):
        await press_keys(pilot, *"why", "enter")
        transcript = app.chat.transcript
        places = {}
        for key in ("home", "pagedown", "end", "pageup", "ctrl+home", "ctrl+end"):
            await press_keys(pilot, key)
            places[key] = transcript.scroll_y
        most = transcript.max_scroll_y
        assert places["home"] == places["ctrl+home"] == 0 < places["pagedown"] < most
        assert places["end"] == places["ctrl+end"] == most > places["pageup"] > 0
        await pilot.press(*"ab", "home", *"c", "end", *"d")
        assert app.chat.prompt.text == "cabd"
        assert app.chat.prompt.has_focus
