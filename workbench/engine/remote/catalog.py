"""The catalog of the models of the library and of servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from typing_extensions import override

from workbench.core.config import ServerSetting
from workbench.core.errors import ServerError, WorkbenchError
from workbench.core.models import Catalog, LibraryView, ModelEntry, Naming, ScanProblem
from workbench.core.recipe import Recipe
from workbench.core.servers import Servers, server_url
from workbench.engine.remote.addresses import AddressBook

if TYPE_CHECKING:
    from workbench.engine.remote.host import RemoteHost

_logger = logging.getLogger(__name__)


class ServedCatalog(Catalog, Servers):
    """A catalog of model files with the models of the known servers appended.

    `host` provides the client of servers, which is imported only then. `keep` adds a server to the config.
    """

    def __init__(
        self,
        library: Catalog,
        addresses: AddressBook,
        host: Callable[[], RemoteHost],
        keep: Callable[[ServerSetting], None],
    ) -> None:
        self._library = library
        self._addresses = addresses
        self._host = host
        self._keep = keep
        self._served: dict[str, tuple[ModelEntry, ...]] = {}
        """The models of each server that has answered."""
        self._problems: dict[str, ScanProblem] = {}

    @override
    async def models(self) -> Sequence[ModelEntry]:
        models = await self._library.models()
        await asyncio.gather(*map(self._look, tuple(self._served)))
        return (*models, *self._of_servers())

    @override
    async def watch(self, *, again: bool = False) -> AsyncGenerator[LibraryView, None]:
        news: asyncio.Queue[LibraryView | None] = asyncio.Queue()
        looking = asyncio.create_task(self._look_at_all(news))
        reading = asyncio.create_task(self._read(news, again=again))
        view = LibraryView()
        try:
            while True:
                # None: the models of a server have changed.
                view = await news.get() or view
                if looking.done() and reading.done() and news.empty():
                    looking.result()
                    reading.result()
                    yield self._with_servers(view, complete=True)
                    return
                yield self._with_servers(view, complete=False)
        finally:
            for task in (looking, reading):
                task.cancel()
            await asyncio.gather(looking, reading, return_exceptions=True)

    @override
    async def name_elsewhere(self, path: str, naming: Naming) -> str:
        return await self._library.name_elsewhere(path, naming)

    @override
    async def find_recipe(self, ref: str) -> Recipe | None:
        return await self._library.find_recipe(ref)

    @override
    async def add(self, address: str) -> Sequence[ModelEntry]:
        url = server_url(address.partition("#")[0])
        host = await self._asker()
        _, models = await host.models(url)
        self._served[url] = models
        if url not in (*self._addresses.named(), *self._addresses.usual()):
            setting = ServerSetting(url)
            self._addresses = self._addresses.having(setting)
            await asyncio.to_thread(self._keep, setting)
        return models

    @override
    async def unload(self, ref: str) -> None:
        await (await self._asker()).unload(ref)

    async def _read(self, news: asyncio.Queue[LibraryView | None], *, again: bool) -> None:
        try:
            async with aclosing(self._library.watch(again=again)) as views:
                async for view in views:
                    news.put_nowait(view)
        finally:
            # After the task has ended, so that `watch` sees it as done.
            asyncio.get_running_loop().call_soon(news.put_nowait, None)

    async def _look_at_all(self, news: asyncio.Queue[LibraryView | None]) -> None:
        named = self._addresses.named()

        async def look(url: str) -> None:
            before = self._served.get(url)
            await self._look(url, named=url in named)
            if self._served.get(url) != before:
                news.put_nowait(None)

        try:
            await asyncio.gather(*map(look, dict.fromkeys([*named, *self._addresses.usual(), *self._served])))
        finally:
            asyncio.get_running_loop().call_soon(news.put_nowait, None)

    async def _look(self, url: str, *, named: bool = True) -> None:
        """Update the models of a server; one that does not answer has none."""
        host = await self._asker()
        try:
            _, models = await host.models(url)
        except WorkbenchError as error:
            self._served.pop(url, None)
            if named:
                self._problems[url] = ScanProblem(url, str(error))
            elif not isinstance(error, ServerError):
                _logger.info("%s: %s", url, error)
        else:
            self._problems.pop(url, None)
            self._served[url] = models

    async def _asker(self) -> RemoteHost:
        """The client of servers, imported with the first use in a thread so that it does not block the screen."""
        return await asyncio.to_thread(self._host)

    def _of_servers(self) -> tuple[ModelEntry, ...]:
        return tuple(model for models in self._served.values() for model in models)

    def _with_servers(self, view: LibraryView, *, complete: bool) -> LibraryView:
        return replace(
            view,
            models=(*view.models, *self._of_servers()),
            problems=(*view.problems, *self._problems.values()),
            complete=complete,
        )
