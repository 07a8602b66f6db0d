from __future__ import annotations

import asyncio

import pytest

from tests.engine.remote.helpers import Silence
from tests.servers.ollama import OllamaServer
from tests.servers.vllm import VllmServer
from workbench.core.config import ServerSetting
from workbench.core.errors import ModelFileError, ServerUnreachableError
from workbench.core.models import LibraryView, ModelEntry
from workbench.engine.remote import addresses
from workbench.engine.remote.addresses import AddressBook
from workbench.engine.remote.catalog import ServedCatalog

FILE = ModelEntry("/m.gguf", "m")


class FakeLibrary:
    """A library whose search ends when the test allows it."""

    def __init__(self, *, ended=True, error=None):
        self.may_end = asyncio.Event()
        self.error = error
        if ended:
            self.may_end.set()

    async def models(self):
        return (FILE,)

    async def watch(self, *, again=False):
        yield LibraryView((FILE,), complete=False)
        await self.may_end.wait()
        if self.error:
            raise self.error
        yield LibraryView((FILE,), complete=True)


@pytest.fixture
def catalog(host):
    kept = []

    def make(*urls, library=None, find=False):
        made = host()
        book = AddressBook([ServerSetting(url) for url in urls], {}, find=find)
        served = ServedCatalog(library or FakeLibrary(), book, lambda: made, kept.append)
        served.kept = kept
        return served

    return make


async def views_of(catalog):
    return [view async for view in catalog.watch()]


def refs(view):
    return [model.ref for model in view.models]


async def test_the_models_of_servers_come_behind_those_of_the_library(serve, catalog):
    one, other = serve(VllmServer()), serve(OllamaServer())
    served = catalog(one.url, other.url)
    views = await views_of(served)
    assert [view.complete for view in views] == [False] * (len(views) - 1) + [True]
    assert refs(views[-1])[0] == FILE.ref
    assert f"{one.url}#Qwen/Qwen3-0.6B" in refs(views[-1])
    assert f"{other.url}#qwen3:0.6b" in refs(views[-1])
    assert [model.ref for model in await served.models()] == refs(views[-1])


async def test_a_server_that_is_away_is_a_problem_and_no_obstacle(serve, catalog):
    one = serve(VllmServer())
    served = catalog("http://127.0.0.1:9", one.url)
    last = (await views_of(served))[-1]
    assert f"{one.url}#Qwen/Qwen3-0.6B" in refs(last)
    (problem,) = last.problems
    assert str(problem).startswith("http://127.0.0.1:9: Nothing answers")
    one.stop()
    assert refs((await views_of(served))[-1]) == [FILE.ref]


async def test_files_are_shown_while_servers_are_asked_and_the_other_way_round(raw_serve, serve, catalog):
    slow = await raw_serve(pages={"*": Silence()})
    views = catalog(slow.url).watch()
    first = await anext(views)
    await views.aclose()
    assert (refs(first), first.complete) == ([FILE.ref], False)
    library = FakeLibrary(ended=False)
    served = serve(VllmServer())
    async for view in catalog(served.url, library=library).watch():
        if len(view.models) == 2:
            assert view.complete is library.may_end.is_set()
            library.may_end.set()
    assert view.complete


async def test_a_server_that_is_found_on_a_usual_port(serve, catalog, monkeypatch):
    served = serve(VllmServer())
    monkeypatch.setattr(addresses, "PORTS", (int(served.url.rpartition(":")[2]), 9))
    last = (await views_of(catalog(find=True)))[-1]
    assert len(last.models) == 2
    assert last.problems == ()
    assert len((await views_of(catalog()))[-1].models) == 1


async def test_a_server_that_is_added_is_kept_once(serve, catalog):
    served = serve(OllamaServer())
    models = catalog("http://a")
    added = await models.add(f"{served.url}/v1#whatever")
    assert {model.source.split()[0] for model in added} == {"Ollama"}
    await models.add(served.url)
    assert models.kept == [ServerSetting(served.url)]
    assert added[0] in await models.models()


async def test_a_server_that_does_not_answer_is_not_kept(catalog):
    models = catalog()
    with pytest.raises(ServerUnreachableError):
        await models.add("http://127.0.0.1:9")
    assert models.kept == []


async def test_a_failing_library_is_reported(catalog):
    with pytest.raises(ModelFileError):
        await views_of(catalog(library=FakeLibrary(error=ModelFileError("broken"))))


async def test_a_search_that_nobody_follows_ends(raw_serve, catalog):
    server = await raw_serve(pages={"*": Silence()})
    views = catalog(server.url, library=FakeLibrary(ended=False)).watch()
    await anext(views)
    await views.aclose()
