"""What is known of a server: its address, and what answers there."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import SplitResult, urlsplit

from workbench.core.errors import ServerAddressError
from workbench.core.models import ModelEntry
from workbench.core.secret import Secret

ServerKind = Literal["Ollama", "llama-server", "vLLM", "LM Studio", "TGI", "OpenAI-compatible", "unknown"]
"""`unknown`: something answers, and nobody knows what."""

SCHEMES = ("http://", "https://")
BIND_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "[::1]"}
"""Addresses that a server listens at and nobody can connect to, and the one that reaches it from here."""
_EXAMPLE = "Write it as http://HOST:PORT."


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server is, and the key for it."""

    url: str
    """As `server_url` writes it."""
    key: Secret | None = None

    @property
    def label(self) -> str:
        """The host and the port, as they are shown."""
        return self.url.partition("://")[2]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server that answers."""

    url: str
    kind: ServerKind
    version: str | None = None
    models: tuple[str, ...] | None = None
    """None where it did not say."""
    router: bool = False
    """Whether it loads and unloads its models itself when they are asked for."""


def is_server_ref(ref: str) -> bool:
    """Whether a model reference names a server."""
    return ref.casefold().startswith(SCHEMES)


def split_ref(ref: str) -> tuple[str, str]:
    """The address and the model, empty where none is named, of a reference `http://host:port#MODEL`.

    Raises:
        ServerAddressError: There is no such address.
    """
    address, _, model = ref.partition("#")
    return server_url(address), model


def server_url(text: str) -> str:
    """An address in the one form in which addresses are compared: no `/v1` and no slash at its end.

    Args:
        text: What a user wrote; `http://` may be missing.

    Raises:
        ServerAddressError: It is no address of a server, or it has a password or a key in it.
    """
    written = text.strip()
    if "://" not in written:
        written = f"http://{written}"
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError:
        raise ServerAddressError(f"{text!r} is no address of a server.", _EXAMPLE) from None
    _check(text, parts)
    host = (parts.hostname or "").casefold()
    host = BIND_ADDRESSES.get(host, host)
    if ":" in host:
        host = f"[{host}]"
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme.casefold()}://{host}{'' if port is None else f':{port}'}{path}"


def _check(text: str, parts: SplitResult) -> None:
    """Refuse what is no plain address.

    Raises:
        ServerAddressError: It is none. What may be secret is not repeated.
    """
    if parts.username is not None or parts.password is not None or parts.query:
        raise ServerAddressError(
            "The address of a server may hold no password, key or question mark: it is shown and stored.",
            "Put the key into an environment variable, and name that as `key_env` of the server in the config.",
        )
    if parts.scheme.casefold() not in {"http", "https"}:
        raise ServerAddressError(f"{text!r} is no address of a server: it is neither http nor https.", _EXAMPLE)
    host = parts.hostname or ""
    if not host or any(sign.isspace() or not sign.isprintable() for sign in f"{host}{parts.path}"):
        raise ServerAddressError(f"{text!r} is no address of a server.", _EXAMPLE)


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    scheme = parts.scheme.casefold()
    return scheme, (parts.hostname or "").casefold(), parts.port or (443 if scheme == "https" else 80)


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine for sure."""
    host = origin(url)[1]
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Servers(Protocol):
    """The servers whose models are offered."""

    async def add(self, address: str) -> Sequence[ModelEntry]:
        """Ask a server for its models, and offer them from now on.

        Raises:
            WorkbenchError: It does not answer, or it cannot be kept.
        """

    async def unload(self, ref: str) -> None:
        """Have a server give the memory of a model back.

        Raises:
            WorkbenchError: It cannot.
        """
