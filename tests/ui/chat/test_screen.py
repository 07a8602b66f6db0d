from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from textual import events
from textual.pilot import Pilot

from tests.ui.drive import app_on, press_keys, settle, shown, started, turns, until, writing
from tests.ui.fakes import ANSWER, FakeClock, FakeConfigFile, FakePrompts, FakeStore
from workbench.core.chat import Message
from workbench.core.config import Config
from workbench.core.errors import EngineError
from workbench.core.events import Finished
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.scripted import Pace, Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.dialogs.parameter_field import ParameterField
from workbench.ui.prompt.pastes import summary
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.transcript.answer import AnswerTurn

MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]
ENTRY = ModelEntry("tiny", "tiny", "Q4_0")


async def ask(pilot: Pilot[None], text: str) -> None:
    await pilot.press(*text, "enter")


async def focused_answer(app: WorkbenchApp, pilot: Pilot[None]) -> None:
    await press_keys(pilot, *"why", "enter")
    app.query_one(AnswerTurn).focus()


async def test_an_answer_streams_and_its_figures_stay(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with started(host, clock, store=store) as (app, pilot):
        await ask(pilot, "why")
        await settle(pilot)
        assert turns(app) == ["why", ANSWER]
        assert "45.0 tok/s" in shown(app)
        assert "stop" in app.workspace.conversation.turns[-1].finish_reason
        kinds = [kind for kind in store.journals[0].kinds() if kind != "partial"]
        assert kinds[:4] == ["settings", "model", "message", "answer"]
        assert app.chat.prompt.text == ""


async def test_the_second_question_shows_what_was_cached(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        for text in ("one", "two"):
            await ask(pilot, text)
            await settle(pilot)
        request = host.opened[0].requests[1]
        assert [message.role for message in request.messages] == ["user", "assistant", "user"]
        metrics = app.workspace.conversation.turns[-1].metrics
        assert metrics is not None
        assert metrics.cached_tokens
        assert f"{metrics.cached_tokens} of {metrics.prompt_tokens}" in shown(app)


async def test_the_notice_of_a_model_is_shown_once_in_a_conversation(host, clock, monkeypatch) -> None:
    monkeypatch.setattr("workbench.engine.scripted.engine.Finished", partial(Finished, notice="It was joined."))
    async with started(host, clock) as (app, pilot):
        for text in ("one", "two"):
            await ask(pilot, text)
            await settle(pilot)
        assert shown(app).count("It was joined.") == 1


async def test_escape_stops_in_the_middle_and_keeps_what_was_written(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        clock.hold_after(4)
        await ask(pilot, "why")
        await until(pilot, lambda: writing(app) and writing(app).meter.tokens > 1)
        app.chat.view.look()
        await until(pilot, lambda: "Writing" in shown(app))
        await press_keys(pilot, "escape")
        turn = app.workspace.conversation.turns[-1]
        assert turn.finish_reason == "cancelled"
        assert ANSWER.startswith(turn.message.content)
        assert turn.message.content
        assert "stopped" in shown(app)
        assert app.screen is app.chat


async def test_escape_stops_the_prefill_and_the_question_comes_back(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        clock.hold_after(0)
        await ask(pilot, "why")
        await until(pilot, lambda: writing(app) and writing(app).phase == "prefill")
        app.chat.view.look()
        await until(pilot, lambda: "Reading the prompt" in shown(app))
        await press_keys(pilot, "escape")
        assert app.chat.prompt.text == "why"
        clock.release()
        await press_keys(pilot, "!", "enter")
        assert [message.content for message in host.opened[0].requests[-1].messages] == ["why!"]


async def test_a_failing_engine_keeps_the_text_so_far(make_host: MakeHost, clock: FakeClock) -> None:
    script = Script(("half", " an", " answer"), fail_at=2, error=EngineError("The GPU is gone.", "Plug it in."))
    async with started(make_host([ScriptedModel(ENTRY, (script,))]), clock, "tiny") as (app, pilot):
        await ask(pilot, "why")
        await settle(pilot)
        assert turns(app) == ["why", "half an", "The GPU is gone.\nPlug it in."]
        assert app.workspace.conversation.turns[-1].finish_reason == "failed"


async def test_an_engine_that_fails_at_once_returns_the_question_to_the_prompt(
    make_host: MakeHost, clock: FakeClock
) -> None:
    script = Script(("x",), fail_at=0)
    async with started(make_host([ScriptedModel(ENTRY, (script,))]), clock, "tiny") as (app, pilot):
        await ask(pilot, "why")
        await settle(pilot)
        assert app.chat.prompt.text == "why"


async def test_an_unexpected_error_is_shown_and_logged(
    host: ScriptedHost, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(host, clock) as (app, pilot):
        host.opened[0].generate = None  # type: ignore[method-assign, assignment]
        await ask(pilot, "why")
        await until(pilot, lambda: len(turns(app)) > 2)
        assert "Unexpected error: answer failed: TypeError." in turns(app)[-1]
        assert "Traceback" in caplog.text


async def test_an_empty_prompt_does_nothing(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "enter", "space", "enter")
        assert turns(app) == []
        assert host.opened[0].requests == []


async def test_a_second_question_waits_in_the_prompt(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        clock.hold_after(1)
        await ask(pilot, "one")
        await until(pilot, lambda: app.workspace.answering is not None)
        await ask(pilot, "two")
        assert app.chat.prompt.text == "two"
        assert "Your text stays here" in shown(app)
        clock.release()
        await settle(pilot)


async def test_a_message_sent_during_a_load_goes_out_afterwards(host: ScriptedHost, clock: FakeClock) -> None:
    clock.hold_after(3)
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.workspace.slot.loading)
        await ask(pilot, "early")
        await until(pilot, lambda: "Loading smol:Q4_K_M" in shown(app))
        assert "your message waits for it" in shown(app)
        clock.release()
        await settle(pilot)
        assert turns(app) == ["early", ANSWER]


async def test_a_message_that_waits_for_a_load_with_an_unexpected_error_comes_back(
    host: ScriptedHost, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()

    async def broken(*_: object) -> None:
        await refused.wait()
        raise TypeError("a fault of the program")

    monkeypatch.setattr(host, "open", broken)
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.workspace.slot.loading)
        await pilot.press(*"early", "enter")
        await until(pilot, lambda: app.workspace.queued == "early")
        refused.set()
        await until(pilot, lambda: "Unexpected error" in turns(app)[-1])
        assert app.chat.prompt.text == "early"
        assert app.workspace.queued is None


async def test_without_a_model_the_text_stays(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, None) as (app, pilot):
        assert "Type: workbench demo" in shown(app)
        await ask(pilot, "anyone")
        assert app.chat.prompt.text == "anyone"
        assert "No model is open" in shown(app)


async def test_thoughts_are_shown_apart_and_folded(make_host: MakeHost, clock: FakeClock) -> None:
    script = Script.of("The answer.", "A long thought.")
    async with started(make_host([ScriptedModel(ENTRY, (script,))]), clock, "tiny") as (app, pilot):
        await ask(pilot, "why")
        await settle(pilot)
        assert "A long thought." in shown(app)
        assert turns(app)[-1] == "The answer."
        await pilot.press("ctrl+t")
        assert "A long thought." not in shown(app)
        assert "▸ Thought" in shown(app)
        message = app.workspace.conversation.turns[-1].message
        assert message == Message("assistant", "The answer.", "A long thought.")


async def test_output_cannot_reach_the_terminal(make_host: MakeHost, clock: FakeClock) -> None:
    tokens = ("\x1b", "[2J", "\x1b]0;owned\x07", "\r", "\n", "[bold]no markup[/]", "\x9b31m", "\u202etxt")
    async with started(make_host([ScriptedModel(ENTRY, (Script(tokens),))]), clock, "tiny") as (app, pilot):
        await ask(pilot, "why")
        await settle(pilot)
        text = shown(app)
        assert not any(ord(char) < 32 and char != "\n" for char in text)
        assert "\u202e" not in text
        assert "␛[2J" in text
        assert "[bold]no markup[/]" in text
        # What goes back to the model, and to disk, is what it wrote.
        assert app.workspace.conversation.turns[-1].message.content == "".join(tokens)


@pytest.mark.parametrize("length", [5_000, 200_000])
async def test_a_long_paste_is_folded_and_sent_in_full(host: ScriptedHost, clock: FakeClock, length: int) -> None:
    async with started(host, clock, config=Config()) as (app, pilot):
        text = ("lorem ipsum " * length)[:length]
        app.chat.prompt.post_message(events.Paste(text))
        await settle(pilot)
        assert app.chat.prompt.text == f"[pasted: {summary(text)}]"
        await press_keys(pilot, *" why", "enter")
        assert host.opened[0].requests[0].messages[-1].content == f"{text} why"
        assert "all of it is sent" in shown(app)
        await pilot.press("up")
        assert app.chat.prompt.full_text == f"{text} why"


async def test_a_short_paste_is_cleaned(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        app.chat.prompt.post_message(events.Paste("one\r\ntwo\x1b[31m"))
        await settle(pilot)
        assert app.chat.prompt.text == "one\ntwo␛[31m"


async def test_newlines_and_history(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await pilot.press("a", "ctrl+j", "b", "alt+enter", "c", "shift+enter", "d")
        assert app.chat.prompt.text == "a\nb\nc\nd"
        await press_keys(pilot, "enter")
        await pilot.press(*"draft", "up")
        assert app.chat.prompt.text == "a\nb\nc\nd"
        await pilot.press("down")
        assert app.chat.prompt.text == "draft"


async def test_readline_keys_edit_the_prompt(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await pilot.press(*"one two", "ctrl+w", "ctrl+a", "x", "ctrl+e", "y")
        assert app.chat.prompt.text == "xone y"
        await pilot.press("ctrl+u")
        assert app.chat.prompt.text == ""


async def test_typing_goes_to_the_prompt_wherever_the_focus_is(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await focused_answer(app, pilot)
        await pilot.press("h", "i")
        assert isinstance(app.focused, Prompt)
        assert app.chat.prompt.text == "hi"


async def test_a_turn_is_copied(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await focused_answer(app, pilot)
        await pilot.press("y")
        assert app.clipboard == ANSWER


async def test_partials_are_kept_twice_a_second(make_host: MakeHost, clock: FakeClock) -> None:
    store = FakeStore()
    model = ScriptedModel(ENTRY, (Script.of("word " * 100),), Pace(decode_tps=20))
    async with started(make_host([model]), clock, "tiny", store=store) as (_app, pilot):
        await ask(pilot, "why")
        await settle(pilot)
        kinds = store.journals[0].kinds()
        assert 7 <= kinds.count("partial") <= 11
        assert kinds[-1] == "answer"


async def test_a_failing_journal_is_reported_once_and_the_chat_continues(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    store.broken = True
    async with started(host, clock, store=store) as (app, pilot):
        await ask(pilot, "why")
        await settle(pilot)
        told = [text for text in turns(app) if "The disk is full" in text]
        assert len(told) == 1
        assert ANSWER in turns(app)


async def test_a_new_chat_begins_empty_with_the_same_settings(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with started(host, clock, store=store) as (app, pilot):
        await ask(pilot, "why")
        await settle(pilot)
        await app.workspace.change("Be brief.", {"top_k": 7})
        await press_keys(pilot, "ctrl+n")
        assert turns(app) == []
        assert store.journals[0].kinds()[-1] == "close"
        await ask(pilot, "again")
        await settle(pilot)
        request = host.opened[0].requests[-1]
        assert [message.content for message in request.messages] == ["Be brief.", "again"]
        assert request.sampling.top_k == 7


async def test_ctrl_c_stops_and_twice_quits(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with started(host, clock, store=store) as (app, pilot):
        clock.hold_after(4)
        await ask(pilot, "why")
        await until(pilot, lambda: writing(app) and writing(app).meter.tokens > 1)
        await press_keys(pilot, "ctrl+c")
        assert app.workspace.conversation.turns[-1].finish_reason == "cancelled"
        assert "again quits" in shown(app)
        await press_keys(pilot, "ctrl+c")
    assert app.return_code == 0
    assert store.journals[0].kinds()[-1] == "close"
    assert host.opened[0].closed


async def test_quitting_in_the_middle_keeps_the_answer(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with started(host, clock, store=store) as (app, pilot):
        clock.hold_after(4)
        await ask(pilot, "why")
        await until(pilot, lambda: writing(app) and writing(app).meter.tokens > 1)
        await pilot.press("ctrl+q")
        await until(pilot, lambda: not app.is_running or host.opened[0].closed)
    assert store.journals[0].kinds()[-2:] == ["answer", "close"]


@pytest.mark.parametrize("sent", [True, False])
async def test_quitting_overtakes_no_key(host: ScriptedHost, clock: FakeClock, sent: bool) -> None:
    prompts = FakePrompts()
    async with started(host, clock, prompts=prompts) as (app, pilot):
        # In one go, as they arrive over a slow line.
        for key in (*"why", *(["enter"] if sent else []), "ctrl+q"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: not app.is_running or host.opened[0].closed)
    assert "why" in (prompts.kept if sent else [prompts.draft.text])


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60), (40, 12)])
async def test_it_works_at_every_size(host: ScriptedHost, clock: FakeClock, size: tuple[int, int]) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await ask(pilot, "why")
        await settle(pilot)
        assert ANSWER in turns(app)
        assert "45.0" in shown(app) or "┣" in shown(app)


async def test_the_panel_folds_to_a_strip_when_the_window_shrinks(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await ask(pilot, "why")
        await settle(pilot)
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert not app.chat.view.panel.display
        assert "│ ctx " in shown(app)
        await pilot.resize_terminal(120, 36)
        await settle(pilot)
        assert app.chat.view.panel.display
        assert "CONTEXT" in shown(app)
        assert not app.chat.view.strip.display


async def test_a_full_context_says_what_to_press_and_the_settings_have_it(clock: FakeClock) -> None:
    entry = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")
    host = ScriptedHost([ScriptedModel(entry, (Script.of("word " * 90),))], clock=clock, sleep=clock.sleep)
    save = FakeConfigFile()
    app = app_on(host, clock, "tiny", config=Config(load=LoadSettings(num_ctx=64)), save=save)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await ask(pilot, "why")
        await settle(pilot)
        assert "The context is full." in shown(app)
        assert "F6: a longer context" in shown(app)
        await press_keys(pilot, "f6")
        field = app.screen.query_one("#field-when_context_full", ParameterField)
        field.input.value = "drop_oldest"
        await press_keys(pilot, "f7")
        assert app.workspace.conversation.when_context_full == "drop_oldest"
        assert save.saved[0]["when_context_full"] == "drop_oldest"


async def test_up_and_down_go_through_the_settings_also_out_of_the_system_prompt(
    host: ScriptedHost, clock: FakeClock
) -> None:
    async with started(host, clock, size=(60, 20)) as (app, pilot):
        await press_keys(pilot, "f6")
        count = len(app.screen.query(ParameterField))
        await pilot.press("up")
        assert app.focused is app.screen.query_one("#settings-system")
        seen = set()
        for _ in range(count):
            await pilot.press("down")
            seen.add(app.focused)
        assert len(seen) == count


async def test_a_pasted_chip_says_its_tokens_against_the_room_that_is_left(
    host: ScriptedHost, clock: FakeClock
) -> None:
    async with started(host, clock) as (app, pilot):
        app.chat.prompt.post_message(events.Paste("word " * 400))
        await settle(pilot)
        await until(pilot, lambda: "that are left in the context" in shown(app))
        assert "With the paste" in shown(app)
