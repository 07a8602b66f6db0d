"""The known servers and their keys, from the config and from the environment variables that other clients use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from workbench.core.config import ServerSetting
from workbench.core.errors import ServerAddressError, ServerRefusedError
from workbench.core.secret import Secret, is_key
from workbench.core.servers import ServerAddress, is_loopback, origin, server_url

PORTS = (11434, 8080, 9931, 8000, 1234, 3000)
"""The default ports of Ollama, llama-server (its older and its newer default), vLLM, LM Studio and TGI."""
OLLAMA_PORT = 11434
OPENAI = "https://api.openai.com"


class AddressBook:
    """The servers of the config (`settings`), and those that environment variables name.

    `find` says whether to look for servers on the default ports of this machine.
    """

    def __init__(self, settings: Sequence[ServerSetting], environment: Mapping[str, str], *, find: bool) -> None:
        self.settings = tuple(settings)
        self._environment = environment
        self._find = find

    def having(self, setting: ServerSetting) -> AddressBook:
        """A copy with one more server."""
        return AddressBook((*self.settings, setting), self._environment, find=self._find)

    def named(self) -> list[str]:
        """The URLs that the config and the environment name, each once."""
        found = [setting.url for setting in self.settings]
        found += [self._url_in("OLLAMA_HOST", ollama_url), self._url_in("OPENAI_BASE_URL", server_url)]
        return list(dict.fromkeys(filter(None, found)))

    @property
    def ollama(self) -> str:
        """The URL of Ollama: `OLLAMA_HOST`, else its default port on this machine."""
        return self._url_in("OLLAMA_HOST", ollama_url) or f"http://127.0.0.1:{OLLAMA_PORT}"

    def usual(self) -> list[str]:
        """The URLs of the default ports on this machine, without the named ones."""
        if not self._find:
            return []
        taken = {origin(url)[2] for url in self.named() if is_loopback(url)}
        return [f"http://127.0.0.1:{port}" for port in PORTS if port not in taken]

    def address(self, url: str) -> ServerAddress:
        """A server with its key: that of its own setting, else of one at the same host and port.

        Raises:
            ServerRefusedError: The variable holds no valid key.
        """
        same = [setting for setting in self.settings if setting.url == url]
        same += [setting for setting in self.settings if origin(setting.url) == origin(url)]
        for setting in same:
            if setting.key is not None:
                return ServerAddress(url, setting.key)
            if setting.key_env and self._environment.get(setting.key_env):
                return ServerAddress(url, self._secret(setting.key_env))
        openai = self._url_in("OPENAI_BASE_URL", server_url) or OPENAI
        if self._environment.get("OPENAI_API_KEY") and origin(url) == origin(openai):
            return ServerAddress(url, self._secret("OPENAI_API_KEY"))
        return ServerAddress(url)

    def _url_in(self, variable: str, as_url: Callable[[str], str]) -> str:
        """The URL in an environment variable; empty where there is none."""
        with suppress(ServerAddressError):
            if value := self._environment.get(variable, "").strip():
                return as_url(value)
        return ""

    def _secret(self, name: str) -> Secret:
        value = self._environment[name].strip()
        if not is_key(value):
            message = f"The value of the variable {name} is no key: it contains a blank or a line break."
            raise ServerRefusedError(message, "Set it again.")
        return Secret(value)


def ollama_url(host: str) -> str:
    """The URL of a value of `OLLAMA_HOST`. The default port is Ollama's own, or that of the scheme if one is given.

    Raises:
        ServerAddressError: It is no address.
    """
    if "://" in host:
        return server_url(host)
    url = server_url(f"http://{f'127.0.0.1{host}' if host.startswith(':') else host}")
    _, _, port = origin(url)
    has_port = url.endswith(f":{port}")
    return url if has_port else f"{url}:{OLLAMA_PORT}"
