"""Answers that add nothing to a branch, and say why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.ui.chat.branches import MakeHost, ask, press
from tests.ui.drive import app_on, press_keys, settle, shown, turns, until, writing
from tests.ui.fakes import FakeClock, FakeStore
from workbench.core.chat import Message
from workbench.core.errors import EngineError
from workbench.core.models import ModelEntry
from workbench.engine.scripted import NO_DELAY, Pace, Script, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.chat.stats_panel import panel_lines, strip_lines

FAILED = Script(("never",), fail_at=0, error=EngineError("Nothing answers at http://x.", "Start the server."))
NOTICE = "Nothing answers at http://x.\nStart the server."
CUT = Script(("half", " an", " answer"), finish="length")


def app_with(scripts: Sequence[Script], make: MakeHost, clock: FakeClock) -> WorkbenchApp:
    entry = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")
    return app_on(make([ScriptedModel(entry, tuple(scripts), NO_DELAY)]), clock, "tiny")


@pytest.mark.parametrize("key", ["r", "c"])
@pytest.mark.parametrize("again", [1, 2])
async def test_why_nothing_was_added_stays_on_the_screen(
    make_host: MakeHost, clock: FakeClock, key: str, again: int
) -> None:
    app = app_with([CUT, FAILED, FAILED], make_host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await ask(pilot, "why")
        for _ in range(again):
            await press(pilot, "half an answer", key)
        assert turns(app) == ["why", "half an answer", NOTICE]
        assert NOTICE.partition("\n")[0] in shown(app)
        assert app.workspace.conversation.turns[-1].message.content == "half an answer"


async def test_a_failure_after_the_first_words_is_shown_below_the_new_branch(
    make_host: MakeHost, clock: FakeClock
) -> None:
    app = app_with([CUT, replace(FAILED, fail_at=1, answer=("some", "thing"))], make_host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await ask(pilot, "why")
        await press(pilot, "half an answer", "r")
        assert turns(app) == ["why", "some", NOTICE]


THOUGHTS = Script((), reasoning=("hm", "so"), finish="length")


@pytest.mark.parametrize("key", ["r", "c"])
@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
@pytest.mark.parametrize("first", [CUT, THOUGHTS], ids=["text", "thoughts"])
@pytest.mark.parametrize("fail_at", [0, 1])
async def test_a_failure_after_thoughts_alone_is_shown(
    make_host: MakeHost, clock: FakeClock, key: str, size: tuple[int, int], first: Script, fail_at: int
) -> None:
    app = app_with([first, replace(FAILED, fail_at=fail_at, reasoning=("ah", "so"))], make_host, clock)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await ask(pilot, "why")
        await press(pilot, "half an answer" if first is CUT else "", key)
        assert turns(app)[-1] == NOTICE
        assert NOTICE.partition("\n")[0] in shown(app)
        assert ("ah" in shown(app)) == bool(fail_at)


async def test_an_answer_of_thoughts_alone_is_not_sent_again(make_host: MakeHost, clock: FakeClock) -> None:
    app = app_with([THOUGHTS, CUT], make_host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await ask(pilot, "why", "and now")
        conversation = app.workspace.conversation
        assert [message.content for message in conversation.messages()] == ["and now", "half an answer"]
        thoughts = conversation.tree.nodes[1].number
        assert conversation.messages(thoughts)[-1] == Message("assistant", "", "hmso")


async def test_the_failure_of_an_edited_question_is_shown(make_host: MakeHost, clock: FakeClock) -> None:
    app = app_with([CUT, FAILED], make_host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await ask(pilot, "why")
        await press(pilot, "why", "e")
        await press_keys(pilot, "x", "enter")
        assert turns(app) == ["whyx", "", NOTICE]


@pytest.mark.parametrize("key", ["r", "c"])
async def test_an_answer_that_adds_nothing_says_so(make_host: MakeHost, clock: FakeClock, key: str) -> None:
    app = app_with([CUT, Script(())], make_host, clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await ask(pilot, "why")
        await press(pilot, "half an answer", key)
        assert turns(app)[:2] == ["why", "half an answer"]
        assert "added nothing" in turns(app)[-1]


async def test_answer_now_ends_the_thoughts_and_says_where_it_cannot(make_host: MakeHost, clock: FakeClock) -> None:
    script = Script(("It ", "is ", "four."), ("Two ", "and ", "two ") * 20)
    entry = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")
    app = app_on(make_host([ScriptedModel(entry, (script,), Pace(decode_tps=20))]), clock, "tiny")
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+b")
        assert "No answer is being written" in shown(app)
        app.chat.status.clear()
        clock.hold_after(8)
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: writing(app) and writing(app).is_thinking)
        answering = app.workspace.answering
        assert answering is not None
        app.chat.view.look()
        assert "Ctrl+B answers now" in shown(app)
        await pilot.press("ctrl+b")
        assert "The answer follows without further thoughts." in shown(app)
        clock.release()
        await until(pilot, lambda: answering.answer.has_answer)
        assert answering.end_thoughts() == "The thoughts of this answer have ended."
        await settle(pilot)
        assert turns(app)[-1] == "It is four."
        readings = app.workspace.readings()
        assert 0 < ((readings.metrics and readings.metrics.reasoning_tokens) or 0) < 60
        panel = [line.plain for line in panel_lines(readings, 31, 40)]
        assert [line.split()[0] for line in panel if line.endswith(" tokens")] == ["Prompt", "Thoughts", "Answer"]
        assert "thoughts" in strip_lines(readings, 80)[0].plain


async def test_the_figures_are_those_of_the_branch_that_is_shown_and_of_an_opened_session(
    make_host: MakeHost, clock: FakeClock
) -> None:
    entry = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")
    scripts = (Script(("one", " two")), Script(("one", " two", " three")), Script(("one",)))
    store = FakeStore()
    app = app_on(make_host([ScriptedModel(entry, scripts, Pace(decode_tps=20))]), clock, "tiny", store=store)

    def answer_tokens() -> str:
        (row,) = [line.plain for line in app.chat.view.panel.lines if line.plain.startswith("Answer")]
        return row.split()[1]

    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await ask(pilot, "why")
        await press(pilot, "one two", "r")
        assert answer_tokens() == "3"
        await press(pilot, "one two three", "left")
        assert answer_tokens() == "2"
        await ask(pilot, "more")
        assert answer_tokens() == "1"
        await press(pilot, "one", "u")
        assert answer_tokens() == "2"
        session = app.workspace.session()
        store.stored[session.id] = session
        await press_keys(pilot, "ctrl+n")
        assert answer_tokens() == "—"
        await press_keys(pilot, "ctrl+r", "enter")
        assert answer_tokens() == "2"
