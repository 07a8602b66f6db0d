"""Opening the models of servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from typing_extensions import override

from workbench.core.cancel import CancelToken
from workbench.core.engine import Engine, EngineHost, ProgressCallback
from workbench.core.errors import UnknownModelError, WorkbenchError, did_you_mean
from workbench.core.models import EngineInfo, ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.servers import ServerAddress, ServerInfo, split_ref
from workbench.engine.remote.control import unload
from workbench.engine.remote.detect import detect, identify, probe, why_unknown
from workbench.engine.remote.dialect import Dialect, Opened, model_id
from workbench.engine.remote.engine import RemoteEngine
from workbench.engine.remote.http import ServerClient, Timeouts
from workbench.engine.remote.listing import list_models
from workbench.engine.remote.network import shared_network
from workbench.engine.remote.ollama import OllamaDialect, same_name
from workbench.engine.remote.openai import OpenAIDialect

SHOWN_MODELS = 5


class RemoteHost(EngineHost):
    """Opens the models of servers. Each server has one set of connections.

    `address_of` finds the key for the server at a URL.
    """

    def __init__(
        self, address_of: Callable[[str], ServerAddress] = ServerAddress, timeouts: Timeouts | None = None
    ) -> None:
        self._address_of = address_of
        self._timeouts = timeouts or Timeouts()
        self._clients: dict[str, ServerClient] = {}
        self._engines: set[RemoteEngine] = set()

    @override
    async def open(
        self, ref: str, settings: LoadSettings, on_progress: ProgressCallback, cancel: CancelToken
    ) -> Engine:
        url, name = split_ref(ref)
        began = time.perf_counter()
        client, dialect, info = await shared_network.run_until(
            cancel, self._open(url, name, settings, on_progress), "Opening the model was stopped."
        )
        on_progress(1.0)
        info = replace(info, load_ms=(time.perf_counter() - began) * 1e3)
        reload = info.backend in {"Ollama", "LM Studio"}
        engine = RemoteEngine(client, dialect, info, self._engines.discard, reload=reload)
        self._engines.add(engine)
        return engine

    @override
    async def shutdown(self) -> None:
        for engine in tuple(self._engines):
            await engine.close()
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await shared_network.run(client.close())

    async def models(self, url: str) -> tuple[ServerInfo, tuple[ModelEntry, ...]]:
        """The server at an address, and its models.

        Raises:
            WorkbenchError: Nothing answers, or no known server.
        """

        async def look() -> tuple[ServerInfo, tuple[ModelEntry, ...]]:
            client = self._client(url)
            server = await _known(client)
            return server, await list_models(client, server)

        return await shared_network.run(look())

    async def look(self, urls: Sequence[str]) -> list[ServerInfo | WorkbenchError]:
        """The servers at these addresses, or the errors, asked all at once."""

        async def ask(url: str) -> ServerInfo | WorkbenchError:
            try:
                return await detect(self._client(url))
            except WorkbenchError as error:
                return error

        async def ask_all() -> list[ServerInfo | WorkbenchError]:
            return await asyncio.gather(*map(ask, urls))

        return await shared_network.run(ask_all())

    async def unload(self, ref: str) -> None:
        """Make the server unload the model that `ref` names."""
        url, name = split_ref(ref)

        async def give_back() -> None:
            client = self._client(url)
            server = await _known(client)
            await unload(client, server, _chosen(client, await list_models(client, server), name))

        await shared_network.run(give_back())

    def _client(self, url: str) -> ServerClient:
        """The connections to a server. Called in the network's thread."""
        if url not in self._clients:
            self._clients[url] = ServerClient(self._address_of(url), self._timeouts)
        return self._clients[url]

    async def _open(
        self, url: str, name: str, settings: LoadSettings, on_progress: ProgressCallback
    ) -> tuple[ServerClient, Dialect, EngineInfo]:
        client = self._client(url)
        server, dialect, opened = await open_model(client, name, settings, on_progress)
        info = EngineInfo(
            opened.model, opened.settings, server.kind, load_ms=0.0, warnings=opened.warnings, measured_by="client"
        )
        return client, dialect, info


async def open_model(
    client: ServerClient, name: str, settings: LoadSettings, on_progress: ProgressCallback
) -> tuple[ServerInfo, Dialect, Opened]:
    """Detect the server, and prepare the model `name`; its only one, where the name is empty."""
    server = await _known(client)
    model = _chosen(client, await list_models(client, server), name)
    dialect: Dialect
    if server.kind == "Ollama":
        dialect = OllamaDialect(client, model, server.version)
    else:
        dialect = OpenAIDialect(client, server, model)
    return server, dialect, await dialect.open(settings, on_progress)


async def _known(client: ServerClient) -> ServerInfo:
    """The server, if it is a known one."""
    answers = await probe(client)
    server = identify(client.address.url, answers)
    if server.kind == "unknown":
        raise why_unknown(client, answers)
    return server


def _chosen(client: ServerClient, models: Sequence[ModelEntry], name: str) -> ModelEntry:
    """The model of this name; the only one, or the only loaded one, where the name is empty."""
    where = client.address.label
    names = [model_id(model) for model in models]
    if not models:
        raise UnknownModelError(f"{where} has no models.", "Load or pull one there.")
    if not name:
        for candidates in (models, [model for model in models if model.loaded]):
            if len(candidates) == 1:
                return candidates[0]
        shown = ", ".join(names[:SHOWN_MODELS]) + (", …" if len(names) > SHOWN_MODELS else "")
        raise UnknownModelError(f"{where} has several models: {shown}.", f"Name one: {client.address.url}#{names[0]}")
    if name in names:
        return models[names.index(name)]
    for model in models:
        if same_name(model_id(model), name) or model.label.casefold() == name.casefold():
            return model
    hint = did_you_mean(name, names) or f"It has {', '.join(names[:SHOWN_MODELS])}."
    raise UnknownModelError(f"{where} has no model {name!r}.", hint)
