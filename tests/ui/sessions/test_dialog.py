from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from textual.widgets import Input, Label

from tests.ui.drive import app_on, press_keys, settle, shown, started, turns, until
from tests.ui.fakes import FakeClock, FakeStore
from workbench.core.chat import Message
from workbench.core.errors import SessionError
from workbench.core.metrics import AnswerMetrics
from workbench.core.session import Session, SessionHit, SessionSummary
from workbench.core.tree import Tree, Turn
from workbench.engine.scripted import ScriptedHost
from workbench.ui.app import WorkbenchApp
from workbench.ui.dialogs.text_viewer import TextDialog
from workbench.ui.sessions.dialog import SessionsDialog
from workbench.ui.sessions.rows import hit_row, pair_lines, summary_row

FAST = AnswerMetrics(decode_tps=45.5, completion_tokens=12)


def session(name: str, *said: str, at: float = 1.0) -> Session:
    turns = [
        Turn(Message("assistant", text), at, "/m/tiny.gguf", FAST, "stop") if index % 2
        else Turn(Message("user", text), at)
        for index, text in enumerate(said)
    ]  # fmt: skip
    return Session(name, at, at, tree=Tree.of(turns))


@pytest.fixture
def store() -> FakeStore:
    stored = [
        session("a", "Why is the sky blue?", "It scatters.", at=3),
        session("b", "Write a poem", "Roses are red.", at=2),
        session("c", "Why is the sky blue?", "Because.", at=1),
    ]
    return FakeStore(stored=stored)


def rows(app: WorkbenchApp) -> list[str]:
    dialog = app.screen
    assert isinstance(dialog, SessionsDialog)
    return [dialog._row(index, 100).plain for index in range(dialog.list.count)]


def state(app: WorkbenchApp) -> str:
    return str(app.screen.query_one("#sessions-state", Label).content)


async def test_a_session_is_opened(host: ScriptedHost, clock: FakeClock, store: FakeStore) -> None:
    async with started(host, clock, store=store) as (app, pilot):
        await press_keys(pilot, "ctrl+r")
        assert [row[2:14] for row in rows(app)] == ["Why is the s", "Write a poem", "Why is the s"]
        assert state(app) == "3 sessions"
        await press_keys(pilot, "down", "j", "enter")
        assert turns(app) == ["Write a poem", "Roses are red."]
        await press_keys(pilot, *"more", "enter")
        assert [message.content for message in host.opened[-1].requests[-1].messages][-1] == "more"


async def test_words_are_searched_in_all_sessions(host: ScriptedHost, clock: FakeClock, store: FakeStore) -> None:
    async with started(host, clock, store=store) as (app, pilot):
        await press_keys(pilot, "ctrl+r")
        await press_keys(pilot, *"Roses")
        assert state(app) == "1 found"
        assert "Roses are red." in rows(app)[0]
        await press_keys(pilot, *"xyz")
        assert "No session has all of these words" in state(app)
        await pilot.press("enter")
        assert isinstance(app.screen, SessionsDialog), "there is nothing to open"
        app.screen.query_one(Input).value = "Roses"
        await settle(pilot)
        await press_keys(pilot, "enter")
        assert turns(app)[0] == "Write a poem"


async def test_rename_pin_delete_and_restore(host: ScriptedHost, clock: FakeClock, store: FakeStore) -> None:
    async with started(host, clock, store=store) as (app, pilot):
        await press_keys(pilot, "ctrl+r")
        await press_keys(pilot, "down", "j", "t")
        assert rows(app)[0].startswith("★ Write a poem")
        await press_keys(pilot, "g", "e", "ctrl+a", "ctrl+k", *"Poetry", "enter")
        assert store.stored["b"].name == "Poetry"
        assert rows(app)[0].startswith("★ Poetry")
        await press_keys(pilot, "d", "enter")
        assert len(rows(app)) == 2
        assert "Deleted" in state(app)
        await press_keys(pilot, "u")
        assert len(rows(app)) == 3
        await pilot.press("u")
        assert "No session was deleted" in state(app)
        await press_keys(pilot, "d", "escape")
        assert len(rows(app)) == 3


async def test_the_second_of_two_quick_changes_cancels_only_the_reading_of_the_first(
    host: ScriptedHost, clock: FakeClock, store: FakeStore
) -> None:
    app = app_on(host, clock, store=store)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        await press_keys(pilot, "ctrl+r")
        assert isinstance(app.screen, SessionsDialog)
        app.screen.action_pin()
        app.screen.action_mark()
        app.screen.action_pin()
        await settle(pilot)
        assert not app._notifications
        assert rows(app)[0].startswith("◆ Why")


