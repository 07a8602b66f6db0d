from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import TextArea

from tests.ui.drive import app_on, press_keys, settle, shown, started, turns, until, writing
from tests.ui.fakes import FakeClock, FakeStore
from workbench.core.chat import Message
from workbench.core.errors import EngineError
from workbench.core.models import ModelEntry
from workbench.core.session import Session
from workbench.core.tree import INTERRUPTED, Node, Tree, Turn, View
from workbench.engine.scripted import NO_DELAY, Pace, Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.chat.edit_dialog import EditDialog
from workbench.ui.chat.stats_panel import panel_lines, strip_lines
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.transcript.turns import TurnLines
from workbench.ui.widgets.keybar import KeyBar

MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]
ANSWERS = ("first answer", "second answer", "third answer", "fourth answer")


@pytest.fixture
def host(clock: FakeClock) -> ScriptedHost:
    """A model that never says the same twice."""
    entry = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")
    scripts = tuple(Script.of(text) for text in ANSWERS)
    return ScriptedHost([ScriptedModel(entry, scripts, Pace(decode_tps=20))], clock=clock, sleep=clock.sleep)


async def ask(pilot: Pilot[None], *texts: str) -> None:
    for text in texts:
        await press_keys(pilot, *text, "enter")


def focus(app: WorkbenchApp, text: str) -> None:
    next(turn for turn in app.query(TurnLines) if turn.text == text).focus()


def messages(host: ScriptedHost, request: int = -1) -> list[str]:
    return [message.content for message in host.opened[0].requests[request].messages]


async def press(pilot: Pilot[None], text: str, *keys: str) -> None:
    """Press keys on a turn."""
    app = pilot.app
    assert isinstance(app, WorkbenchApp)
    focus(app, text)
    await press_keys(pilot, *keys)


