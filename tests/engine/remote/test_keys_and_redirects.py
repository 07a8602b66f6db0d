"""A key goes to its server alone, whatever that redirects to."""

from __future__ import annotations

import pytest

from tests.engine.remote.bad_servers import KEY, failure, open_at
from tests.engine.remote.helpers import events_of, opened
from workbench.core.errors import (
    ServerAnswerError,
    ServerError,
)
from workbench.core.events import Finished
from workbench.core.secret import Secret
from workbench.core.servers import ServerAddress


def with_key(url):
    return ServerAddress(url, Secret(KEY))


async def test_the_key_goes_to_its_server(raw_serve, host):
    async def chat(peer, _request):
        await peer.begin()
        await peer.event({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]})

    server = await raw_serve(chat)
    await events_of(await opened(host(with_key), server))
    assert all(asked.headers["authorization"] == f"Bearer {KEY}" for asked in server.asked)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("path", ["/v1/chat/completions", ""])
async def test_another_server_gets_neither_the_question_nor_the_key(raw_serve, host, status, path):
    other = await raw_serve()

    async def send_on(peer, _request):
        await peer.reply("", status, Location=f"{other.url}{path}")

    server = await raw_serve(send_on)
    (failed,) = await events_of(await opened(host(with_key), server))
    assert isinstance(failed.error, ServerAnswerError)
    assert f"redirects to another server, {other.url[7:]}" in failed.error.message
    assert other.url in failed.error.hint
    assert other.asked == []


@pytest.mark.parametrize("status", [303, 307])
async def test_a_list_of_models_may_be_elsewhere_without_the_key(raw_serve, host, status):
    other = await raw_serve()

    async def send_on(peer, request):
        await peer.reply("", status, Location=f"{other.url}{request.path}")

    server = await raw_serve(pages={"*": send_on})
    await opened(host(with_key), server)
    assert other.asked
    assert all("authorization" not in asked.headers and not asked.body for asked in other.asked)


@pytest.mark.parametrize(("location", "goes"), [
    ("//127.0.0.1:{port}/x", True), ("/x", True), ("x", True), ("http://127.0.0.1:{port}/x", True),
    ("https://127.0.0.1:{port}/x", False), ("http://localhost:{port}/x", False), ("http://127.0.0.2:{port}/x", False),
    ("http://127.0.0.1:1/x", False), ("http://127.0.0.1:{port}@127.0.0.2:{port}/x", False),
    ("http://127.0.0.1:99999/x", False),
])  # fmt: skip
async def test_which_redirects_a_question_follows(raw_serve, host, location, goes):
    async def chat(peer, request):
        if request.path.endswith("/x"):
            await peer.begin()
            await peer.event({"choices": [{"delta": {"content": "there"}, "finish_reason": "stop"}]})
        else:
            port = server.url.rpartition(":")[2]
            await peer.reply("", 307, Location=location.format(port=port))

    server = await raw_serve(chat)
    events = await events_of(await opened(host(with_key), server))
    assert isinstance(events[-1], Finished) is goes
    assert len([asked for asked in server.asked if asked.path.endswith("/x")]) == goes


@pytest.mark.parametrize(("location", "words"), [
    ("/v1/chat/completions", "too often"), ("file:///etc/passwd", "invalid address"),
    ("http://no-such-host.invalid/", "another server, no-such-host.invalid"),
])  # fmt: skip
async def test_redirects_to_nowhere(raw_serve, host, location, words):
    async def chat(peer, _request):
        await peer.reply("", 307, Location=location)

    assert words in str((await failure(raw_serve, host, chat))[1])


@pytest.mark.parametrize("body", [
    {"error": {"message": f"Incorrect API key provided: {KEY}"}}, f"<html>{KEY}", f"not json {KEY}",
])  # fmt: skip
async def test_a_key_is_in_no_error(raw_serve, host, body, caplog):
    caplog.set_level("DEBUG")

    async def page(peer, _request):
        await peer.reply(body, 200 if isinstance(body, str) else 401)

    server = await raw_serve(pages={"*": page})
    with pytest.raises(ServerError) as raised:
        await open_at(host(with_key), server.url)
    shown = f"{raised.value!r} {raised.value} {raised.value.__cause__!r} {caplog.text}"
    assert KEY not in shown
    assert KEY not in repr(with_key(server.url))