async def test_a_search_is_cleared_before_the_sessions_were_listed(
    host: ScriptedHost, clock: FakeClock, store: FakeStore
) -> None:
    app = app_on(host, clock, store=store)
    read, summaries = asyncio.Event(), store.summaries

    async def slow(*, figures: bool = True) -> Sequence[SessionSummary]:
        await read.wait()
        return await summaries(figures=figures)

    store.summaries = slow
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+r")
        await pilot.press(*"Roses")
        await until(pilot, lambda: state(app) == "1 found")
        app.screen.query_one(Input).value = ""
        await pilot.pause()
        assert len(rows(app)) == 1, "the results stay until the sessions are read"
        read.set()
        await settle(pilot)
        assert len(rows(app)) == 3


async def test_the_session_that_is_open(host: ScriptedHost, clock: FakeClock, store: FakeStore) -> None:
    async with started(host, clock, "smol:Q4_K_M", "a", store=store) as (app, pilot):
        await press_keys(pilot, "ctrl+r")
        assert rows(app)[0].startswith("● Why")
        await press_keys(pilot, "down", "d")
        assert "is open" in state(app)
        await press_keys(pilot, "e", "end", "!", "enter")
        assert app.workspace.conversation.name == "Why is the sky blue?!"
        await press_keys(pilot, "enter")
        assert app.screen is app.chat
        assert len(store.journals) == 1, "it is open already"


async def test_two_sessions_stand_side_by_side(host: ScriptedHost, clock: FakeClock, store: FakeStore) -> None:
    async with started(host, clock, store=store) as (app, pilot):
        await press_keys(pilot, "ctrl+r")
        await press_keys(pilot, "down", "space", "end", "enter")
        assert isinstance(app.screen, TextDialog)
        await press_keys(pilot, "escape", "home", "space", "enter")
        assert app.screen is app.chat


async def test_a_store_that_fails_is_reported(
    host: ScriptedHost, clock: FakeClock, store: FakeStore, monkeypatch
) -> None:
    async def refuse(*_: object) -> None:
        raise SessionError("It is open in another program.")

    async with started(host, clock, store=store, size=(80, 24)) as (app, pilot):
        await press_keys(pilot, "ctrl+r")
        monkeypatch.setattr(store, "delete", refuse)
        await press_keys(pilot, "down", "d", "enter")
        assert "another program" in state(app)
        await pilot.press("u")
        assert "No session was deleted" in state(app)
        await pilot.press("escape")
        store.broken = True
        await press_keys(pilot, "ctrl+r")
        assert "The disk is full" in state(app)


async def test_an_unexpected_error_is_reported_and_logged(
    host: ScriptedHost, clock: FakeClock, store: FakeStore, monkeypatch, caplog
) -> None:
    async def fail(**_: object) -> None:
        raise TypeError("oops")

    app = app_on(host, clock, store=store)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await settle(pilot)
        monkeypatch.setattr(store, "summaries", fail)
        await press_keys(pilot, "ctrl+r")
        assert any("read the sessions failed: TypeError" in note.message for note in app._notifications)
        assert "TypeError: oops" in caplog.text, "the traceback is in the log"


async def test_an_offer_comes_before_the_list(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, store=FakeStore([session("old", "cut off", "So")])) as (app, pilot):
        await press_keys(pilot, "ctrl+r")
        assert app.screen is app.chat
        assert turns(app)[:2] == ["cut off", "So"]
        assert "cut off" in shown(app)


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_rows_fill_their_width(width: int) -> None:
    title = "日本の空はなぜ青いのですか、と彼は聞いた" * 3
    summary = SessionSummary("x", title, "/models/some/model.gguf", 1234, 1.0, pinned=True)
    assert summary_row(summary, width).cell_length <= max(width, 45)
    assert "model.gguf" in summary_row(summary, 120).plain
    hit = SessionHit(summary, "before " * 20 + "found" + " after" * 20, ((140, 145),), 1)
    assert "found" in hit_row(hit, 120).plain
    assert hit_row(hit, width).cell_length <= max(width, 45)


def test_the_first_difference_of_two_sessions_is_marked() -> None:
    first = session("a", "q", "one\nand more", "again", "yes")
    second = session("b", "q", "two")
    text = "\n".join(line.plain for line in pair_lines(first, second, 91))
    assert text.index("first difference") > text.index("│ q")
    assert "tiny.gguf  45.5 tok/s  12 tokens" in text
    assert "Both have the same messages" in "\n".join(line.plain for line in pair_lines(first, first, 61))
