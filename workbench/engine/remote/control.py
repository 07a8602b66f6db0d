"""Loading and unloading on LM Studio, and on llama-server as a router of several models.

Sources: https://lmstudio.ai/docs/developer/rest and llama.cpp's `tools/server/README.md`. Ollama has its own module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from workbench.core.engine import ProgressCallback
from workbench.core.errors import ServerError, UnknownModelError, did_you_mean
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.servers import ServerInfo
from workbench.engine.remote import ollama
from workbench.engine.remote.answer_parser import count, number
from workbench.engine.remote.dialect import model_id
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.listing import LM_STUDIO_PATHS, LOADED, list_models
from workbench.engine.remote.problems import is_loading, too_slow
from workbench.engine.remote.response import HttpResponse, fields, objects, word

LOOK_EVERY_S = 0.25


Ready = tuple[ModelEntry, int | None]
"""A model that is ready to answer, and its context length on the server in tokens, if the server reports it."""


async def make_ready(
    client: ServerClient,
    server: ServerInfo,
    model: ModelEntry,
    settings: LoadSettings,
    on_progress: ProgressCallback,
) -> Ready:
    """Check that a model can answer; load it where the server loads on request."""
    if server.kind == "LM Studio" and server.router:
        return await _ready_lm_studio(client, model, settings)
    if server.kind == "llama-server":
        return await _ready_llama_server(client, server, model, on_progress)
    return model, model.context_length if server.kind in {"vLLM", "TGI"} else None


async def unload(client: ServerClient, server: ServerInfo, model: ModelEntry) -> None:
    """Make a server unload a model."""
    name = model_id(model)
    if server.kind == "Ollama":
        await ollama.unload(client, name)
    elif server.kind == "LM Studio" and server.router:
        for instance in await _instances(client, name):
            body = {"instance_id": instance.get("id")}
            client.json(await client.post("/api/v1/models/unload", body), "/api/v1/models/unload", name)
    elif server.router:
        client.json(await client.post("/models/unload", {"model": name}), "/models/unload", name)
    else:
        raise ServerError(
            f"{client.address.label} keeps its model loaded as long as it runs.", "Stop the server to free its memory."
        )


async def _instances(client: ServerClient, name: str) -> list[dict[str, Any]]:
    """The loaded instances of a model of LM Studio."""
    path = LM_STUDIO_PATHS[0]
    for each in objects(client.json(await client.get(path), path).get("models")):
        if each.get("key") == name:
            return objects(each.get("loaded_instances"))
    raise UnknownModelError(f"{client.address.label} has no model {name!r}.", "Choose it again from the list.")


async def _ready_lm_studio(client: ServerClient, model: ModelEntry, settings: LoadSettings) -> Ready:
    name = model_id(model)
    instances = await _instances(client, name)
    contexts = [count(fields(instance.get("config")).get("context_length")) for instance in instances]
    if instances and (not settings.num_ctx or settings.num_ctx in contexts):
        return model, settings.num_ctx or contexts[0]
    body: dict[str, Any] = {"model": name, "echo_load_config": True}
    if settings.num_ctx:
        body["context_length"] = settings.num_ctx
        # Without this a second instance of it would take as much memory again.
        for instance in instances:
            await client.post("/api/v1/models/unload", {"instance_id": instance.get("id")})
    path = "/api/v1/models/load"
    found = client.json(await client.post(path, body, client.timeouts.load), path, name)
    context = count(fields(found.get("load_config")).get("context_length"))
    return replace(model, loaded=True), context or settings.num_ctx or None


async def _ready_llama_server(
    client: ServerClient, server: ServerInfo, model: ModelEntry, on_progress: ProgressCallback
) -> Ready:
    name = model_id(model)
    if server.router and not model.loaded:
        client.json(await client.post("/models/load", {"model": name}), "/models/load", name)
    query = f"?model={quote(name, safe='')}" if server.router else ""
    try:
        async with asyncio.timeout(client.timeouts.load):
            props = await _when_loaded(client, server, name, f"/props{query}", on_progress)
    except TimeoutError:
        raise too_slow(client.address, f"it has been loading {name}", client.timeouts.load) from None
    context = count(fields(props.field("default_generation_settings")).get("n_ctx"))
    if model.loaded is not True or model.size_bytes is None:
        # While it loads, the list of models has little about them.
        listed = await list_models(client, server)
        model = next((entry for entry in listed if entry.ref == model.ref), model)
    return model, context


async def _when_loaded(
    client: ServerClient, server: ServerInfo, name: str, path: str, on_progress: ProgressCallback
) -> HttpResponse:
    """The properties of a model from llama-server, once it is loaded."""
    while True:
        if server.router:
            status = await _router_status(client, name)
            if status.get("failed"):
                raise ServerError(
                    f"{client.address.label} could not load {name} (exit code {status.get('exit_code')}).",
                    "The server's own log says why.",
                )
            if (progress := number(status.get("progress"))) is not None:
                on_progress(min(progress, 1.0))
            if status.get("value") not in LOADED:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
        props = await client.get(path)
        if not is_loading(props.status, props.body):
            return props
        await asyncio.sleep(LOOK_EVERY_S)


async def _router_status(client: ServerClient, name: str) -> Mapping[str, Any]:
    listed = objects(client.json(await client.get("/models"), "/models").get("data"))
    known = {key: each for each in listed if (key := word(each.get("id")))}
    if name not in known:
        raise UnknownModelError(f"{client.address.label} has no model {name!r}.", did_you_mean(name, [*known]))
    return fields(known[name].get("status"))
