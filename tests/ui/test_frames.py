"""What one key changes is drawn in one frame, although widgets ask for it one after the other."""

from __future__ import annotations

from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen

from workbench.ui import _compat
from workbench.ui.themes import FALLBACK, variable_defaults
from workbench.ui.widgets.rows import Rows


class ListAndPanel(App[None]):
    """A list, and a panel elsewhere that follows its cursor."""

    AUTO_FOCUS = "#list"

    def get_css_variables(self) -> dict[str, str]:
        return {**super().get_css_variables(), **variable_defaults(FALLBACK)}

    def compose(self) -> ComposeResult:
        with Vertical(), Vertical():
            yield Rows("list")
        yield Rows("panel")

    def on_mount(self) -> None:
        self.query_one("#list", Rows).show(5, lambda index, _: Content(f"row {index}"), choosable=True)

    def on_rows_moved(self, event: Rows.Moved) -> None:
        self.query_one("#panel", Rows).show(1, lambda *_: Content(f"about row {event.index}"))


async def test_what_follows_from_a_key_is_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _compat.TURNS
    frames: list[frozenset[str | None]] = []
    draw: Any = Screen._compositor_refresh

    def drawn(screen: Screen[Any]) -> None:
        frames.append(frozenset(widget.id for widget in screen._dirty_widgets))
        draw(screen)

    async with ListAndPanel().run_test() as pilot:
        await pilot.pause()
        monkeypatch.setattr(Screen, "_compositor_refresh", drawn)
        await pilot.press("down")
        await pilot.pause()
    assert frames[0] == {"list", "panel"}
