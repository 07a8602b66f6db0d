"""Servers: their addresses, what answers there, and the port that manages them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urlsplit

from workbench.core.errors import ServerAddressError
from workbench.core.models import ModelEntry
from workbench.core.secret import Secret

ServerKind = Literal["Ollama", "llama-server", "vLLM", "LM Studio", "TGI", "OpenAI-compatible", "unknown"]
"""`unknown`: something answers that is not recognized."""

SCHEMES = ("http://", "https://")
BIND_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "[::1]"}
"""Addresses on which a server listens but which no client can connect to, and those that reach it from here."""
_EXAMPLE = "Write it as http://HOST:PORT."


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """The address of a server, and its API key."""

    url: str
    """In the form of `server_url`."""
    key: Secret | None = None

    @property
    def label(self) -> str:
        """The host and the port, for display."""
        return self.url.partition("://")[2]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server that answers."""

    url: str
    kind: ServerKind
    version: str | None = None
    models: tuple[str, ...] | None = None
    """None where it reported none."""
    router: bool = False
    """Whether it loads and unloads models itself on demand."""


def is_server_ref(ref: str) -> bool:
    """Whether a model reference names a server."""
    return ref.casefold().startswith(SCHEMES)


def split_ref(ref: str) -> tuple[str, str]:
    """The address and the model of a reference `http://host:port#MODEL`; the model may be empty.

    Raises:
        ServerAddressError: The address is not valid.
    """
    address, _, model = ref.partition("#")
    return server_url(address), model


def server_url(text: str) -> str:
    """An address in normal form, for comparisons: with `http://`, and no `/v1` and no slash at its end.

    Raises:
        ServerAddressError: It is not the address of a server, or contains a password or a key.
    """
    written = text.strip()
    if "://" not in written:
        written = f"http://{written}"
    wrong = ServerAddressError(f"{text!r} is not the address of a server.", _EXAMPLE)
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.username is not None or parts.password is not None or parts.query:
        # The message does not repeat what may be secret.
        raise ServerAddressError(
            "The address of a server may not contain a password, a key or a question mark: it is shown and stored.",
            "Put the key into an environment variable, and name it as `key_env` of the server in the config.",
        )
    scheme = parts.scheme.casefold()
    if scheme not in {"http", "https"}:
        raise ServerAddressError(f"{text!r} is not the address of a server: it is neither http nor https.", _EXAMPLE)
    host = (parts.hostname or "").casefold()
    if not host or any(sign.isspace() or not sign.isprintable() for sign in f"{host}{parts.path}"):
        raise wrong
    host = BIND_ADDRESSES.get(host, host)
    if ":" in host:
        host = f"[{host}]"
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{scheme}://{host}{'' if port is None else f':{port}'}{path}"


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    scheme = parts.scheme.casefold()
    return scheme, (parts.hostname or "").casefold(), parts.port or (443 if scheme == "https" else 80)


def is_loopback(url: str) -> bool:
    """Whether an address is certainly on this machine."""
    host = origin(url)[1].rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
        mapped = getattr(address, "ipv4_mapped", None)
        return bool((mapped or address).is_loopback)
    except ValueError:
        return False


class Servers(Protocol):
    """The servers whose models are listed."""

    async def add(self, address: str) -> Sequence[ModelEntry]:
        """Add a server to the configuration; returns its models.

        Raises:
            WorkbenchError: It does not answer, or the configuration cannot be saved.
        """

    async def unload(self, ref: str) -> None:
        """Make a server release the memory of a model.

        Raises:
            WorkbenchError: It cannot.
        """
