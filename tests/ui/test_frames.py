"""What one key changes is drawn in one frame, although widgets ask for it one after the other."""

from __future__ import annotations

from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Region
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


async def test_a_part_of_the_screen_is_drawn_as_it_is_in_the_whole_and_asks_only_the_widgets_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ListAndPanel().run_test(size=(40, 12)) as pilot:
        await pilot.pause()
        compositor = pilot.app.screen._compositor
        whole = compositor._render_chops(Region(0, 0, 40, 12), lambda y: True)
        for part in (Region(0, 0, 40, 1), Region(3, 1, 5, 3), Region(0, 2, 40, 9), Region(39, 11, 1, 1)):
            drawn = compositor._render_chops(part, lambda y, part=part: y in part.line_range)
            for y in part.line_range:
                for column, strip in drawn[y].items():
                    if part.x <= column < part.right:
                        assert strip == whole[y][column]
        asked: list[tuple[str | None, Region]] = []
        inner = Rows.render_lines
        monkeypatch.setattr(Rows, "render_lines", lambda rows, crop: asked.append((rows.id, crop)) or inner(rows, crop))
        first = pilot.app.query_one("#list").region
        compositor._render_chops(Region(first.x, first.y + 1, 10, 1), lambda y: True)
        assert asked == [("list", Region(0, 1, first.width, 1))]


async def test_a_frame_that_a_batch_would_discard_is_drawn_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the start, which is a batch."""
    frames: list[bool] = []
    app = ListAndPanel()
    async with app.run_test() as pilot:
        await pilot.pause()
        monkeypatch.setattr(app, "_display", lambda _, frame: frames.append(frame is not None))
        with app.batch_update():
            rows = app.query_one("#list", Rows)
            rows.refresh()
            app.screen._compositor.update_widgets({rows})
            _compat.draw_outside_batches(app.screen)
        assert frames == []
        _compat.draw_outside_batches(app.screen)
        assert frames == [True]
