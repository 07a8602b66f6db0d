from __future__ import annotations

import re

import pytest

from tests.ui.drive import settle, started
from tests.ui.fakes import FakeClock
from workbench.core.config import Config
from workbench.engine.scripted import ScriptedHost

OF_THE_PICTURE = {"ff5f57", "febc2e", "28c840", "c5c8c6"}
"""The buttons of the window that is drawn around it, and its colour for text that has none."""


def hues(picture: str) -> set[str]:
    """The colours of a picture that are no greys."""
    found = {colour.lower() for colour in re.findall("#([0-9a-fA-F]{6})", picture)} - OF_THE_PICTURE
    return {colour for colour in found if len({colour[:2], colour[2:4], colour[4:]}) > 1}


async def test_no_color_takes_the_colours_from_every_screen(
    host: ScriptedHost, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with started(host, clock, config=Config(theme="high-contrast")) as (app, pilot):
        await pilot.press(*"why", "enter")
        for key in ("f4", "f5", "f2", "f6"):
            await settle(pilot)
            assert hues(app.export_screenshot()) == set(), f"before {key}"
            await pilot.press(key)


async def test_without_it_there_are_colours(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, size=(80, 24)) as (app, _pilot):
        assert hues(app.export_screenshot())
