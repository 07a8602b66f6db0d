from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from tests.ui.drive import press_keys, shown, started, until
from tests.ui.fakes import FakeClock, FakeSender, models
from workbench.core.errors import ServerUnreachableError, TargetError
from workbench.core.sending import SendTarget
from workbench.engine.scripted import ScriptedHost, ScriptedModel
from workbench.ui.app import WorkbenchApp
from workbench.ui.chat.ollama_dialog import SendDialog, proposed_name
from workbench.ui.dialogs.export import ExportDialog


@pytest.fixture
def host(make_host: Callable[[Sequence[ScriptedModel]], ScriptedHost]) -> ScriptedHost:
    return make_host(models())


@pytest.fixture
def sender() -> FakeSender:
    return FakeSender()


async def to_ollama(pilot: Pilot[None]) -> None:
    """Ask something, and choose Ollama among the ways to export."""
    await press_keys(pilot, *"Why is it blue?", "enter")
    await press_keys(pilot, "f7")
    dialog = pilot.app.screen
    assert isinstance(dialog, ExportDialog)
    forms = dialog.query_one(OptionList)
    await press_keys(pilot, "end")
    assert "Ollama" in str(forms.get_option_at_index(forms.highlighted or 0).prompt)
    assert not dialog.path.display
    await press_keys(pilot, "enter")


def said(app: WorkbenchApp) -> str:
    assert isinstance(app.screen, SendDialog)
    return " ".join(line.plain for line in app.screen.state.lines)


async def test_a_conversation_becomes_a_model_of_ollama(
    host: ScriptedHost, clock: FakeClock, sender: FakeSender
) -> None:
    async with started(host, clock, sender=lambda: sender) as (app, pilot):
        await to_ollama(pilot)
        assert isinstance(app.screen, SendDialog)
        assert app.screen.name_input.value == "why-is-it-blue"
        assert app.screen.server.value == "http://127.0.0.1:11434"
        await press_keys(pilot, "enter")
        ((session, target),) = sender.sent
        assert target == SendTarget("why-is-it-blue", "http://127.0.0.1:11434")
        assert session.turns[0].message.content == "Why is it blue?"
        assert "Ollama made why-is-it-blue, and it answers: Hello." in shown(app)


async def test_a_model_of_that_name_is_replaced_only_after_a_second_enter(
    host: ScriptedHost, clock: FakeClock, sender: FakeSender
) -> None:
    sender.error = TargetError("Ollama has a model mine already.", "Choose another name.")
    async with started(host, clock, sender=lambda: sender, size=(80, 24)) as (app, pilot):
        await to_ollama(pilot)
        await press_keys(pilot, "enter")
        assert "Enter again replaces it." in said(app)
        # Another name is another question.
        await press_keys(pilot, "end", "x", "enter")
        assert sender.sent == []
        await press_keys(pilot, "enter")
        assert [(target.name, target.overwrite) for _, target in sender.sent] == [("why-is-it-bluex", True)]


async def test_escape_stops_and_then_closes(host: ScriptedHost, clock: FakeClock, sender: FakeSender) -> None:
    async with started(host, clock, sender=lambda: sender) as (app, pilot):
        sender.waits = asyncio.Event()
        await to_ollama(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "Sending model.gguf" in said(app))
        assert "50%" in said(app)
        await press_keys(pilot, "escape")
        assert "stopped" in said(app)
        await press_keys(pilot, "escape")
        assert not isinstance(app.screen, SendDialog)
        assert sender.sent == []


async def test_errors_are_shown(host: ScriptedHost, clock: FakeClock, sender: FakeSender) -> None:
    sender.error = ServerUnreachableError("Nothing answers at 127.0.0.1:11434.", "See whether the server runs.")
    async with started(host, clock, sender=lambda: sender) as (app, pilot):
        await to_ollama(pilot)
        await press_keys(pilot, "enter")
        assert "Nothing answers at 127.0.0.1:11434. See whether the server runs." in said(app)


@pytest.mark.parametrize(
    ("title", "name"),
    [("Why is it blue?", "why-is-it-blue"), ("水", "my-model"), ("a" * 50, "a" * 32), ("", "my-model")],
)
def test_a_name_is_proposed(title: str, name: str) -> None:
    assert proposed_name(title) == name
