"""The program with a race on the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from tests.ui.drive import press_keys, started
from tests.ui.fakes import FakeClock
from workbench.core.models import MemoryUse, ModelEntry
from workbench.engine.scripted import Script, ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.race.lane import LaneColumn
from workbench.ui.race.screen import RaceScreen

MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]
ANSWERS = {
    "F16": "The sea is blue and wide, and nobody owns it.",
    "Q8_0": "The sea is blue and wide, and nobody owns it.",
    "Q4_K_M": "The sea is green and deep, and nobody owns it.",
}
NEXT = "And so it goes on."


def entry(quant: str, size: int, name: str = "Sea-1B") -> ModelEntry:
    return ModelEntry(
        f"{name}:{quant}", name, quant, f"/m/{name}-{quant}", size, bits_per_weight=size / 1e7, group=name
    )


def scripted(quant: str, size: int, **more: Any) -> ScriptedModel:
    scripts = tuple(Script.of(text) for text in ("warm", ANSWERS.get(quant, "Other words."), NEXT))
    return ScriptedModel(entry(quant, size), scripts, memory=MemoryUse(size, 0, 0), **more)


def race_of(app: WorkbenchApp) -> RaceScreen:
    assert isinstance(app.screen, RaceScreen)
    return app.screen


def seen(app: WorkbenchApp) -> str:
    """Everything that the screen shows, the text of a lane on one line."""
    screen = race_of(app)
    heads = [line.plain for column in screen.query(LaneColumn) for line in column.head.lines]
    texts = [" ".join(line.plain.strip() for line in column.text.lines) for column in screen.query(LaneColumn)]
    return "\n".join([*heads, *texts, *(line.plain for part in (screen.table, screen.state) for line in part.lines)])


def labels(app: WorkbenchApp) -> list[str]:
    return [column.lane.label for column in race_of(app).query(LaneColumn)]


async def ask(pilot: Pilot[None], text: str) -> None:
    await press_keys(pilot, *text, "enter")


@asynccontextmanager
async def race_on(
    host: ScriptedHost,
    clock: FakeClock,
    model: str | None = "Sea-1B:Q8_0",
    *,
    size: tuple[int, int] = (120, 36),
    question: str = "why",
    **services: Any,
) -> AsyncIterator[tuple[WorkbenchApp, Pilot[None]]]:
    """The program with a race on the screen, whose first question is answered."""
    async with started(host, clock, model, size=size, **services) as (app, pilot):
        await press_keys(pilot, "f3")
        if question:
            await ask(pilot, question)
        yield app, pilot
