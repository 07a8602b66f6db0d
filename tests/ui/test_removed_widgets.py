from __future__ import annotations

import gc
import weakref

from textual.app import App
from textual.widgets import Static

import workbench.ui._compat  # noqa: F401 - mends Textual's cache
from tests.ui.drive import settle


async def test_removed_widgets_and_their_rows_are_freed() -> None:
    app: App[None] = App()
    rows = weakref.WeakSet()
    async with app.run_test(size=(20, 5)) as pilot:
        for _ in range(4):
            widget = Static("text")
            await app.mount(widget)
            await settle(pilot)
            rows.add(widget._styles_cache)
            await widget.remove()
        await settle(pilot)
        gc.collect()
        # Textual may still hold the last one.
        assert len(rows) <= 1
