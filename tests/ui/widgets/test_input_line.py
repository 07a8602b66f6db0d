from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.events import Key

from workbench.ui.widgets.input_line import InputLine


class OneLine(App[None]):
    def compose(self) -> ComposeResult:
        yield InputLine(value="old")


@pytest.mark.parametrize(
    ("keys", "text"),
    [("ctrl+u 7", "7"), ("end a backspace b", "oldb"), ("home delete x", "xld"), ("end left y", "olyd")],
)
async def test_keys_that_come_at_once_are_worked_on_in_their_order(keys: str, text: str) -> None:
    app = OneLine()
    async with app.run_test() as pilot:
        for key in keys.split():
            app.post_message(Key(key, key if len(key) == 1 else None))
        await pilot.pause()
        assert app.query_one(InputLine).value == text
