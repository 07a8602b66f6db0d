"""Asking, and pressing keys on turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.pilot import Pilot

from tests.ui.drive import press_keys
from workbench.engine.scripted import ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.transcript.turns import TurnLines

MakeHost = Callable[[Sequence[ScriptedModel]], ScriptedHost]


async def ask(pilot: Pilot[None], *texts: str) -> None:
    for text in texts:
        await press_keys(pilot, *text, "enter")


def focus(app: WorkbenchApp, text: str) -> None:
    next(turn for turn in app.query(TurnLines) if turn.text == text).focus()


def messages(host: ScriptedHost, request: int = -1) -> list[str]:
    return [message.content for message in host.opened[0].requests[request].messages]


async def press(pilot: Pilot[None], text: str, *keys: str) -> None:
    """Press keys on a turn."""
    app = pilot.app
    assert isinstance(app, WorkbenchApp)
    focus(app, text)
    await press_keys(pilot, *keys)
