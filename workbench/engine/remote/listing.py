"""The lists of models of servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.core.models import ModelEntry
from workbench.core.servers import ServerInfo
from workbench.engine.remote.answer_parser import count, number
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.ollama import same_name
from workbench.engine.remote.response import fields, objects, word
from workbench.gguf.names import SUFFIX, parameter_count, parse_name

LOADED = ("loaded", "sleeping")
"""Values of the status of a model in llama-server's router that can answer. A tuple: a server may send any type."""
_NO_TEXT = ("embedding", "embeddings")
LM_STUDIO_PATHS = ("/api/v1/models", "/api/v0/models")


def source_of(server: ServerInfo) -> str:
    """The source that the models of a server are listed under."""
    return f"{server.kind} {server.url.partition('://')[2]}"


def group_of(server: ServerInfo, name: str) -> str:
    """The group of a model: the same for all of its quantizations on one server, as far as their names show."""
    return f"{server.url} {parse_name(name).base.casefold()}"


def reference(server: ServerInfo, name: str) -> str:
    """The reference by which a server's model is opened."""
    return f"{server.url}#{name}"


async def list_models(client: ServerClient, server: ServerInfo) -> tuple[ModelEntry, ...]:
    """The models that can generate, by name, without those for embeddings.

    Raises:
        WorkbenchError: The server does not list them.
    """
    match server.kind:
        case "Ollama":
            found = await _of_ollama(client, server)
        case "LM Studio":
            found = await _of_lm_studio(client, server)
        case "TGI":
            found = await _of_tgi(client, server)
        case _:
            found = await _of_openai(client, server)
    return tuple(sorted(found, key=lambda entry: (entry.name.casefold(), entry.ref)))


async def _listed(client: ServerClient, path: str, field: str) -> list[dict[str, Any]]:
    return objects(client.json(await client.get(path), path).get(field))


async def _of_ollama(client: ServerClient, server: ServerInfo) -> list[ModelEntry]:
    listed = await _listed(client, "/api/tags", "models")
    running = [each.get("name") for each in await _listed(client, "/api/ps", "models")]
    found = []
    for each in listed:
        name = word(each.get("name")) or word(each.get("model"))
        able = each.get("capabilities")
        if name is None or (isinstance(able, list) and able and "completion" not in able):
            continue
        details = fields(each.get("details"))
        found.append(
            ModelEntry(
                reference(server, name),
                name,
                quant=word(details.get("quantization_level")),
                size_bytes=count(each.get("size")),
                parameters=parameter_count(details.get("parameter_size")),
                architecture=word(details.get("family")),
                context_length=count(details.get("context_length")),
                group=group_of(server, name),
                source=source_of(server),
                digest=word(each.get("digest")),
                loaded=any(same_name(one, name) for one in running),
            )
        )
    return found


async def _of_lm_studio(client: ServerClient, server: ServerInfo) -> list[ModelEntry]:
    answer = await client.get(LM_STUDIO_PATHS[0])
    if isinstance(answer.field("models"), list):
        return [
            _lm_studio_entry(server, each)
            for each in answer.objects("models")
            if word(each.get("key")) and each.get("type") not in _NO_TEXT
        ]
    return [
        ModelEntry(
            reference(server, each["id"]),
            each["id"],
            quant=word(each.get("quantization")),
            architecture=word(each.get("arch")),
            context_length=count(each.get("max_context_length")),
            source=source_of(server),
            loaded=each.get("state") == "loaded",
        )
        for each in await _listed(client, LM_STUDIO_PATHS[1], "data")
        if word(each.get("id")) and each.get("type") not in _NO_TEXT
    ]


def _lm_studio_entry(server: ServerInfo, each: Mapping[str, Any]) -> ModelEntry:
    quantization = fields(each.get("quantization"))
    return ModelEntry(
        reference(server, each["key"]),
        each["key"],
        quant=word(quantization.get("name")),
        size_bytes=count(each.get("size_bytes")),
        parameters=parameter_count(each.get("params_string")),
        architecture=word(each.get("architecture")),
        bits_per_weight=number(quantization.get("bits_per_weight")),
        context_length=count(each.get("max_context_length")),
        source=source_of(server),
        loaded=bool(each.get("loaded_instances")),
    )


async def _of_tgi(client: ServerClient, server: ServerInfo) -> list[ModelEntry]:
    info = client.json(await client.get("/info"), "/info")
    name = word(info.get("model_id")) or "tgi"
    context = count(info.get("max_total_tokens"))
    return [ModelEntry(reference(server, name), name, context_length=context, source=source_of(server), loaded=True)]


async def _of_openai(client: ServerClient, server: ServerInfo) -> list[ModelEntry]:
    path = "/models" if server.router else "/v1/models"
    return [_openai_entry(server, each) for each in await _listed(client, path, "data") if word(each.get("id"))]


def _openai_entry(server: ServerInfo, each: Mapping[str, Any]) -> ModelEntry:
    # llama-server names a model by the path of its file, unless it was given another name.
    shown = each["id"].replace("\\", "/").rpartition("/")[2] if each["id"].casefold().endswith(SUFFIX) else each["id"]
    name = parse_name(shown)
    meta, status = fields(each.get("meta")), each.get("status")
    loaded: bool | None = None
    if isinstance(status, dict):
        loaded = status.get("value") in LOADED
    elif server.kind in {"llama-server", "vLLM"}:
        loaded = True
    size, parameters = count(meta.get("size")), count(meta.get("n_params"))
    return ModelEntry(
        reference(server, each["id"]),
        name.base if name.quant else each["id"] if shown is each["id"] else name.base,
        quant=name.quant,
        size_bytes=size,
        parameters=parameters,
        bits_per_weight=size * 8 / parameters if size and parameters else None,
        context_length=count(meta.get("n_ctx_train")) or count(each.get("max_model_len")),
        group=group_of(server, shown),
        source=source_of(server),
        loaded=loaded,
    )
