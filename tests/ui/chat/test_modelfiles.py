from __future__ import annotations

from dataclasses import replace

import pytest

from tests.ui.drive import app_on, press_keys, settle, shown, started, turns, until
from tests.ui.fakes import ANSWER, FakeClock, FakeStore, models
from workbench.core.chat import Message
from workbench.core.config import Config
from workbench.core.errors import CancelledError
from workbench.core.models import ModelEntry
from workbench.core.parameters import Sampling
from workbench.core.recipe import GIVEN, Recipe
from workbench.core.session import Session
from workbench.core.tree import Node, Tree, Turn
from workbench.engine.scripted import ScriptedHost
from workbench.ui.chat.model_loading import brought
from workbench.ui.dialogs.text_viewer import ValueDialog
from workbench.ui.workspace.workspace import NOTHING

RECIPE = Recipe(
    template="{{ .Prompt }}",
    system="Be brief.",
    parameters=(("temperature", 0.1), ("num_ctx", 2048)),
    messages=(Message("user", "Two and two?"), Message("assistant", "Four.")),
)
BROUGHT = "The Modelfile brings a chat template, a system prompt, temperature 0.1, num_ctx 2048 and 2 messages."
REF = "/m/brief.Modelfile"


@pytest.fixture
def described(clock: FakeClock) -> ScriptedHost:
    """A host with a model that a Modelfile describes, beside the others."""
    plain, *others = models()
    entry = replace(plain.entry, ref=REF, name="brief", recipe=RECIPE)
    return ScriptedHost([replace(plain, entry=entry), plain, *others], clock=clock, sleep=clock.sleep)


