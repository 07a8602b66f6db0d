"""Rows that stay the same are drawn once, wherever they stand; what is shown is always what was asked for."""

from __future__ import annotations

import random

import pytest
from textual.app import App, ComposeResult
from textual.content import Content
from textual.strip import Strip

from workbench.ui.themes import FALLBACK, variable_defaults
from workbench.ui.widgets.rows import Rows


class RowsApp(App[None]):
    def get_css_variables(self) -> dict[str, str]:
        return {**super().get_css_variables(), **variable_defaults(FALLBACK)}

    def compose(self) -> ComposeResult:
        yield Rows("rows")


class Names:
    """Shows names, and counts how often one is laid out."""

    def __init__(self, rows: Rows, *, keyed: bool) -> None:
        self.rows = rows
        self.keyed = keyed
        self.names: list[str] = []
        self.laid_out = 0

    def show(self, names: list[str], cursor: int = 0) -> None:
        self.names = names
        key = names.__getitem__ if self.keyed else None
        self.rows.show(
            len(names), self._row, header=Content(f"{len(names)} names"), choosable=True, cursor=cursor, key=key
        )

    def _row(self, index: int, width: int) -> Content:
        self.laid_out += 1
        return Content(self.names[index])

    def expected(self) -> list[str]:
        top = round(self.rows.scroll_y)
        shown = self.names[top : top + self.rows.size.height - 1]
        return [f"{len(self.names)} names", *shown]

    def drawn(self) -> list[str]:
        strips = self.rows.render_lines(self.rows.size.region)
        return [text for strip in strips if (text := strip.text.strip())]

    def cursor_drawn(self) -> list[str]:
        """The rows on another background than the header."""
        header, *strips = self.rows.render_lines(self.rows.size.region)
        return [strip.text.strip() for strip in strips if background(strip) != background(header)]


def background(strip: Strip) -> object:
    style = next(iter(strip)).style
    return style and style.bgcolor


@pytest.mark.parametrize("keyed", [True, False])
async def test_what_is_drawn_is_what_is_shown(keyed: bool) -> None:
    chance = random.Random(3)
    every = [f"name {number}" for number in range(40)]
    app = RowsApp()
    async with app.run_test(size=(20, 8)) as pilot:
        names = Names(app.query_one(Rows), keyed=keyed)
        for _ in range(60):
            some = [name for name in every if chance.random() < chance.choice((0.05, 0.3, 1))] or ["the only one"]
            names.show(some, chance.randrange(len(some)))
            await pilot.pause()
            names.rows.move_to(chance.randrange(len(some)))
            await pilot.pause()
            assert names.drawn() == names.expected()
            assert names.cursor_drawn() == [some[names.rows.cursor or 0]]


async def test_a_row_with_the_same_key_is_laid_out_once() -> None:
    app = RowsApp()
    async with app.run_test(size=(20, 8)) as pilot:
        names = Names(app.query_one(Rows), keyed=True)
        names.show([f"name {number}" for number in range(20)])
        await pilot.pause()
        names.laid_out = 0
        names.show([f"name {number}" for number in range(1, 21)])
        await pilot.pause()
        names.drawn()
        # The row that comes into sight, and the new and the old row under the cursor.
        assert names.laid_out <= 3
