from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from textual import events
from textual.pilot import Pilot

from tests.ui.drive import app_on, press_keys, settle, shown, started
from tests.ui.fakes import FakeClock, FakePrompts, FakeStore, models
from workbench.core.config import Config
from workbench.core.models import ModelEntry
from workbench.core.prompt_text import PromptText
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.prompt.chips import OPEN_LIMIT
from workbench.ui.prompt.pastes import summary
from workbench.ui.prompt.prompt import Prompt
from workbench.ui.transcript.turns import UserTurn

MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]
LONG = "\n".join(f"line {number}" for number in range(42))
CHIP = f"[pasted: {summary(LONG)}]"
MARK = f"▸ {summary(LONG)}, folded here"


async def paste(pilot: Pilot[None], text: str) -> None:
    prompt = pilot.app.screen.query_one(Prompt)
    prompt.post_message(events.Paste(text))
    await pilot.pause()


async def pasted_between(pilot: Pilot[None]) -> Prompt:
    """A prompt with a chip between two words, and the cursor at its end."""
    await settle(pilot)
    await pilot.press(*"ab ")
    await paste(pilot, LONG)
    await pilot.press(*" yz")
    return pilot.app.screen.query_one(Prompt)


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_a_paste_is_a_chip_and_sent_whole(host: ScriptedHost, clock: FakeClock, size: tuple[int, int]) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=size) as pilot:
        prompt = await pasted_between(pilot)
        assert prompt.text == f"ab {CHIP} yz"
        await press_keys(pilot, "enter")
        assert host.opened[0].requests[0].messages[-1].content == f"ab {LONG} yz"
        assert MARK in shown(app)
        assert "line 20" not in shown(app)
        app.screen.query_one(UserTurn).focus()
        await pilot.press("enter")
        assert "line 20" in shown(app)
        await pilot.press("enter")
        assert "line 20" not in shown(app)


