"""The sampling that a model's author recommends, on the screen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.ui.drive import app_on, press_keys, settle, shown, started
from tests.ui.fakes import FakeClock, FakeStore, models
from workbench.core.chat import Message
from workbench.core.config import Config
from workbench.core.parameters import Sampling
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.engine.scripted import ScriptedHost
from workbench.ui.dialogs.parameter_field import ParameterField

REF = "/m/own.gguf"


@pytest.fixture
def host(clock: FakeClock) -> ScriptedHost:
    plain, *others = models()
    entry = replace(plain.entry, ref=REF, name="own", path=REF)
    own = replace(plain, entry=entry, recommended=(("temperature", 0.0), ("top_k", 20)))
    return ScriptedHost([own, plain, *others], clock=clock, sleep=clock.sleep)


async def test_it_is_used_and_every_value_says_where_it_comes_from(host: ScriptedHost, clock: FakeClock) -> None:
    config = Config(sampling=Sampling(top_p=0.5), origins={"top_p": "config"})
    async with started(host, clock, REF, config=config, size=(120, 50)) as (app, pilot):
        assert "author recommends temperature 0, top_k 20" in shown(app)
        await app.workspace.change("", {"min_p": 0.1})
        await press_keys(pilot, *"why", "enter")
        sampling = host.opened[0].requests[0].sampling
        assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (0.0, 20, 0.5, 0.1)
        await press_keys(pilot, "f6")
        notes = {
            name: str(app.screen.query_one(f"#field-{name}", ParameterField).note.content)
            for name in ("temperature", "top_k", "top_p", "min_p", "seed")
        }
        assert notes["temperature"] == "greedy · author · default 0.8"
        assert notes["top_k"] == "author · default 40"
        assert notes["top_p"] == "config · default 0.9"
        assert notes["min_p"] == "this chat · default 0"
        assert notes["seed"] == "random each time · default"


async def test_another_model_does_not_inherit_it(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, REF, size=(120, 50)) as (app, pilot):
        await app.workspace.change("", {"top_k": 7})
        app.chat.loader.load(models()[0].entry.ref, "other")
        await settle(pilot)
        sampling = app.workspace.conversation.sampling
        assert (sampling.temperature, sampling.top_k) == (0.8, 7)
        await press_keys(pilot, "ctrl+n")
        app.chat.loader.load(REF, "own")
        await settle(pilot)
        sampling = app.workspace.conversation.sampling
        assert (sampling.temperature, sampling.top_k) == (0.0, 7)


async def test_it_does_not_become_the_default_of_all_models(host: ScriptedHost, clock: FakeClock) -> None:
    saved = []
    app = app_on(host, clock, REF)
    app.workspace._services = replace(app.workspace._services, save_config=lambda changes: saved.append(changes) or ())
    async with app.run_test(size=(120, 50)) as pilot:
        await settle(pilot)
        await app.workspace.change("", {"min_p": 0.1})
        app.workspace.save_defaults()
        assert saved[0]["sampling"] == Sampling(min_p=0.1)
        assert app.workspace.conversation.sampling.temperature == 0.0


async def test_a_stored_conversation_keeps_its_values_and_a_new_one_gets_the_authors(
    host: ScriptedHost, clock: FakeClock
) -> None:
    stored = Session("s", 0, 1, REF, tree=Tree.of([Turn(Message("user", "hi"), 0)]))
    async with started(host, clock, None, "s", store=FakeStore([stored]), size=(120, 50)) as (app, pilot):
        assert app.workspace.conversation.sampling == Sampling()
        await press_keys(pilot, "ctrl+n")
        assert app.workspace.conversation.sampling.temperature == 0.0
