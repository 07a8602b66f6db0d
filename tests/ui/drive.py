"""Runs and drives the program in tests: starting it, keys, waiting, and what is on the screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from tests.ui.fakes import FakeClock, fake_services
from workbench.core.answer import Answer
from workbench.core.recipe import Recipe
from workbench.engine.scripted import ScriptedHost
from workbench.ui.app import WorkbenchApp
from workbench.ui.transcript.notice import Notice
from workbench.ui.transcript.turns import TurnLines
from workbench.ui.widgets.lines import Lines
from workbench.ui.workspace.pacing import Clocks


def app_on(
    host: ScriptedHost,
    clock: FakeClock,
    model: str | None = "smol:Q4_K_M",
    resume: str | None = None,
    recipe: Recipe | None = None,
    **services: Any,
) -> WorkbenchApp:
    """The program on a scripted host."""
    clocks = Clocks(clock, lambda: 0.0, clock.call_later)
    return WorkbenchApp(fake_services(host, **services), model, resume, recipe=recipe, clocks=clocks)


async def settle(pilot: Pilot[None]) -> None:
    """Wait until nothing runs and everything is drawn."""
    for _ in range(3):
        await pilot.pause()
        with suppress(WorkerCancelled):  # Another one took its place.
            await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def press_keys(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, and wait until all is drawn."""
    await pilot.press(*keys)
    await settle(pilot)


@asynccontextmanager
async def started(
    host: ScriptedHost,
    clock: FakeClock,
    model: str | None = "smol:Q4_K_M",
    resume: str | None = None,
    *,
    size: tuple[int, int] = (120, 36),
    **options: Any,
) -> AsyncIterator[tuple[WorkbenchApp, Pilot[None]]]:
    """The program on a scripted host, once it is drawn; `options` as `app_on`."""
    app = app_on(host, clock, model, resume, **options)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        yield app, pilot


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait for something that happens while work goes on."""
    async with asyncio.timeout(30):
        while not condition():
            await pilot.pause(0.01)
    await pilot.pause()


def writing(app: WorkbenchApp) -> Answer | None:
    """The answer that streams; None where none does."""
    return app.workspace.answering.answer if app.workspace.answering else None


def shown(app: WorkbenchApp) -> str:
    """Every line that the widgets of the screen show, as text."""
    return "\n".join(line.plain for widget in app.screen.query(Lines) if widget.display for line in widget.lines)


def turns(app: WorkbenchApp) -> list[str]:
    """The texts of the turns and notices in the transcript."""
    return [child.text for child in app.chat.transcript.children if isinstance(child, TurnLines | Notice)]
