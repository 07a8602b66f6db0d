"""Connections to the registries of models, with the proxies and certificates by which servers are asked."""

from __future__ import annotations

import httpcore
import httpx

from workbench.core.errors import WorkbenchError
from workbench.core.servers import ServerAddress, origin
from workbench.engine.remote.http import open_client
from workbench.engine.remote.problems import error_of_transport
from workbench.engine.remote.proxies import proxy_of

# Each read passes through five layers, which takes as long as the copy of 64 KiB, httpcore's size.
httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = 2**18


class RegistryTransport:
    """Opens connections for `workbench.library.pull`. It is used in one event loop only."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str, int], httpx.AsyncClient] = {}
        """The connections by origin."""

    def client(self, url: str) -> httpx.AsyncClient:
        """The connections to the origin of a URL; raises a WorkbenchError for a proxy that cannot be used."""
        where = origin(url)
        if where not in self._made:
            self._made[where] = open_client(httpx.URL(url), httpx.Timeout(30.0))
        return self._made[where]

    def error(self, url: str, error: Exception) -> WorkbenchError:
        """The error for an exception of httpx."""
        scheme, host, port = origin(url)
        standard = {"http": 80, "https": 443}.get(scheme) == port
        address = ServerAddress(f"{scheme}://{host}{'' if standard else f':{port}'}")
        proxy = proxy_of(url)
        known = error if isinstance(error, httpx.HTTPError) else httpx.HTTPError(str(error))
        return error_of_transport(address, known, "" if proxy is None else proxy.variable)

    async def close(self) -> None:
        """Close all connections."""
        clients, self._made = self._made, {}
        for client in clients.values():
            await client.aclose()