async def test_a_click_opens_what_is_folded(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        prompt = await pasted_between(pilot)
        await pilot.click(prompt, offset=(2 + 3 + 5, 1))
        await pilot.pause()
        assert prompt.text == f"ab {LONG} yz"
        await press_keys(pilot, "ctrl+z", "enter")
        turn = app.screen.query_one(UserTurn)
        row = next(number for number, line in enumerate(turn.lines) if line.plain.startswith(MARK))
        await pilot.click(turn, offset=(6, row))
        await pilot.pause()
        assert "line 20" in shown(app)


async def test_a_key_opens_a_paste_and_undo_folds_it(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        prompt = await pasted_between(pilot)
        await pilot.press("ctrl+f")
        assert prompt.text == f"ab {LONG} yz"
        assert prompt.cursor_location == (41, len("line 41"))
        await pilot.press("ctrl+z")
        assert prompt.text == f"ab {CHIP} yz"
        await pilot.press("ctrl+y")
        assert prompt.text == f"ab {LONG} yz"


async def test_of_several_the_one_at_the_cursor_is_opened(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        prompt = await pasted_between(pilot)
        other = LONG.replace("line", "lane")
        await pilot.press("ctrl+j")
        await paste(pilot, other)
        await pilot.press("x", "up", "home", "right", "right", "right", "ctrl+f")
        assert prompt.text == f"ab {LONG} yz\n[pasted #2: {summary(other)}]x"


async def test_without_a_paste_the_key_says_so(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        await pilot.press(*"ab", "ctrl+f")
        assert app.chat.prompt.text == "ab"
        assert [each.message for each in app._notifications] == ["There is no folded paste in the text."]


async def test_a_paste_that_is_too_long_stays_folded(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        await paste(pilot, "x" * (OPEN_LIMIT + 1))
        folded = app.chat.prompt.text
        await pilot.press("ctrl+f")
        assert app.chat.prompt.text == folded
        assert "All of it is sent." in next(iter(app._notifications)).message


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        pytest.param(["backspace"] * 4, "ab ", id="backspace"),
        pytest.param([*["left"] * 4, "delete"], "ab  yz", id="delete"),
        pytest.param([*["left"] * 3, "ctrl+w"], "ab  yz", id="word left"),
        pytest.param([*["left"] * 4, "alt+delete"], "ab  yz", id="word right"),
        pytest.param([*["left"] * 4, "ctrl+k"], "ab ", id="to the end"),
        pytest.param([*["left"] * 3, "ctrl+u"], " yz", id="to the start"),
        pytest.param([*["left"] * 3, "shift+left", "Q"], "ab Q yz", id="selected"),
    ],
)
async def test_a_chip_is_deleted_as_one(host: ScriptedHost, clock: FakeClock, keys: list[str], left: str) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        prompt = await pasted_between(pilot)
        await pilot.press(*keys)
        assert prompt.text == left
        await pilot.press("ctrl+z")
        assert CHIP in prompt.text


async def test_the_cursor_steps_over_a_chip(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        prompt = await pasted_between(pilot)
        before, after = 3, 3 + len(CHIP)
        await pilot.press("left", "left", "left")
        assert prompt.cursor_location == (0, after)
        await pilot.press("left")
        assert prompt.cursor_location == (0, before)
        await pilot.press("right")
        assert prompt.cursor_location == (0, after)
        await pilot.press("ctrl+left")
        assert prompt.cursor_location == (0, before)
        await pilot.press("end", "ctrl+j", *"0123456", "up", "X")
        assert prompt.text in (f"ab X{CHIP} yz\n0123456", f"ab {CHIP}X yz\n0123456")


@pytest.mark.parametrize("column", range(3, 3 + len(CHIP) + 1))
async def test_no_edit_leaves_part_of_a_chip(host: ScriptedHost, clock: FakeClock, column: int) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        prompt = await pasted_between(pilot)
        prompt.insert("X", (0, column))
        assert prompt.text in (f"ab X{CHIP} yz", f"ab {CHIP}X yz")
        prompt.undo()
        prompt.delete((0, column), (0, column + 1))
        assert CHIP in prompt.text or "pasted" not in prompt.text


async def test_what_is_copied_or_cut_is_the_paste(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        prompt = await pasted_between(pilot)
        prompt.select_all()
        await pilot.press("ctrl+c")
        assert app.clipboard == f"ab {LONG} yz"
        await pilot.press("ctrl+x")
        assert prompt.text == ""
        assert app.clipboard == f"ab {LONG} yz"
        await pilot.press("ctrl+v")
        assert prompt.text == f"[pasted: {summary(app.clipboard)}]"
        assert prompt.full_text == f"ab {LONG} yz"


async def test_a_paste_takes_the_place_of_what_is_selected(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await pilot.press(*"one two")
        app.chat.prompt.select_all()
        await paste(pilot, "short")
        assert app.chat.prompt.text == "short"
        await pilot.press("!")
        assert app.chat.prompt.text == "short!"


async def test_the_earlier_text_has_its_chips(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        prompt = await pasted_between(pilot)
        await press_keys(pilot, "enter")
        await pilot.press("up")
        assert prompt.text == f"ab {CHIP} yz"
        assert prompt.full_text == f"ab {LONG} yz"
        prompt.put(f"now {LONG} again")
        assert prompt.text == f"now {CHIP} again"


async def test_another_branch_is_folded_where_it_was(host: ScriptedHost, clock: FakeClock) -> None:
    app: WorkbenchApp = app_on(host, clock, store=FakeStore())
    async with app.run_test(size=(120, 36)) as pilot:
        await pasted_between(pilot)
        await press_keys(pilot, "enter")
        await app.chat.transcript.show_tree(app.workspace.conversation.tree, {}, show_thoughts=True)
        await settle(pilot)
        assert MARK in shown(app)


async def test_a_race_takes_pastes_too(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, config=Config()) as (app, pilot):
        await press_keys(pilot, "f3")
        prompt = await pasted_between(pilot)
        assert prompt.full_text == f"ab {LONG} yz"
        assert prompt is not app.chat.prompt


async def test_the_prompt_grows_to_a_third_of_the_screen(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await pilot.press(*["x", "ctrl+j"] * 20)
        assert app.chat.prompt.size.height + 2 <= 36 // 3
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert app.chat.prompt.size.height + 2 <= 24 // 3
        assert app.chat.prompt.cursor_screen_offset.y < 24


async def test_a_paste_of_lines_can_be_undone(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await pilot.press(*"ab")
        await paste(pilot, "one\ntwo\nthree\n")
        await pilot.press("ctrl+z")
        assert app.chat.prompt.text == "ab"
        await pilot.press("ctrl+y", "!")
        assert app.chat.prompt.text == "abone\ntwo\nthree\n!"


async def test_a_command_gets_the_paste_in_full(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await pilot.press(*"/set system ")
        await paste(pilot, LONG)
        await press_keys(pilot, "enter")
        assert app.workspace.conversation.system == LONG
        assert app.chat.prompt.text == ""


async def test_slashes_that_a_paste_begins_with_are_no_command(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (_app, pilot):
        code = f"// {LONG}"
        await paste(pilot, code)
        await press_keys(pilot, "enter")
        assert host.opened[0].requests[0].messages[-1].content == code


async def test_a_message_that_comes_back_is_what_was_typed(make_host: MakeHost, clock: FakeClock) -> None:
    script = Script(("x",), fail_at=0)
    app = app_on(make_host([ScriptedModel(ModelEntry("tiny", "tiny", "Q4_0"), (script,))]), clock, "tiny")
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await press_keys(pilot, *"//etc", "enter")
        assert app.chat.prompt.text == "//etc"
        await pilot.press("ctrl+u")
        await paste(pilot, f"// {LONG}")
        folded = app.chat.prompt.text
        await press_keys(pilot, "enter")
        assert app.chat.prompt.text == folded


async def test_a_paste_is_a_chip_again_in_the_next_session(
    host: ScriptedHost, clock: FakeClock, make_host: MakeHost
) -> None:
    prompts = FakePrompts()
    app = app_on(host, clock, prompts=prompts)
    async with app.run_test(size=(120, 36)) as pilot:
        await pasted_between(pilot)
        await press_keys(pilot, "enter")
        await paste(pilot, LONG + "\nmore")
        app.chat.input.keep_draft()
        await settle(pilot)
    assert prompts.prompts == [PromptText(f"ab {LONG} yz", ((3, 3 + len(LONG)),))]
    lost = prompts.draft
    assert lost.pastes == ((0, len(LONG) + 5),)
    again = app_on(make_host(models()), clock, prompts=FakePrompts([*prompts.prompts, lost], [lost]))
    async with again.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        prompt = again.chat.prompt
        assert prompt.text == f"[pasted: {summary(lost.text)}]"
        assert prompt.full_text == lost.text
        await pilot.press("up", "up")
        assert (prompt.text, prompt.full_text) == (f"ab {CHIP} yz", f"ab {LONG} yz")
        await pilot.press("ctrl+f")
        assert prompt.text == f"ab {LONG} yz"


async def test_a_draft_that_is_too_long_for_the_history_has_its_chips(host: ScriptedHost, clock: FakeClock) -> None:
    lost = PromptText(f"{LONG}, please", ((0, len(LONG)),))
    async with started(host, clock, prompts=FakePrompts(lost=[lost])) as (app, _pilot):
        assert app.chat.prompt.text == f"{CHIP}, please"
