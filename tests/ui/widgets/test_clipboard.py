from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.ui.drive import app_on, press_keys, settle, started
from tests.ui.fakes import ANSWER, FakeClock, FakeCopies, FakeStore
from workbench.core.chat import Message
from workbench.core.errors import TargetError
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.engine.scripted import ScriptedHost
from workbench.ui.app import WorkbenchApp
from workbench.ui.transcript.answer import AnswerTurn
from workbench.ui.widgets.clipboard import MOST_BYTES, CopyOut, obstacle


@pytest.mark.parametrize(
    ("environ", "takes"),
    [
        pytest.param({}, True, id="nothing known"),
        pytest.param({"TERM": "xterm-256color"}, True, id="xterm"),
        pytest.param({"TERM": "linux"}, False, id="console"),
        pytest.param({"TERM": "dumb"}, False, id="dumb"),
        pytest.param({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False, id="Apple"),
        pytest.param({"TERM_PROGRAM": "iTerm.app"}, True, id="iTerm"),
        pytest.param({"VTE_VERSION": "6800"}, False, id="old VTE"),
        pytest.param({"VTE_VERSION": "7800"}, True, id="new VTE"),
        pytest.param({"VTE_VERSION": "seven"}, True, id="no version"),
        pytest.param({"VTE_VERSION": "6800", "TMUX": "/tmp/tmux-0/default,1,0"}, True, id="old VTE, but tmux"),
        pytest.param({"KONSOLE_VERSION": "240802"}, False, id="old Konsole"),
        pytest.param({"KONSOLE_VERSION": "241200"}, True, id="new Konsole"),
        pytest.param({"TERM": "screen", "STY": "1.pts", "KONSOLE_VERSION": "1"}, True, id="screen"),
    ],
)
def test_terminals_are_judged_by_what_they_are_known_for(environ: Mapping[str, str], takes: bool) -> None:
    assert (obstacle("text", environ) == "") is takes


def test_the_length_counts_in_bytes() -> None:
    assert obstacle("x" * MOST_BYTES, {}) == ""
    assert "truncate a copy of 73.2 KiB" in obstacle("x" * (MOST_BYTES + 1), {})
    assert obstacle("ü" * (MOST_BYTES // 2 + 1), {}) != ""
    assert obstacle("\ud800", {}) == ""


def said(app: WorkbenchApp) -> str:
    return next(iter(reversed(list(app._notifications)))).message


async def copy(app: WorkbenchApp, pilot: Pilot[None], text: str) -> None:
    app.screen.post_message(CopyOut(text))
    await settle(pilot)


async def test_a_terminal_that_takes_copies_gets_them(host: ScriptedHost, clock: FakeClock) -> None:
    copies = FakeCopies()
    app = app_on(host, clock, keep_copy=copies)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        await copy(app, pilot, "words")
        assert (app.clipboard, copies.texts, said(app)) == ("words", [], "Copied.")


async def test_where_the_terminal_takes_none_the_text_is_in_a_file(
    host: ScriptedHost, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "linux")
    copies = FakeCopies()
    app = app_on(host, clock, keep_copy=copies)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await settle(pilot)
        await copy(app, pilot, "words")
        assert (app.clipboard, copies.texts) == ("words", ["words"])
        assert said(app) == "The console of Linux does not support copies. The text is in /exports/copied-1.txt"


async def test_a_long_text_is_in_a_file_too(host: ScriptedHost, clock: FakeClock) -> None:
    copies = FakeCopies()
    app = app_on(host, clock, keep_copy=copies)
    text = "x" * (MOST_BYTES + 1)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        await copy(app, pilot, text)
        assert (app.clipboard, copies.texts) == (text, [text])
        assert "/exports/copied-1.txt" in said(app)


async def test_what_cannot_be_written_is_said(
    host: ScriptedHost, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM_PROGRAM", "Apple_Terminal")
    copies = FakeCopies()
    copies.error = TargetError("The copy cannot be written to /exports: disk full.", "Make room.")
    app = app_on(host, clock, keep_copy=copies)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        await copy(app, pilot, "words")
        assert said(app).startswith("Apple's Terminal does not support copies. The copy cannot be written")


async def test_a_name_that_is_no_text_is_copied_as_well_as_can_be(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        await copy(app, pilot, "/m/\udcff.gguf")
        assert app.clipboard == "/m/?.gguf"


async def test_message_block_and_conversation_go_to_files_by_key_and_palette(
    host: ScriptedHost, clock: FakeClock
) -> None:
    text = "Two:\n\n```python\nprint(1)\n```\n\n```\nlast\n```\n"
    tree = Tree.of([Turn(Message("user", "code?"), 1.0), Turn(Message("assistant", text), 2.0, finish_reason="stop")])
    copies = FakeCopies()
    store = FakeStore(stored=[Session("old", 1.0, 2.0, tree=tree)])
    app = app_on(host, clock, None, "old", store=store, keep_copy=copies)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        app.chat.query_one(AnswerTurn).focus()
        await press_keys(pilot, "Y", "B", "b", "B")
        assert copies.texts == [text, "print(1)", "last"]
        assert said(app) == "Copied to /exports/copied-3.txt"
        for name in ("conversation", "last answer", "code"):
            await press_keys(pilot, "ctrl+p", *f"{name} to a file", "enter")
        assert copies.texts[3].startswith("# code?")
        assert copies.texts[4:] == [text, "last"]


async def test_the_file_is_written_for_the_user_alone(host: ScriptedHost, clock: FakeClock, tmp_path: Path) -> None:
    from functools import partial

    from workbench.store.files import write_copy

    async with started(host, clock, keep_copy=partial(write_copy, tmp_path)) as (_app, pilot):
        await press_keys(pilot, *"why", "enter")
        await press_keys(pilot, "ctrl+p", *"last answer to a file", "enter")
        (file,) = tmp_path.iterdir()
        assert file.read_text() == ANSWER
