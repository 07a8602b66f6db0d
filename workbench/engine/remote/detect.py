"""Detection of the server at an address.

The shape of an answer decides and not its status alone: some servers answer every path, and some implement parts of
each other's APIs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from workbench.core.errors import ServerAnswerError, WorkbenchError
from workbench.core.servers import ServerInfo
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.problems import not_json
from workbench.engine.remote.response import HttpResponse, objects, word

PATHS = (
    *("/", "/api/version", "/api/tags", "/info", "/api/v1/models", "/api/v0/models", "/v1/models", "/version"),
    *("/props", "/models"),
)
"""The paths that are requested, all at once."""


async def detect(client: ServerClient) -> ServerInfo:
    """The server at an address, with its models.

    Raises:
        WorkbenchError: Nobody answers within `Timeouts.probe`.
    """
    return identify(client.address.url, await probe(client))


async def probe(client: ServerClient) -> dict[str, HttpResponse]:
    """The responses for `PATHS`, by path, without those that took longer than `Timeouts.probe`.

    Raises:
        WorkbenchError: Nobody answers.
    """
    answers: dict[str, HttpResponse] = {}
    errors: list[WorkbenchError] = []

    async def ask(path: str) -> None:
        try:
            answers[path] = await client.get(path, client.timeouts.probe)
        except WorkbenchError as error:
            errors.append(error)

    await asyncio.gather(*map(ask, PATHS))
    if not answers:
        raise errors[0]
    return answers


def why_unknown(client: ServerClient, answers: Mapping[str, HttpResponse]) -> WorkbenchError:
    """The error for responses of an unknown server."""
    path = "/v1/models"
    answer = answers.get(path)
    where = client.address.label
    if answer is None:
        return ServerAnswerError(f"{where}: something answers there, but not about models.", "Check the address.")
    if answer.status >= 400:
        return client.error(answer, path)
    if answer.body is None:
        return not_json(client.address, path, answer.text)
    return ServerAnswerError(f"{where} is no known kind of model server.", "Check the address.")


def identify(url: str, answers: Mapping[str, HttpResponse]) -> ServerInfo:
    """The server that gave these responses, by path."""

    def field(path: str, name: str) -> object:
        return answers[path].field(name) if path in answers else None

    front = answers.get("/")
    listed = field("/v1/models", "data")
    if any(answer.headers.get("Server", "").casefold().startswith("llama.cpp") for answer in answers.values()):
        many = _has(field("/models", "data"), "status")
        names = _names(field("/models", "data") if many else listed, "id")
        return ServerInfo(url, "llama-server", word(field("/props", "build_info")), names, router=many)
    version = word(field("/api/version", "version"))
    if (front is not None and "Ollama is running" in front.text) or (
        version and isinstance(field("/api/tags", "models"), list)
    ):
        return ServerInfo(url, "Ollama", version, _names(field("/api/tags", "models"), "name"))
    model = word(field("/info", "model_id"))
    if field("/info", "router") is not None and model is not None:
        return ServerInfo(url, "TGI", word(field("/info", "version")), (model,))
    studio = field("/api/v1/models", "models")
    if _has(studio, "key") and _has(studio, "loaded_instances"):
        return ServerInfo(url, "LM Studio", None, _names(studio, "key"), router=True)
    studio = field("/api/v0/models", "data")
    if _has(studio, "compatibility_type"):
        return ServerInfo(url, "LM Studio", None, _names(studio, "id"))
    if any(entry.get("owned_by") == "vllm" for entry in objects(listed)[:1]) or _has(listed, "max_model_len"):
        return ServerInfo(url, "vLLM", word(field("/version", "version")), _names(listed, "id"))
    if _has(listed, "id") or (isinstance(listed, list) and field("/v1/models", "object") == "list"):
        return ServerInfo(url, "OpenAI-compatible", None, _names(listed, "id"))
    return ServerInfo(url, "unknown")


def _has(entries: object, name: str) -> bool:
    """Whether one of a list's items has this field."""
    return any(name in entry for entry in objects(entries))


def _names(entries: object, key: str) -> tuple[str, ...] | None:
    if not isinstance(entries, list):
        return None
    names = (entry.get(key) for entry in objects(entries))
    return tuple(name for name in names if isinstance(name, str))
