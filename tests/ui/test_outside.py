from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.drivers.headless_driver import HeadlessDriver
from textual.events import AppBlur, AppFocus
from textual.pilot import Pilot
from textual.widgets import Input

from tests.ui.drive import press_keys, settle, started, until, writing
from tests.ui.fakes import FakeClock, FakeConfigFile
from workbench.engine.scripted import ScriptedHost
from workbench.ui.dialogs.parameter_field import ParameterField
from workbench.ui.jobs.outside import LONG_SECONDS, LongWork, Work
from workbench.ui.kit.escapes import BELL, LONGEST, RESTORE_TITLE, SAVE_TITLE, notification, takes_sequences, title

MODEL = "SmolLM2-135M-Instruct Q4_K_M"
KITTY, XTERM, DUMB = {"TERM": "xterm-kitty"}, {"TERM": "xterm-256color"}, {"TERM": "dumb"}


@given(st.text() | st.just("a\x1b]0;b\x07c\x9cd\x1b\\e\udc80\u202ef\r\ng"))
def test_nothing_in_a_name_ends_a_sequence_or_begins_another_one(name: str) -> None:
    for sequence in (title(name), notification(name, "message", KITTY)):
        body = sequence.removeprefix("\x1b]").removesuffix("\x1b\\")
        assert not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]", body)
        assert len(body) <= LONGEST + 20
        body.encode()


@pytest.mark.parametrize(
    ("how", "environ", "begins"),
    [
        ("message", KITTY, "\x1b]9;workbench: The race"),
        ("message", {**XTERM, "TERM_PROGRAM": "WezTerm"}, "\x1b]9;"),
        ("message", {**XTERM, "VTE_VERSION": "7802"}, "\x1b]777;notify;workbench;The race"),
        ("message", {"TERM": "foot"}, "\x1b]777;"),
        ("message", XTERM, BELL),
        ("message", {**KITTY, "TMUX": "/tmp/tmux"}, BELL),
        ("bell", KITTY, BELL),
        ("bell", {"TERM": "linux"}, BELL),
    ],
)
def test_a_notification_is_what_the_terminal_shows(how, environ, begins) -> None:
    assert notification("The race has ended.", how, environ).startswith(begins)


def test_a_dumb_terminal_gets_nothing() -> None:
    assert takes_sequences(XTERM)
    assert not takes_sequences(DUMB)
    assert not takes_sequences({})
    assert notification("x", "bell", DUMB) == notification("x", "message", {}) == notification("x", "off", XTERM) == ""


def test_only_long_work_is_reported_and_each_piece_once() -> None:
    clock = FakeClock()
    long = LongWork(clock)
    first, second = Work(1, "A quantization"), Work(2, "A quantization")
    assert long.look([first]) == []
    clock.ns += round(LONG_SECONDS * 1e9)
    assert long.look([second]) == [(first, LONG_SECONDS)]
    clock.ns += 1_000_000_000
    assert long.look([]) == []


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sequences to the terminal beside what is drawn."""
    found: list[str] = []
    ours = (SAVE_TITLE, "\x1b]2;", "\x1b]9;", "\x1b]777;", BELL)

    def write(_: HeadlessDriver, data: str) -> None:
        if data.startswith(ours):
            found.extend(filter(None, re.split(f"(?<={re.escape(SAVE_TITLE)})", data)))

    monkeypatch.setattr(HeadlessDriver, "write", write)
    return found


async def long_answer(pilot: Pilot[None], clock: FakeClock, meanwhile: Callable[[], object]) -> None:
    """Ask, and take a minute for the answer."""
    app = pilot.app
    clock.hold_after(2)
    await pilot.press(*"why", "enter")
    await until(pilot, lambda: writing(app))
    app.outside.look()
    meanwhile()
    clock.ns += 60_000_000_000
    clock.release()
    await settle(pilot)
    app.outside.look()
    await settle(pilot)


async def test_the_title_and_what_is_heard_of_long_work(host: ScriptedHost, clock: FakeClock, sent: list[str]) -> None:
    file = FakeConfigFile()
    async with started(host, clock, save=file) as (app, pilot):
        app.outside.look()
        assert (sent[0], sent[-1]) == (SAVE_TITLE, title(f"{MODEL} · workbench"))
        count = len(sent)
        app.outside.look()
        assert len(sent) == count, "the same title is not sent again"

        await long_answer(pilot, clock, lambda: None)
        assert re.fullmatch(f"\x1b]2;{MODEL} · [0-9.]+ tokens/s · workbench\x1b\\\\", sent[-1])
        assert BELL not in sent, "the end of the answer was seen"
        await long_answer(pilot, clock, lambda: app.post_message(AppBlur()))
        assert sent.count(BELL) == 1
        app.post_message(AppFocus())

        await press_keys(pilot, "f6")
        for name, value in (("window_title", "false"), ("notifications", "off"), ("reduced_motion", "true")):
            app.screen.query_one(f"#field-{name}", ParameterField).input.value = value
        await press_keys(pilot, "escape")
        assert file.saved == [{"window_title": False, "notifications": "off", "reduced_motion": True}]
        app.outside.look()
        assert sent[-1] == RESTORE_TITLE
        assert app.animation_level == "none"

        await press_keys(pilot, "ctrl+p")
        assert not app.screen.query_one(Input).cursor_blink
    assert sent[-1] == RESTORE_TITLE, "nothing is sent once it is switched off"


async def test_the_end_of_work_on_another_screen_is_said_on_this_one(
    host: ScriptedHost, clock: FakeClock, sent: list[str]
) -> None:
    async with started(host, clock) as (app, pilot):
        await long_answer(pilot, clock, app.action_library)
        messages = [each.message for each in app._notifications]
        assert any(each.startswith(f"The answer of {MODEL} has ended after 1:") for each in messages), messages
        assert sent[-1] == BELL
    assert sent[-1] == RESTORE_TITLE
