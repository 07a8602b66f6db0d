"""One key, one meaning: in one place, and from screen to screen."""

from __future__ import annotations

import re
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from textual.binding import Binding

from tests.ui.drive import app_on, press_keys, settle, started, until
from tests.ui.fakes import FakeClock
from workbench.engine.scripted import ScriptedHost
from workbench.ui.bindings import key_groups
from workbench.ui.chat.log_pane import LogPane
from workbench.ui.dialogs.choose import ChooseDialog
from workbench.ui.dialogs.settings import SettingsDialog
from workbench.ui.keys import MEANINGS, MOVED, KeyGroup, MovedKeys, keys_of
from workbench.ui.widgets.keybar import KeyBar

GROUPS = key_groups()


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.title)
def test_no_key_has_two_meanings_in_one_place(group: KeyGroup) -> None:
    owners: defaultdict[str, list[Binding]] = defaultdict(list)
    for binding in group.bindings:
        for key in keys_of(binding, {}):
            owners[key].append(binding)
    assert not {key: [each.id for each in found] for key, found in owners.items() if len(found) > 1}


def test_keys_keep_their_meaning_from_screen_to_screen() -> None:
    wrong = [
        f"{key} is {binding.description!r} in {group.title!r} ({binding.id}), not one of {sorted(MEANINGS[key])}"
        for group in GROUPS
        for binding in group.bindings
        for key in keys_of(binding, {})
        if key in MEANINGS and binding.description not in MEANINGS[key]
    ]
    assert not wrong, "\n".join(wrong)


async def test_keys_of_the_program_work_on_every_screen_or_say_that_there_is_nothing(
    host: ScriptedHost, clock: FakeClock
) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(80, 24)) as pilot:
        for number, screen in enumerate(("chat", "race", "models", "bench"), 2):
            await press_keys(pilot, f"f{number}")
            assert app.screen.id == screen
            bar = app.screen.query_one(KeyBar).lines[0].plain
            assert bar.endswith("F1? F2Chat F3Race F4Models F5Bench")
            await press_keys(pilot, "f12")
            assert app.screen.query(LogPane)
            await press_keys(pilot, "f12")
            assert not app.screen.query(LogPane)
            await press_keys(pilot, "f6")
            assert isinstance(app.screen, SettingsDialog | ChooseDialog)
            await pilot.press("escape")
        await press_keys(pilot, "f4", "f7")
        assert [note.message for note in app._notifications] == ["There is nothing to export on this screen."]
        await pilot.resize_terminal(60, 20)
        await settle(pilot)
        assert app.screen.query_one(KeyBar).lines[0].plain.endswith("F1? F2C F3R F4M F5B")


async def test_escape_says_what_it_does(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):

        def label() -> str:
            found = re.search(r"Esc (\w+)", app.screen.query_one(KeyBar).lines[0].plain)
            return found[1] if found else ""

        assert label() == ""
        clock.hold_after(4)
        await pilot.press(*"why", "enter")
        await until(pilot, lambda: label() == "Stop")
        clock.release()
        await settle(pilot)
        assert label() == ""
        await pilot.press("shift+tab")
        assert label() == "Prompt"


def test_an_action_that_has_moved_is_told_once() -> None:
    said: list[str] = []
    moved = MovedKeys(said.append)
    race: Any = SimpleNamespace(id="race", focused=None)
    for key in ("f9", "f9", "f8"):
        moved.look(race, key)
    assert said == [MOVED["race"]["f9"]]
