"""Settings that are kept for a model, on the screen."""

from __future__ import annotations

from dataclasses import replace

from tests.ui.drive import app_on, press_keys, settle, shown, started
from tests.ui.fakes import FakeClock, FakeKept, models
from workbench.core.config import Config
from workbench.core.kept import kept_recipe
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.recipe import Recipe
from workbench.engine.scripted import ScriptedHost
from workbench.lab.race.setup import RaceTerms
from workbench.ui.dialogs.parameter_field import ParameterField
from workbench.ui.workspace.conversation import Conversation

CONFIG = Config(sampling=Sampling(top_p=0.5), load=LoadSettings(num_ctx=512), system="General.",
                origins={"top_p": "config", "num_ctx": "config", "system": "config"})  # fmt: skip
KEPT = kept_recipe({"temperature": 0.1, "num_ctx": 2048, "system": "Own."})


def state(conversation: Conversation) -> tuple[object, ...]:
    sampling = conversation.sampling
    return sampling.temperature, sampling.top_p, conversation.load.num_ctx, conversation.system


def test_what_is_kept_is_left_with_its_model_and_replaces_nothing_that_this_chat_has_set() -> None:
    conversation = Conversation.new(CONFIG)
    conversation.take(KEPT)
    assert state(conversation) == (0.1, 0.5, 2048, "Own.")
    assert {conversation.origins[name] for name in ("temperature", "num_ctx", "system")} == {"model"}
    assert state(conversation.general(CONFIG)) == (0.8, 0.5, 512, "General.")
    conversation.change("This one.", {"temperature": 0.3})
    conversation.leave_model(CONFIG)
    assert state(conversation) == (0.3, 0.5, 512, "This one.")
    assert conversation.origins["num_ctx"] == "config"
    conversation.take(KEPT)
    assert state(conversation) == (0.3, 0.5, 2048, "This one.")
    assert conversation.to_keep(CONFIG) == {"temperature": 0.3, "num_ctx": 2048, "system": "This one."}


def test_it_stands_above_a_modelfile() -> None:
    conversation = Conversation.new(CONFIG)
    conversation.take(KEPT.onto(Recipe(system="File.", parameters=(("temperature", 0.6), ("top_p", 0.7)))))
    assert state(conversation) == (0.1, 0.7, 2048, "Own.")
    assert (conversation.origins["top_p"], conversation.origins["temperature"]) == ("Modelfile", "model")
    command_line = Recipe(system="Said.", parameters=(("temperature", 0.9),)).onto(KEPT)
    assert command_line.kept == {"num_ctx"}


def test_a_lane_has_what_is_kept_for_its_model_unless_the_race_decides() -> None:
    terms = RaceTerms(LoadSettings(), Sampling(min_p=0.2), "", origins={"min_p": "this chat"})
    spec = terms.lane("m", "m", None).keeping(
        kept_recipe({"temperature": 0.1, "top_k": 3, "min_p": 0.9, "num_ctx": 64})
    )
    assert (spec.sampling.temperature, spec.sampling.top_k, spec.sampling.min_p, spec.load.num_ctx) == (0, 3, 0.2, 64)
    assert (spec.origins["top_k"], spec.origins["temperature"]) == ("model", "race")


async def test_keeping_showing_and_removing(host: ScriptedHost, clock: FakeClock) -> None:
    kept = FakeKept()
    first, _, other, _ = models()

    async def find_recipe(ref: str) -> Recipe | None:
        entry = next(each.entry for each in models() if each.entry.ref == ref)
        return kept_recipe(kept.of(entry)) if kept.of(entry) else None

    host.find_recipe = find_recipe
    async with started(host, clock, first.entry.ref, kept=kept, size=(80, 24)) as (app, pilot):
        await app.workspace.change("Be brief.", {"temperature": 0.2, "num_ctx": 256})
        await press_keys(pilot, "f6", "ctrl+t")
        assert kept.models == {first.entry.name: {"temperature": 0.2, "num_ctx": 256, "system": "Be brief."}}
        assert "Kept for SmolLM2-135M-Instruct" in shown(app)
        app.chat.loader.load(other.entry.ref, "other")
        await settle(pilot)
        conversation = app.workspace.conversation
        assert (conversation.sampling, conversation.load, conversation.system) == (Sampling(), LoadSettings(), "")
        app.chat.loader.load(first.entry.ref, "first")
        await settle(pilot)
        assert host.opened[-1].info.settings.num_ctx == 256
        await press_keys(pilot, "f6")
        note = app.screen.query_one("#field-temperature", ParameterField).note
        assert str(note.content) == "model · default 0.8"
        await press_keys(pilot, "ctrl+l")
        assert (kept.models, app.workspace.conversation.sampling) == ({}, Sampling())


async def test_for_the_model_of_a_server_the_settings_say_what_is_not_sent(clock: FakeClock) -> None:
    served = replace(models()[0], measured_by="client")
    app = app_on(ScriptedHost([served], clock=clock, sleep=clock.sleep), clock, served.entry.ref)
    async with app.run_test(size=(120, 50)) as pilot:
        await settle(pilot)
        await app.workspace.change("", {"top_k": 7})
        await press_keys(pilot, "f6")
        fields = {field.parameter.name: str(field.note.content) for field in app.screen.query(ParameterField)}
        assert fields["temperature"] == "not sent: the server decides"
        assert fields["top_k"] == "this chat · default 40"
        assert fields["seed"] == "random each time · default"
        assert fields["num_ctx"] == "automatic · default"
        await pilot.press("down", "down", "up")
        assert app.focused is app.screen.query_one("#field-top_k", ParameterField).input