async def test_a_chat_begins_as_the_modelfile_says(described: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    app = app_on(described, clock, REF, store=store, config=Config(sampling=Sampling(temperature=1.0, top_k=7)))
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        conversation = app.workspace.conversation
        assert turns(app) == ["Two and two?", "Four.", BROUGHT]
        assert "given by the Modelfile" in shown(app)
        assert conversation.system == "Be brief."
        assert (conversation.sampling.temperature, conversation.sampling.top_k) == (0.1, 7)
        assert not app.workspace.needs_reload
        assert described.opened[0].info.settings.num_ctx == 2048
        await press_keys(pilot, *"why", "enter")
        assert [message.content for message in described.opened[0].requests[0].messages] == [
            "Be brief.", "Two and two?", "Four.", "why",
        ]  # fmt: skip
        records = [record for record in store.journals[0].records if record[0] != "partial"]
        assert [record[0] for record in records[:6]] == ["settings", "model", "message", "answer", "message", "answer"]
        given = records[3][1]
        assert isinstance(given, Node)
        assert (given.turn.message, given.turn.finish_reason) == (RECIPE.messages[1], GIVEN)
        assert turns(app)[-1] == ANSWER


async def test_a_new_chat_begins_with_the_modelfile_too(described: ScriptedHost, clock: FakeClock) -> None:
    async with started(described, clock, REF) as (app, pilot):
        await press_keys(pilot, *"why", "enter")
        await press_keys(pilot, "ctrl+n")
        assert turns(app) == ["Two and two?", "Four."]
        assert app.workspace.conversation.system == "Be brief."


async def test_a_message_sent_during_the_load_follows_the_messages_of_the_modelfile(
    described: ScriptedHost, clock: FakeClock
) -> None:
    app = app_on(described, clock, REF)
    async with app.run_test(size=(120, 36)) as pilot:
        clock.hold_after(0)
        await until(pilot, lambda: app.workspace.slot.loading)
        await pilot.press(*"why", "enter")
        clock.release()
        await settle(pilot)
        assert turns(app) == ["Two and two?", "Four.", "why", BROUGHT, ANSWER]


async def test_a_conversation_that_has_begun_keeps_its_beginning(described: ScriptedHost, clock: FakeClock) -> None:
    async with started(described, clock) as (app, pilot):
        await press_keys(pilot, *"why", "enter")
        app.chat.loader.load(REF, "brief")
        await settle(pilot)
        conversation = app.workspace.conversation
        assert [turn.message.content for turn in conversation.turns] == ["why", ANSWER]
        assert conversation.system == "Be brief."
        assert "stand at the beginning of a new chat" in shown(app)


async def test_it_can_be_loaded_by_a_command(described: ScriptedHost, clock: FakeClock) -> None:
    async with started(described, clock) as (app, pilot):
        for line in (f"/load {REF}", "/show template"):
            app.chat.prompt.put(line)
            await press_keys(pilot, "enter")
        assert turns(app)[:3] == ["Two and two?", "Four.", BROUGHT]
        assert isinstance(app.screen, ValueDialog)
        assert "{{ .Prompt }}" in "\n".join(line.plain for line in app.screen._lay_out(200))


async def test_a_reload_keeps_what_the_user_has_changed(described: ScriptedHost, clock: FakeClock) -> None:
    async with started(described, clock, REF) as (app, pilot):
        await app.workspace.change("Mine.", {"num_ctx": 4096})
        await press_keys(pilot, "f9")
        assert app.workspace.conversation.system == "Mine."
        assert described.opened[-1].info.settings.num_ctx == 4096


async def test_a_stored_conversation_keeps_its_own_settings(described: ScriptedHost, clock: FakeClock) -> None:
    stored = Session("s", 0, 1, REF, system="Old.", tree=Tree.of([Turn(Message("user", "hi"), 0)]))
    for first in (REF, None):
        async with started(described, clock, first, "s", store=FakeStore([stored])) as (app, _pilot):
            conversation = app.workspace.conversation
            assert (conversation.system, len(conversation.turns)) == ("Old.", 1)
            assert app.workspace.model is not None
            assert app.workspace.model.recipe == RECIPE


async def test_the_command_line_takes_precedence(described: ScriptedHost, clock: FakeClock) -> None:
    given = replace(RECIPE, system="", parameters=(("temperature", 0.9),), messages=())
    async with started(described, clock, REF, recipe=given) as (app, _pilot):
        assert app.workspace.conversation.sampling.temperature == 0.9
        assert app.workspace.conversation.system == ""


async def test_a_load_that_fails_leaves_the_conversation_alone(clock: FakeClock) -> None:
    *fine, broken = models()
    entry = replace(broken.entry, recipe=RECIPE)
    app = app_on(ScriptedHost([*fine, replace(broken, entry=entry)], clock=clock, sleep=clock.sleep), clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        app.chat.loader.load("broken", "broken")
        await settle(pilot)
        conversation = app.workspace.conversation
        assert (conversation.system, conversation.turns) == ("", ())


@pytest.mark.parametrize("target", ["broken", "there is none"])
async def test_a_load_that_is_refused_gives_back_the_settings_of_the_last_one(clock: FakeClock, target: str) -> None:
    async with started(ScriptedHost(models(), clock=clock, sleep=clock.sleep), clock) as (app, pilot):
        workspace = app.workspace
        worked = workspace.conversation.load
        await workspace.change("", {"type_k": "q8_0", "num_ctx": 512})
        app.chat.loader.load(target, target)
        await settle(pilot)
        assert workspace.conversation.load == worked
        assert not workspace.needs_reload
        await workspace.change("", {"num_ctx": 512})
        app.chat.loader.reload()
        await settle(pilot)
        assert workspace.conversation.load.num_ctx == 512
        assert not workspace.needs_reload


async def test_a_load_that_the_user_stops_leaves_the_settings(clock: FakeClock) -> None:
    async with started(ScriptedHost(models(), clock=clock, sleep=clock.sleep), clock) as (app, pilot):
        await app.workspace.change("", {"num_ctx": 512})

        async def stopped(*_: object) -> None:
            raise CancelledError("Loading was stopped.")

        app.workspace.slot.open = stopped  # type: ignore[method-assign, assignment]
        app.chat.loader.reload()
        await settle(pilot)
        assert app.workspace.conversation.load.num_ctx == 512


@pytest.mark.parametrize(
    ("own", "taken", "said"),
    [
        (Recipe(adapter="/m/a.gguf", template="x"), NOTHING, "the adapter a.gguf and a chat template"),
        (NOTHING, NOTHING, "the model alone"),
        (Recipe(system="x"), Recipe(messages=RECIPE.messages[:1]), "a message"),
        (
            NOTHING,
            Recipe(parameters=(("stop", ("\n", "a" * 50)), ("use_mmap", False), ("a", 1), ("b", 2), ("c", 3))),
            f"stop '\\n' '{'a' * 33}…, use_mmap false, a 1, b 2 and 1 more parameter",
        ),
    ],
)
def test_the_effects_of_a_modelfile_are_listed(own: Recipe, taken: Recipe, said: str) -> None:
    assert brought(ModelEntry("m", "m", recipe=own), taken) == f"The Modelfile brings {said}."


def test_nothing_says_nothing() -> None:
    assert RECIPE.onto(NOTHING) == RECIPE
    assert NOTHING.onto(RECIPE) == RECIPE
