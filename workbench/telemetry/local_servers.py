"""Which model servers answer on this machine, on the ports that they usually take. Only the loopback is asked."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

HOST = "127.0.0.1"
PORTS = (11434, 8080, 9931, 8000, 1234, 3000)
"""Ollama, llama-server (by its older and its newer default), vLLM, LM Studio, TGI."""
PATIENCE_S = 0.3
"""For each step; a server on this machine answers in milliseconds."""
TOGETHER_S = 1.0
"""For all questions to one server."""
_LARGEST_ANSWER = 2**18


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that answers."""

    url: str
    kind: str
    """`Ollama`, `llama-server`, `vLLM`, `LM Studio`, `TGI`, `OpenAI-compatible`, or `unknown`: something answers."""
    version: str | None = None
    models: tuple[str, ...] | None = None
    """None where it did not say."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    server: str
    """What it calls itself in the header."""
    text: str
    body: object
    """What the text says, where it is JSON."""


def find_servers(ports: Sequence[int] = PORTS, patience_s: float = PATIENCE_S) -> list[LocalServer]:
    """Ask all ports at once; whoever has not answered in time is left out."""
    found: dict[int, LocalServer | None] = {}

    def ask(port: int) -> None:
        found[port] = ask_server(port, patience_s)

    # Daemons: a server that sends a byte now and then must not keep the program from ending.
    asking = [threading.Thread(target=ask, args=(port,), daemon=True) for port in ports]
    for thread in asking:
        thread.start()
    deadline = time.monotonic() + TOGETHER_S + patience_s
    for thread in asking:
        thread.join(max(0.0, deadline - time.monotonic()))
    answers = (found.get(port) for port in ports)
    return [server for server in answers if server is not None]


def ask_server(port: int, patience_s: float = PATIENCE_S) -> LocalServer | None:
    """What answers on a port; None where nothing does."""
    deadline = time.monotonic() + max(TOGETHER_S, patience_s)
    with suppress(OSError):
        socket.create_connection((HOST, port), patience_s).close()
        return identify(
            f"http://{HOST}:{port}", lambda path: _get(port, path, min(patience_s, deadline - time.monotonic()))
        )
    return None


def _get(port: int, path: str, patience_s: float) -> _Answer | None:
    if patience_s <= 0:
        return None
    connection = http.client.HTTPConnection(HOST, port, timeout=patience_s)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        text = response.read(_LARGEST_ANSWER).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    body: object = None
    with suppress(ValueError, RecursionError):
        body = json.loads(text)
    return _Answer(response.status, response.getheader("Server") or "", text, body)


def identify(url: str, get: Callable[[str], _Answer | None]) -> LocalServer:
    """What kind of server answers.

    The shape of an answer decides and not its status alone: some servers answer every path, and some speak a little of
    each other's languages.
    """
    front = get("/")
    if front is not None and "Ollama is running" in front.text:
        tags = _field(get("/api/tags"), "models")
        return LocalServer(url, "Ollama", _version(get("/api/version")), _names(tags, "name"))
    models = get("/v1/models")
    listed = _field(models, "data")
    if any(answer is not None and answer.server.lower().startswith("llama.cpp") for answer in (front, models)):
        build = _field(get("/props"), "build_info")
        return LocalServer(url, "llama-server", build if isinstance(build, str) else None, _names(listed, "id"))
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    if first.get("owned_by") == "vllm" or "max_model_len" in first:
        return LocalServer(url, "vLLM", _version(get("/version")), _names(listed, "id"))
    info = get("/info")
    router, model = _field(info, "router"), _field(info, "model_id")
    if router is not None and isinstance(model, str):
        return LocalServer(url, "TGI", _version(info), (model,))
    studio = _field(get("/api/v0/models"), "data")
    if isinstance(studio, list) and any(isinstance(each, dict) and "compatibility_type" in each for each in studio):
        return LocalServer(url, "LM Studio", None, _names(studio, "id"))
    if isinstance(listed, list) and _field(models, "object") == "list":
        return LocalServer(url, "OpenAI-compatible", None, _names(listed, "id"))
    return LocalServer(url, "unknown")


def _field(answer: _Answer | None, name: str) -> object:
    if answer is None or answer.status != 200 or not isinstance(answer.body, dict):
        return None
    found: object = answer.body.get(name)
    return found


def _version(answer: _Answer | None) -> str | None:
    version = _field(answer, "version")
    return version if isinstance(version, str) else None


def _names(entries: object, key: str) -> tuple[str, ...] | None:
    if not isinstance(entries, list):
        return None
    names = (entry.get(key) for entry in entries if isinstance(entry, dict))
    return tuple(name for name in names if isinstance(name, str))
