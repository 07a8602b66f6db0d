from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest
from textual import events
from textual.widgets import TextArea

from tests.ui.chat.branches import ask, focus, messages, press
from tests.ui.drive import app_on, press_keys, settle, shown, started, turns, until, writing
from tests.ui.fakes import FakeClock, FakeStore
from workbench.core.chat import Message
from workbench.core.models import ModelEntry
from workbench.core.session import Session
from workbench.core.tree import INTERRUPTED, Node, Tree, Turn, View
from workbench.engine.scripted import Pace, Script, ScriptedHost, ScriptedModel
from workbench.ui.chat.edit_dialog import EditDialog
from workbench.ui.dialogs.confirm import ConfirmDialog
from workbench.ui.transcript.turns import TurnLines
from workbench.ui.widgets.keybar import KeyBar

ANSWERS = ("first answer", "second answer", "third answer", "fourth answer")


@pytest.fixture
def host(clock: FakeClock) -> ScriptedHost:
    """A model that never says the same twice."""
    entry = ModelEntry("tiny", "tiny", "Q4_0", "/m/tiny.gguf")
    scripts = tuple(Script.of(text) for text in ANSWERS)
    return ScriptedHost([ScriptedModel(entry, scripts, Pace(decode_tps=20))], clock=clock, sleep=clock.sleep)


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
