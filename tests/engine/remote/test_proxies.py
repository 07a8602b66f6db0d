from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.remote.helpers import QUICK
from workbench.core.errors import ServerError, ServerUnreachableError
from workbench.core.servers import ServerAddress
from workbench.engine.remote.http import ServerClient
from workbench.engine.remote.proxies import _is_excepted, proxy_of

BAD = [
    "socks://127.0.0.1:7897", "socks4://h:1", "ftp://h:1", "http://", "http://h:port", "http://[::1", "://x",
    "socks5://user:secret@", "http://us\x01er:secret@h:1", "socks5://user:secret@h:1",
]  # fmt: skip
NO_PROXY = ["::1,fd00::/8,localhost", "[::1]:80", "10.0.0.0/8, ::ffff:0:0/96", "http://[", "a:b:c", "%%%", ",,,"]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Sets variables; none of this machine's own count."""
    for name in os.environ:
        if name.casefold().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("workbench.engine.remote.proxies.find_spec", lambda _: None)
    return monkeypatch.setenv


async def ask(url, path="/v1/models"):
    client = ServerClient(ServerAddress(url), QUICK)
    try:
        return client.json(await client.get(path), path)
    finally:
        await client.close()


@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY"])
@pytest.mark.parametrize("text", BAD)
async def test_this_machine_needs_no_proxy_and_elsewhere_an_unusable_one_is_a_sentence(
    raw_serve, environment, variable, text
):
    environment(variable, text)
    server = await raw_serve()
    assert (await ask(server.url))["data"]
    scheme = "https" if variable == "HTTPS_PROXY" else "http"
    with pytest.raises(ServerUnreachableError) as raised:
        await ask(f"{scheme}://gpu.invalid:8000")
    said = str(raised.value)
    assert f"the proxy in {variable} cannot be used" in said
    assert "gpu.invalid" in said
    assert "secret" not in said


@pytest.mark.parametrize("no_proxy", ["", "127.0.0.1", *NO_PROXY])
async def test_the_loopback_is_never_asked_through_a_proxy_and_an_error_names_it(raw_serve, environment, no_proxy):
    async def refuse(peer, _request):
        await peer.reply("no", 503)

    proxy, server = await raw_serve(pages={"*": refuse}), await raw_serve()
    environment("HTTP_PROXY", proxy.url)
    environment("NO_PROXY", no_proxy)
    port = server.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "127.0.0.1"):
        assert (await ask(f"http://{host}:{port}"))["data"]
    assert proxy.asked == []
    with pytest.raises(ServerError, match="HTTP_PROXY"):
        await ask("http://gpu.invalid:8000")
    assert [asked.path for asked in proxy.asked] == ["http://gpu.invalid:8000/v1/models"]


@pytest.mark.parametrize("text", ["http://127.0.0.1:1", "127.0.0.1:1", "http://proxy.invalid:1"])
async def test_a_proxy_that_does_not_answer_is_named(environment, text):
    environment("HTTP_PROXY", text)
    with pytest.raises(ServerError, match="HTTP_PROXY"):
        await ask("http://gpu.invalid:8000")


@pytest.mark.parametrize(("url", "no_proxy", "excepted"), [
    ("http://gpu", "*", True), ("http://gpu", "a, *", True), ("http://gpu.lan", "lan", True),
    ("http://gpu.lan", ".lan", True), ("http://gpu.lan", "*.lan", True), ("http://gpulan", "lan", False),
    ("http://gpu.lan", "GPU.lan", True), ("http://gpu.lan:8000", "gpu.lan:8000", True),
    ("http://gpu.lan:8000", "gpu.lan:80", False), ("http://gpu", "http://gpu", True),
    ("http://10.1.2.3", "10.0.0.0/8", True), ("http://10.1.2.3", "10.1.2.3", True),
    ("http://11.1.2.3", "10.0.0.0/8", False),
    ("http://[fd00::7]:1", "fd00::/8", True), ("http://[fd00::7]:1", "[fd00::7]:1", True),
    ("http://[fe80::1]", "fd00::/8,10.0.0.0/8", False), ("http://gpu", "a b,gpu", True), ("http://gpu", "", False),
])  # fmt: skip
def test_what_no_proxy_names(environment, url, no_proxy, excepted):
    environment("HTTP_PROXY", "http://proxy:1")
    environment("NO_PROXY", no_proxy)
    assert (proxy_of(url) is None) is excepted


@given(st.text(alphabet="a.:/[]*,1 %\u0661", max_size=20), st.sampled_from(["gpu", "a.a", "10.0.0.1", "fd00::1"]))
def test_no_text_in_no_proxy_is_an_error(no_proxy, host):
    _is_excepted(host, 80, no_proxy)


def test_a_password_of_a_proxy_is_not_shown(environment):
    environment("ALL_PROXY", "http://me:secret@proxy:1")
    assert "secret" not in repr(proxy_of("http://gpu"))
