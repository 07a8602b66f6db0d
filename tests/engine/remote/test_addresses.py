from __future__ import annotations

import pytest

from workbench.core.config import ServerSetting
from workbench.core.errors import ServerRefusedError
from workbench.core.secret import Secret
from workbench.engine.remote import addresses
from workbench.engine.remote.addresses import AddressBook, ollama_url


@pytest.mark.parametrize(("host", "url"), [
    ("0.0.0.0", "http://127.0.0.1:11434"), ("gpu", "http://gpu:11434"), ("gpu:80", "http://gpu:80"),
    (":8000", "http://127.0.0.1:8000"), ("http://gpu", "http://gpu"), ("https://gpu/", "https://gpu"),
    ("http://0.0.0.0:11434", "http://127.0.0.1:11434"), ("[::]:5", "http://[::1]:5"),
])  # fmt: skip
def test_what_ollama_host_means(host, url):
    assert ollama_url(host) == url


def book(*settings, find=False, **environment):
    made = [setting if isinstance(setting, ServerSetting) else ServerSetting(setting) for setting in settings]
    return AddressBook(made, environment, find=find)


def test_who_is_named_and_once():
    found = book("http://a", "http://b:1", OLLAMA_HOST="gpu", OPENAI_BASE_URL="http://b:1/v1", OPENAI_API_KEY="k")
    assert found.named() == ["http://a", "http://b:1", "http://gpu:11434"]
    assert book(OLLAMA_HOST="http://[", OPENAI_BASE_URL="ftp://x").named() == []
    assert book(OPENAI_API_KEY="k").named() == []


def test_the_usual_ports(monkeypatch):
    monkeypatch.setattr(addresses, "PORTS", (11434, 8000))
    assert book(find=True).usual() == ["http://127.0.0.1:11434", "http://127.0.0.1:8000"]
    assert book("http://localhost:8000", find=True).usual() == ["http://127.0.0.1:11434"]
    assert book("http://gpu:8000", find=True).usual() == ["http://127.0.0.1:11434", "http://127.0.0.1:8000"]
    assert book().usual() == []


@pytest.mark.parametrize(("url", "key"), [
    ("http://own", "own"), ("http://own/sub", "own"), ("http://own:81", None), ("http://env:1", "from env"),
    ("http://unset", None), ("http://base:2", "openai"), ("https://api.openai.com", None), ("http://other", None),
])  # fmt: skip
def test_a_key_is_for_one_host(url, key):
    found = book(
        ServerSetting("http://own", key=Secret("own")), ServerSetting("http://env:1", "THE_KEY"),
        ServerSetting("http://unset", "NOT_SET"), "http://other",
        THE_KEY=" from env\n".replace(" from env", "from_env"), OPENAI_BASE_URL="http://base:2/v1",
        OPENAI_API_KEY="openai",
    )  # fmt: skip
    expected = None if key is None else Secret(key.replace(" ", "_"))
    assert found.address(url).key == expected
    assert found.address(url).url == url


def test_the_key_of_openai_is_for_openai_where_no_other_address_is_set():
    assert book(OPENAI_API_KEY="k").address("https://api.openai.com").key == Secret("k")
    assert book(OPENAI_API_KEY="k").address("http://api.openai.com").key is None


def test_what_is_no_key():
    with pytest.raises(ServerRefusedError, match="THE_KEY") as raised:
        book(ServerSetting("http://a", "THE_KEY"), THE_KEY="se cret").address("http://a")
    assert "se cret" not in str(raised.value)
