"""The Models screen in tests: a library, and the program with the screen open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Label

from tests.ui.drive import app_on, settle, until
from tests.ui.fakes import FakeClock
from tests.ui.library_fakes import FakeCatalog, NamedFiles, library
from workbench.core.models import LibraryView, MemoryUse, ModelEntry
from workbench.engine.scripted import ScriptedHost
from workbench.ui.app import WorkbenchApp
from workbench.ui.models.model_list import Heading
from workbench.ui.models.screen import ModelsScreen

WIDE, NARROW = (120, 36), (80, 24)
SMOL_Q8 = 144_811_072
"""Bytes of the Q8_0 file of SmolLM2 in `library`."""
MEMORY = MemoryUse(100_000_000, 50_000_000, 20_000_000)


class Library:
    """The Models screen of a program, and what a test asks of it."""

    def __init__(self, pilot: Pilot[None], app: WorkbenchApp, catalog: FakeCatalog, host: ScriptedHost) -> None:
        self.pilot, self.app, self.catalog, self.host = pilot, app, catalog, host

    @property
    def screen(self) -> ModelsScreen:
        assert isinstance(self.app.screen, ModelsScreen)
        return self.app.screen

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await settle(self.pilot)

    @property
    def selected(self) -> str:
        row = self.screen.models.row
        return f"[{row.name}]" if isinstance(row, Heading) else row.label if row else ""

    @property
    def rows(self) -> list[str]:
        """The rows that the list draws."""
        widget = self.screen.list
        return [widget._row(index, widget.room).plain.rstrip() for index in range(widget.count)]

    @property
    def panel(self) -> str:
        return "\n".join(line.plain for line in self.screen.panel.lines)

    @property
    def state(self) -> str:
        return str(self.screen.query_one("#models-state", Label).content)

    async def go_to(self, quant: str, name: str = "SmolLM2-135M-Instruct") -> None:
        """Put the cursor on a quantization."""
        rows = self.screen.models.rows
        index = next(
            index
            for index, row in enumerate(rows)
            if isinstance(row, ModelEntry) and (row.quant, row.name) == (quant, name)
        )
        self.screen.list.move_to(index)
        await settle(self.pilot)


@asynccontextmanager
async def opened(
    host: ScriptedHost,
    clock: FakeClock,
    demo_path: Path,
    *views: LibraryView,
    size: tuple[int, int] = WIDE,
    model: str | None = None,
    **services: object,
) -> AsyncIterator[Library]:
    catalog = services.pop("catalog", None) or FakeCatalog(*(views or (library(),)))
    assert isinstance(catalog, FakeCatalog)
    services.setdefault("files", NamedFiles(demo_path))
    app = app_on(host, clock, model, catalog=catalog, **services)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(app.screen, ModelsScreen) and app.screen.is_current)
        await settle(pilot)
        yield Library(pilot, app, catalog, host)