async def test_another_answer_is_a_branch_and_both_are_stored(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with started(host, clock, "tiny", store=store) as (app, pilot):
        await ask(pilot, "why")
        await press(pilot, "first answer", "r")
        assert turns(app) == ["why", "second answer"]
        assert messages(host) == ["why"]
        assert "◂2/2▸" in shown(app)
        answers = [record[1] for record in store.journals[0].records if record[0] == "answer"]
        assert [(node.number, node.parent) for node in answers] == [(2, 1), (3, 1)]
        await press(pilot, "second answer", "left")
        assert turns(app) == ["why", "first answer"]
        assert store.journals[0].records[-1] == ("view", View(2))
        assert app.focused is not None
        assert app.focused.number == 2
        await press_keys(pilot, "left")
        assert turns(app) == ["why", "second answer"]


async def test_a_regeneration_in_the_middle_keeps_what_came_after(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        await ask(pilot, "one", "two")
        await press(pilot, "one", "r")
        assert turns(app) == ["one", "third answer"]
        await press(pilot, "third answer", "right")
        assert turns(app) == ["one", "first answer", "two", "second answer"]


async def test_an_edited_question_is_answered_in_its_own_branch(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with started(host, clock, "tiny", store=store) as (app, pilot):
        await ask(pilot, "one", "two")
        await press(pilot, "two", "e")
        assert isinstance(app.screen, EditDialog)
        await press_keys(pilot, "ctrl+j", *"more", "enter")
        assert turns(app) == ["one", "first answer", "two\nmore", "third answer"]
        assert messages(host) == ["one", "first answer", "two\nmore"]
        await press(pilot, "two\nmore", "left")
        assert turns(app) == ["one", "first answer", "two", "second answer"]
        await press(pilot, "one", "e")
        app.screen.query_one(TextArea).text = "other"
        await press_keys(pilot, "enter")
        assert turns(app) == ["other", "fourth answer"]
        kinds = [kind for kind in store.journals[0].kinds() if kind in ("message", "answer")]
        assert kinds == ["message", "answer"] * 4


async def test_an_edited_answer_is_sent_to_the_model(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        await ask(pilot, "one")
        await press(pilot, "first answer", "e")
        app.screen.query_one(TextArea).text = "better answer"
        await press_keys(pilot, "enter")
        assert turns(app) == ["one", "better answer"]
        assert "edited" in shown(app)
        await ask(pilot, "two")
        assert messages(host) == ["one", "better answer", "two"]


@pytest.mark.parametrize("keys", [("escape",), ("enter",), ("ctrl+a", "ctrl+k", "enter", "escape")])
async def test_an_edit_that_changes_nothing_does_nothing(
    host: ScriptedHost, clock: FakeClock, keys: Sequence[str]
) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        await ask(pilot, "one")
        await press(pilot, "one", "e", *keys)
        assert app.screen is app.chat
        assert turns(app) == ["one", "first answer"]
        assert len(host.opened[0].requests) == 1


async def test_a_truncated_answer_continues(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        clock.hold_after(2)
        await pilot.press(*"why", "enter")
        await until(pilot, lambda: writing(app) and writing(app).has_text)
        await press_keys(pilot, "escape")
        clock.release()
        beginning = turns(app)[-1]
        assert "first answer".startswith(beginning)
        await press(pilot, beginning, "c")
        request = host.opened[0].requests[-1]
        assert request.continues
        assert [message.content for message in request.messages] == ["why", beginning]
        assert turns(app) == ["why", f"{beginning}second answer"]
        await press(pilot, f"{beginning}second answer", "c")
        assert "Only a truncated answer" in shown(app)
        await press_keys(pilot, "u")
        assert turns(app) == ["why", beginning]


async def test_a_regeneration_without_text_changes_nothing(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        await ask(pilot, "one", "two")
        before = app.workspace.conversation.tree
        clock.hold_after(0)
        focus(app, "first answer")
        await pilot.press("r")
        await until(pilot, lambda: writing(app))
        assert turns(app)[0] == "one"
        await press_keys(pilot, "escape")
        assert app.workspace.conversation.tree == before
        assert turns(app) == ["one", "first answer", "two", "second answer"]


async def test_undo_and_redo_cover_every_change(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with started(host, clock, "tiny", store=store) as (app, pilot):
        await ask(pilot, "one", "two")
        await press(pilot, "first answer", "r")
        states = [["one", "third answer"], ["one", "first answer", "two", "second answer"], ["one", "first answer"], []]
        for state in states:
            assert turns(app) == state
            app.chat.branches.perform("undo")
            await settle(pilot)
        assert "nothing to undo" in shown(app)
        for state in reversed(states[:-1]):
            app.chat.branches.perform("redo")
            await settle(pilot)
            assert turns(app) == state
        await press(pilot, "one", "U")
        assert "nothing to redo" in shown(app)
        assert store.journals[0].records[-1] == ("view", app.workspace.conversation.tree.view)


async def test_deleting_asks_first_and_can_be_undone(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        await ask(pilot, "one", "two")
        await press(pilot, "two", "d")
        assert isinstance(app.screen, ConfirmDialog)
        await press_keys(pilot, "escape")
        assert len(turns(app)) == 4
        await press(pilot, "two", "d", "enter")
        assert turns(app) == ["one", "first answer"]
        await press_keys(pilot, "u")
        assert turns(app) == ["one", "first answer", "two", "second answer"]
        await press(pilot, "one", "d", "enter")
        assert turns(app) == []
        assert "choose a model" in shown(app), "what stands in an empty conversation"


async def test_while_an_answer_is_written_nothing_else_changes(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        await ask(pilot, "one")
        clock.hold_after(1)
        await pilot.press(*"two", "enter")
        await until(pilot, lambda: writing(app))
        focus(app, "first answer")
        for key in ("r", "e", "c", "d", "u", "left", "v"):
            await pilot.press(key)
            await pilot.pause()
            assert app.screen is app.chat, key
            assert "An answer is being written" in shown(app), key
        clock.release()
        await settle(pilot)
        assert turns(app) == ["one", "first answer", "two", "second answer"]


async def test_without_messages_every_action_says_so(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        branches = app.chat.branches
        actions = [partial(branches.perform, name) for name in ("regenerate", "edit", "continue", "delete")]
        for act in (*actions, branches.copy_conversation):
            app.chat.status.say("")
            act()
            assert "There is no message yet" in shown(app), act
        branches.perform("branch_after")
        await settle(pilot)
        assert "no other branch" in shown(app)


async def test_code_and_the_whole_conversation_are_copied(host: ScriptedHost, clock: FakeClock) -> None:
    text = "Two:\n\n```python\nprint(1)\n```\n\n- and\n\n      deep\n\n~~~\nlast\n~~~\n"
    tree = Tree.of([Turn(Message("user", "code?"), 1.0), Turn(Message("assistant", text), 2.0, finish_reason="stop")])
    app = app_on(host, clock, "tiny", "old", store=FakeStore(stored=[Session("old", 1.0, 2.0, tree=tree)]))
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        focus(app, text)
        copied = []
        for _ in range(4):
            await pilot.press("b")
            copied.append(app.clipboard)
        assert copied == ["print(1)", "deep", "last", "print(1)"]
        focus(app, "code?")
        await pilot.press("b")
        assert app.clipboard == "print(1)"
        app.chat.branches.copy_conversation()
        await pilot.pause()
        assert app.clipboard.startswith("# code?")
        assert text in app.clipboard


async def test_a_message_typed_fast_from_a_turn_loses_no_letter(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        await ask(pilot, "why")
        focus(app, "first answer")
        await pilot.pause()
        for letter in "The every day":
            app.post_message(events.Key("space" if letter == " " else letter, letter))
        await settle(pilot)
        assert app.chat.prompt.text == "The every day"
        assert app.screen is app.chat


async def test_a_resumed_session_with_an_unanswered_question(host: ScriptedHost, clock: FakeClock) -> None:
    session = Session("old", 1.0, 2.0, tree=Tree.of([Turn(Message("user", "why"), 1.0)]))
    async with started(host, clock, "tiny", "old", store=FakeStore(stored=[session])) as (app, pilot):
        assert turns(app) == ["why", "The last question has no answer.\nSelect it: r generates one."]
        await press(pilot, "why", "r")
        assert turns(app) == ["why", "first answer"]


async def test_a_resumed_session_keeps_its_branches(host: ScriptedHost, clock: FakeClock) -> None:
    def node(number: int, parent: int, role: str, text: str, reason: str = "") -> Node:
        return Node(number, parent, Turn(Message(role, text), 1.0, finish_reason=reason))  # type: ignore[arg-type]

    nodes = (node(1, 0, "user", "q"), node(2, 1, "assistant", "a"), node(3, 1, "assistant", "b cut", INTERRUPTED))
    session = Session("old", 1.0, 2.0, tree=Tree(nodes, View(3)))
    store = FakeStore(stored=[session])
    async with started(host, clock, "tiny", "old", store=store) as (app, pilot):
        assert turns(app)[:2] == ["q", "b cut"]
        assert "c continues it" in turns(app)[2]
        await press(pilot, "b cut", "left")
        assert turns(app) == ["q", "a"]
        await ask(pilot, "more")
        written = store.journals[-1].records[-1][1]
        assert isinstance(written, Node)
        assert (written.number, written.parent) == (5, 4)


async def test_an_answer_is_replayed(host: ScriptedHost, clock: FakeClock, monkeypatch) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        await ask(pilot, "why")
        seen: list[list[str]] = []

        async def watch(seconds: float) -> None:
            assert 0 < seconds <= 3.1
            seen.append(turns(app))

        with monkeypatch.context() as patch:
            patch.setattr("workbench.ui.chat.branch_actions.pause", watch)
            await press(pilot, "first answer", "v")
        assert any("first" in state and "first answer" in state for state in seen)
        assert turns(app) == ["why", "first answer"]


async def test_a_message_during_a_replay(host: ScriptedHost, clock: FakeClock, monkeypatch) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        await ask(pilot, "why")
        go_on = asyncio.Event()

        async def wait(_seconds: float) -> None:
            await go_on.wait()

        monkeypatch.setattr("workbench.ui.chat.branch_actions.pause", wait)
        app.chat.branches.perform("replay")
        await pilot.press(*"how", "enter")
        await until(pilot, lambda: turns(app)[-1] == "second answer" and not app.chat.answers.is_running)
        go_on.set()
        await settle(pilot)
        assert turns(app) == ["why", "first answer", "how", "second answer"]
        shown_turns = app.chat.transcript.query(TurnLines)
        assert [turn.number for turn in shown_turns] == [1, 2, 3, 4]


@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
async def test_branches_at_small_sizes(host: ScriptedHost, clock: FakeClock, size: tuple[int, int]) -> None:
    app = app_on(host, clock, "tiny")
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await ask(pilot, "why")
        await press(pilot, "first answer", "r")
        assert "◂2/2▸" in shown(app)
        await press(pilot, "why", "e")
        await press_keys(pilot, "!", "enter")
        assert turns(app) == ["why!", "third answer"]


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


async def test_typing_after_a_click_on_a_message_goes_to_the_prompt_and_a_message_is_entered_on_purpose(
    host: ScriptedHost, clock: FakeClock
) -> None:
    async with started(host, clock, "tiny") as (app, pilot):
        await ask(pilot, "why")
        question, answer = app.query(TurnLines)
        for turn in (question, answer):
            await pilot.click(turn, offset=(4, 0))
            await pilot.press(*"undo")
        assert (app.chat.prompt.text, turns(app)) == ("undoundo", ["why", "first answer"])
        await pilot.press("tab")
        assert app.chat.prompt.has_focus, "Tab completes, or does nothing"
        for turn, place in ((question, (0, 0)), (answer, (4, 2)), (answer, (0, 0))):
            await pilot.click(turn, offset=place)
            assert turn.has_focus
            await pilot.press("escape")
            assert app.chat.prompt.has_focus
        await pilot.press("shift+tab")
        assert answer.has_focus
        keys = "".join(line.plain for line in app.screen.query_one(KeyBar).lines)
        assert "r Again" in keys
        await pilot.press("shift+tab")
        assert question.has_focus
        await press_keys(pilot, "d", "enter")
        assert "u on a message undoes it" in shown(app)


async def test_the_conversation_is_scrolled_from_the_prompt(clock: FakeClock) -> None:
    entry = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")
    host = ScriptedHost([ScriptedModel(entry, (Script.of("word\n\n" * 60),))], clock=clock, sleep=clock.sleep)
    async with started(host, clock, "tiny", size=(80, 24)) as (app, pilot):
        await ask(pilot, "why")
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
