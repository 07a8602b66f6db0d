"""The servers in the config file, and their keys."""

from __future__ import annotations

from workbench.core.config import ServerSetting
from workbench.core.errors import ServerAddressError, did_you_mean
from workbench.core.secret import Secret, is_key
from workbench.core.servers import server_url

SERVER_TAKES = 'addresses such as "http://gpu:8000", or of {url = "https://host", key_env = "NAME_OF_THE_VARIABLE"}'
_FIELDS = ("url", "key_env", "key")


class BadValueError(ValueError):
    """A value that a key does not accept; the text says which values it does."""


def server_settings(name: str, value: object) -> tuple[ServerSetting, ...]:
    """The servers in a value of the config file. No message repeats the value: it may contain an API key.

    Raises:
        BadValueError: It is not a list of servers.
    """
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(_setting(f"{name}, number {number}", item) for number, item in enumerate(items, 1))


def _setting(place: str, item: object) -> ServerSetting:
    if isinstance(item, ServerSetting):
        return item
    if isinstance(item, str):
        return ServerSetting(_url(place, item))
    if not isinstance(item, dict) or not all(isinstance(each, str) for each in item.values()) or "url" not in item:
        raise BadValueError(f"{place}: this is not a server. It takes {SERVER_TAKES}.")
    for field in item:
        if field not in _FIELDS:
            raise BadValueError(f"{place}: there is no {field!r}. {did_you_mean(field, _FIELDS)}".rstrip())
    key = item.get("key", "")
    if key and not is_key(key):
        raise BadValueError(f"{place}: the key contains a blank, a line break or a character that no key has.")
    return ServerSetting(_url(place, item["url"]), item.get("key_env", ""), Secret(key) if key else None)


def _url(place: str, text: str) -> str:
    try:
        return server_url(text)
    except ServerAddressError as error:
        raise BadValueError(f"{place}: {error}") from None


def server_value(setting: ServerSetting) -> object:
    """A server as a value of the config file."""
    if not setting.key_env and setting.key is None:
        return setting.url
    value = {"url": setting.url}
    if setting.key_env:
        value["key_env"] = setting.key_env
    if setting.key is not None:
        value["key"] = setting.key.reveal()
    return value
