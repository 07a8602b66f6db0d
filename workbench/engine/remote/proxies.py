"""The proxy of the environment for an address.

httpx reads the same variables, and raises for those that it does not understand, for every address. Read here, a
variable matters only where it applies, and an error can name it.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.request import getproxies

import httpx

from workbench.core.errors import ServerUnreachableError
from workbench.core.servers import is_loopback, origin


@dataclass(frozen=True, slots=True)
class EnvironmentProxy:
    """A proxy and the variable that names it."""

    text: str = field(repr=False)
    """As the variable has it; it may hold a password."""
    variable: str

    def proxy(self, host: str) -> httpx.Proxy:
        """The proxy on the way to `host`, for httpx.

        Raises:
            ServerUnreachableError: It cannot be used.
        """
        scheme, separator, _ = self.text.partition("://")
        problem = "it is not the address of a proxy"
        try:
            proxy = httpx.Proxy(self.text if separator else f"http://{self.text}")
        except (ValueError, TypeError, httpx.InvalidURL):
            if separator and scheme.casefold() not in {"http", "https"}:
                problem = f"{scheme!r} is not a kind of proxy that is supported"
        else:
            if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
                problem = f"{proxy.url.scheme!r} needs the Python package socksio, which is not installed"
            elif proxy.url.host:
                return proxy
        raise ServerUnreachableError(
            f"{host} cannot be asked: the proxy in {self.variable} cannot be used: {problem}.",
            f"Write http://HOST:PORT into {self.variable}, or unset it, or add the host to NO_PROXY.",
        )


def proxy_of(url: str) -> EnvironmentProxy | None:
    """The proxy for an address; None where it is asked directly, as this machine always is."""
    if is_loopback(url):
        return None
    scheme, host, port = origin(url)
    known = getproxies()
    text = known.get(scheme) or known.get("all")
    if not text or _is_excepted(host, port, known.get("no", "")):
        return None
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    found = (name for name in names if os.environ.get(name) == text)
    return EnvironmentProxy(text, next(found, "the settings of this system"))


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY names a host: `*`, domains, addresses and networks of both families, each with a port or not."""
    return any(_names(entry, host, port) for entry in re.split(r"[\s,]+", no_proxy.casefold()) if entry)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    entry = entry.rpartition("://")[2].rstrip("/")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal() and (":" not in name or name.endswith("]")):
        return number.lstrip("0") == str(port) and _names(name, host, port)
    entry = entry.lstrip("*").strip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))
