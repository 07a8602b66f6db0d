from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import ServerAddressError
from workbench.core.secret import MASK, Secret
from workbench.core.servers import is_loopback, is_server_ref, origin, server_url, split_ref


@pytest.mark.parametrize(("text", "url"), [
    ("http://localhost:8000", "http://localhost:8000"), ("HTTP://LocalHost:8000/", "http://localhost:8000"),
    ("localhost:8000", "http://localhost:8000"), ("gpu", "http://gpu"), (" http://gpu/v1/ ", "http://gpu"),
    ("https://api.example.com/v1", "https://api.example.com"), ("http://h/openai/v1", "http://h/openai"),
    ("http://0.0.0.0:11434", "http://127.0.0.1:11434"), ("http://[::]:1", "http://[::1]:1"),
    ("http://[2001:db8::1]:80/", "http://[2001:db8::1]:80"),
])  # fmt: skip
def test_addresses_have_one_form(text, url):
    assert server_url(text) == url
    assert server_url(url) == url


@pytest.mark.parametrize("text", [
    "", "http://", "ftp://host", "http://host:port", "http://ho st", "http://[", "http://u:p@host", "http://h?key=1",
    "http://host\x1b[0m", "file:///etc/passwd",
])  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(ServerAddressError) as raised:
        server_url(text)
    assert raised.value.hint


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_an_error(text):
    try:
        url = server_url(text)
    except ServerAddressError:
        return
    assert server_url(url) == url


def test_a_reference_names_a_server_and_a_model():
    assert split_ref("http://h:1/v1#a/b:c") == ("http://h:1", "a/b:c")
    assert split_ref("https://h") == ("https://h", "")
    assert is_server_ref("HTTPS://h")
    assert not is_server_ref("ollama:llama3")


@pytest.mark.parametrize(("url", "expected"), [
    ("http://localhost", True), ("http://127.0.0.1:1", True), ("http://127.9.9.9", True), ("http://[::1]:1", True),
    ("http://x.localhost", True), ("http://localhost.:1", True), ("http://[::ffff:127.0.0.1]", True),
    ("http://10.0.0.1", False), ("http://localhost.example.com", False), ("http://[::ffff:10.0.0.1]", False),
])  # fmt: skip
def test_what_is_on_this_machine(url, expected):
    assert is_loopback(url) is expected


def test_origins():
    assert origin("https://H/x") == ("https", "h", 443)
    assert origin("http://h:8/x") == ("http", "h", 8)


def test_a_secret_shows_itself_nowhere():
    secret = Secret("sk-123")
    assert secret.reveal() == "sk-123"
    assert "sk-123" not in f"{secret} {secret!r} {[secret]}"
    assert secret.masked_in("key sk-123!") == f"key {MASK}!"
    assert Secret("").masked_in("abc") == "abc"
    assert secret == Secret("sk-123") != Secret("x")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
