"""Servers on the screen: added by address, listed, unloaded, and each figure with who measured it.

The screen works here with the real engine of servers, in front of servers on real sockets.
"""

from __future__ import annotations

import pytest
from textual.widgets import Input, Label

from tests.servers.ollama import OllamaServer
from tests.servers.script import Exchange, Script
from tests.servers.vllm import VllmServer
from tests.ui.drive import press_keys, settle, shown, turns, until
from tests.ui.fakes import fake_services
from workbench.core.config import ServerSetting
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import LibraryView, ModelEntry
from workbench.core.servers import ServerAddress
from workbench.engine.remote.addresses import AddressBook
from workbench.engine.remote.catalog import ServedCatalog
from workbench.engine.remote.host import RemoteHost
from workbench.engine.remote.http import Timeouts
from workbench.engine.scripted import ScriptedHost
from workbench.ui.app import WorkbenchApp
from workbench.ui.dialogs.model_picker import matching

THINKS = Exchange(
    "Why?", ("Rivers", " carry", " salt", "."), thoughts=("Hm", ", why", "?"), prompt_tokens=31, cached_tokens=19,
    prefill_ns=40_000_000, decode_ns=300_000_000,
)  # fmt: skip


class BothHosts(ScriptedHost):
    """Opens scripted models, and those of servers."""

    def __init__(self):
        super().__init__()
        self.remote = RemoteHost(ServerAddress, Timeouts(probe=1.0))

    async def open(self, ref, settings, on_progress, cancel):
        chosen = self.remote if ref.startswith("http") else super()
        return await chosen.open(ref, settings, on_progress, cancel)

    async def shutdown(self):
        await self.remote.shutdown()
        await super().shutdown()


@pytest.fixture
async def program():
    """A program on a scripted host and on these servers."""
    hosts = []

    def make(*urls, model=None):
        host = BothHosts()
        hosts.append(host)
        kept = []
        book = AddressBook([ServerSetting(url) for url in urls], {}, find=False)
        catalog = ServedCatalog(host, book, lambda: host.remote, kept.append)
        # The stamps of bytes are those of the real clock.
        app = WorkbenchApp(fake_services(host, catalog=catalog, servers=catalog), model)
        app.kept = kept
        return app

    yield make
    for host in hosts:
        await host.shutdown()


def state(app):
    return str(app.screen.query_one("#picker-state", Label).content)


def panel(app):
    return "\n".join(line.plain for line in app.screen.panel.lines)


def type_into_search(app, text):
    app.screen.query_one("#picker-search", Input).value = text


async def test_a_server_is_added_by_its_address_and_its_model_opened(serve, program):
    served = serve(OllamaServer())
    app = program()
    async with app.run_test(size=(120, 36)) as pilot:
        await press_keys(pilot, "ctrl+o")
        type_into_search(app, f"{served.url}/v1")
        await settle(pilot)
        assert "Enter asks" in state(app)
        await press_keys(pilot, "enter")
        assert "2 of 3 models" in state(app)
        assert app.kept == [ServerSetting(served.url)]
        await pilot.press("enter")
        await until(pilot, lambda: app.workspace.model is not None)
        assert app.workspace.model.ref == f"{served.url}#qwen3:0.6b"
        assert "Ollama" in shown(app)


async def test_a_server_that_does_not_answer_is_reported_in_the_dialog(program):
    app = program()
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("ctrl+o")
        type_into_search(app, "http://127.0.0.1:9")
        await settle(pilot)
        await press_keys(pilot, "enter")
        app.screen._take(LibraryView(complete=True))
        assert "Nothing answers at 127.0.0.1:9" in state(app), "the end of the scan does not hide it"
        assert app.kept == []
        type_into_search(app, "http://[")
        await settle(pilot)
        await press_keys(pilot, "enter")
        assert "is not the address of a server" in state(app)


@pytest.mark.parametrize("key", ["f3", "f5"])
async def test_a_server_is_added_for_a_race_or_a_bench_too(program, key):
    app = program()
    async with app.run_test(size=(120, 36)) as pilot:
        await press_keys(pilot, key)
        await pilot.press("ctrl+o")
        type_into_search(app, "http://127.0.0.1:9")
        await settle(pilot)
        assert "Enter asks" in state(app)


async def test_each_figure_says_who_measured_it(serve, program):
    served = serve(OllamaServer(Script((THINKS,))))
    app = program(served.url, model=f"{served.url}#qwen3:0.6b")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.workspace.model is not None)
        await pilot.press(*"Why?", "enter")
        await until(pilot, lambda: app.workspace.readings().metrics and not app.workspace.answering)
        await settle(pilot)
        metrics = app.workspace.readings().metrics
        assert (metrics.source, metrics.latency_source) == ("server", "client")
        panel = shown(app)
        assert "tok/s, server" in panel
        assert "ms client" in panel
        assert "19 of 31" in panel
        message = app.workspace.conversation.turns[-1].message
        assert (message.reasoning, message.content) == ("Hm, why?", "Rivers carry salt.")
        assert any("context of 4096" in text for text in turns(app))


async def test_figures_of_a_model_in_process_name_no_source(program):
    app = program(model="scripted")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.workspace.model is not None)
        assert AnswerMetrics().latency_source == "engine"
        assert "client" not in shown(app)


async def test_a_model_is_unloaded(serve, program):
    server = OllamaServer()
    served = serve(server)
    app = program(served.url, model=f"{served.url}#qwen3:0.6b")
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.workspace.model is not None)
        await press_keys(pilot, "f4")
        app.screen.models.select_first(lambda model: model.name == "qwen3:0.6b")
        app.screen._show()
        await settle(pilot)
        assert "Loaded there" in panel(app)
        await press_keys(pilot, "u")
        assert server.loaded == {}
        assert "Not loaded there" in panel(app)
        await press_keys(pilot, "u")
        assert "is not loaded" in str(app.screen.state.content)
        app.screen.models.select_first(lambda model: model.name == "scripted")
        app.screen._show()
        await press_keys(pilot, "u")
        assert "is not on a server" in str(app.screen.state.content)


async def test_an_address_is_validated():
    models = [ModelEntry("http://gpu:8000#a", "a"), ModelEntry("/http/gpu/8000", "http gpu 8000")]
    assert matching(models, "http://gpu:8000/v1/") == models[:1]
    assert matching(models, "http://gp") == models[:1]
    assert matching(models, "https://gpu") == []
    assert matching(models, "http://[") == []


async def test_a_server_takes_part_in_a_race(serve, program):
    one, other = serve(OllamaServer(Script((THINKS,)))), serve(VllmServer(Script((THINKS,))))
    app = program(one.url, other.url, model=f"{one.url}#qwen3:0.6b")
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.workspace.model is not None)
        await press_keys(pilot, "f3")
        race = app.screen._race
        (entry,) = await app.services.servers.add(other.url)
        await race.add(app.screen._terms().lane(entry.ref, entry.label, entry.recipe, entry))
        race.ask("Why?")
        await race.finished()
        await settle(pilot)
        answers = {lane.info.backend: lane.answer.message().content for lane in race.lanes}
        assert answers["Ollama"] == answers["vLLM"] == "Rivers carry salt."
