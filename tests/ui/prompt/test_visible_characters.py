"""What is typed reaches the model as it is, and one key passes over one visible character."""

from __future__ import annotations

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from tests.ui.drive import press_keys, settle, started
from tests.ui.fakes import FakeClock
from workbench.engine.scripted import ScriptedHost
from workbench.ui.kit.graphemes import visible_character
from workbench.ui.prompt.prompt import Prompt

PERSIAN, FAMILY = "می\u200cخواهم", "👨\u200d👩\u200d👧"
TYPED = [
    f"typed {PERSIAN} {FAMILY}",
    "no\u00adbreak\u00a0space 1\u202f000\u3000全角",
    "marks of direction \u200eabc\u200f \u061c \u2060",
    "a flag of tags \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "private \uf8ff and not assigned yet \U0001faff\u0378",
    "marks e\u0301 \u2764\ufe0f 1\ufe0f\u20e3 \U0001f44d\U0001f3fd",
]
VISIBLE = [
    FAMILY,
    "\u2764\ufe0f",
    "🇩🇪",
    "1\ufe0f\u20e3",
    "e\u0301",
    "\U0001f44d\U0001f3fd",
    "क\u094d",
    "क्षि",
    "ی\u200c",
    "é",
    "a",
]


async def type_keys(pilot: Pilot[None], text: str) -> None:
    for character in text:
        pilot.app.post_message(Key(character, character))
    await settle(pilot)


@pytest.mark.parametrize("text", TYPED)
async def test_what_is_typed_is_sent_as_it_is(text: str, host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (_app, pilot):
        await type_keys(pilot, text)
        await press_keys(pilot, "enter")
        assert host.opened[0].requests[0].messages[-1].content == text


async def test_what_is_typed_into_other_fields_is_kept(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "ctrl+o")
        await type_keys(pilot, PERSIAN)
        assert app.screen.query_one(Input).value == PERSIAN


@pytest.mark.parametrize("character", ["\x00", "\x1b[", "\x7f", "\x9b", "\u202e", "\u2028", "\ud800", "\ufeff"])
async def test_controls_are_not_typed(character: str, host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        app.post_message(Key("f24", character))
        await settle(pilot)
        assert app.chat.prompt.text == ""


@pytest.mark.parametrize("visible", VISIBLE)
async def test_a_key_passes_over_one_visible_character(visible: str, host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        prompt = app.screen.query_one(Prompt)
        prompt.show_text(f"x{visible}y")
        await pilot.press("left", "left")
        assert prompt.cursor_location == (0, 1)
        await pilot.press("right")
        assert prompt.cursor_location == (0, 1 + len(visible))
        await pilot.press("backspace")
        assert prompt.text == "xy"
        await pilot.press("ctrl+z")
        assert prompt.text == f"x{visible}y"
        prompt.move_cursor((0, 1))
        await pilot.press("delete")
        assert prompt.text == "xy"


def test_visible_characters_are_found() -> None:
    assert [visible_character("a\tb", place) for place in range(4)] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert visible_character("🇩🇪🇫🇷", 1) == (0, 2)
    assert visible_character("🇩🇪🇫🇷", 2) == (2, 2)
    assert visible_character("🇩🇪🇫🇷", 3) == (2, 4)
    assert visible_character("\u0301a", 0) == (0, 0)
    assert visible_character("ب\u200dب", 2) == (2, 2)
    assert visible_character("", 0) == (0, 0)
    assert [visible_character("நிக", place) for place in range(4)] == [(0, 0), (0, 2), (2, 2), (3, 3)]
    for visible in ("ക്ഷ", "নি", "กำ", "\u1112\u1161\u11ab", "🏳\ufe0f\u200d🌈"):
        assert visible_character(f"x{visible}y", 2) == (1, 1 + len(visible))
    assert visible_character("क्" * 3000 + "क", 3000) == (0, 6001)
