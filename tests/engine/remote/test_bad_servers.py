"""Servers that cannot be opened, or refuse a question: each is a typed error that says what to do."""

from __future__ import annotations

import asyncio
import ssl
import time

import pytest

from tests.engine.remote.bad_servers import KEY, QUICK_TO_NOBODY, failure, free_port, open_at
from tests.engine.remote.helpers import QUICK, VLLM_MODELS, Silence, opened
from workbench.core.cancel import CancelToken
from workbench.core.errors import (
    CancelledError,
    ContextFullError,
    ServerAddressError,
    ServerAnswerError,
    ServerBusyError,
    ServerError,
    ServerRefusedError,
    ServerTimeoutError,
    ServerUnreachableError,
    UnknownModelError,
)


@pytest.mark.parametrize(("ref", "error", "words"), [
    ("http://127.0.0.1:{port}#m", ServerUnreachableError, "Nothing answers at 127.0.0.1"),
    ("http://no-such-host.invalid:80#m", ServerUnreachableError, "'no-such-host.invalid'"),
    ("http://[#m", ServerAddressError, "not the address"), ("http://#m", ServerAddressError, "not the address"),
    ("http://host:99999#m", ServerAddressError, "not the address"),
    ("http://user:secret@host#m", ServerAddressError, "password"),
])  # fmt: skip
async def test_addresses_where_nobody_is(host, ref, error, words):
    with pytest.raises(error, match=words) as raised:
        await open_at(host(), ref.format(port=free_port()))
    assert raised.value.hint
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(("status", "headers", "body", "error", "words"), [
    (401, {}, {"error": {"message": "no key"}}, ServerRefusedError, "requires a key: no key"),
    (403, {}, {}, ServerRefusedError, "requires a key"),
    (404, {}, {"error": "nope"}, ServerAnswerError, "has nothing at /v1/models"),
    (429, {"Retry_After": "7"}, {"detail": "slow down"}, ServerBusyError, "wait 7 seconds"),
    (500, {}, {"error": {"message": "out of memory"}}, ServerError, "failed: out of memory"),
    (503, {}, {"error": {"message": "Loading model"}}, ServerBusyError, "still loads"),
    (200, {}, "<!doctype html><p>Sign in</p>", ServerAnswerError, "is a web page"),
    (200, {}, "hello", ServerAnswerError, "not JSON: 'hello'"),
    (200, {}, {"models": 3}, ServerAnswerError, "no known kind of model server"),
    (200, {}, [1, 2], ServerAnswerError, "no known kind of model server"),
    (200, {}, {"object": "list", "data": []}, UnknownModelError, "no models"),
])  # fmt: skip
async def test_servers_that_cannot_be_opened(raw_serve, host, status, headers, body, error, words):
    async def page(peer, _request):
        await peer.reply(body, status, **headers)

    server = await raw_serve(pages={"*": page})
    with pytest.raises(error) as raised:
        await open_at(host(), server.url)
    assert words in str(raised.value)
    assert server.url.partition("//")[2] in str(raised.value)


async def test_a_server_that_never_says_a_byte_while_it_is_opened(raw_serve, host):
    server = await raw_serve(pages={"*": Silence()})
    began = time.monotonic()
    with pytest.raises(ServerTimeoutError, match=r"for 0\.5 s"):
        await open_at(host(timeouts=QUICK), server.url)
    assert time.monotonic() - began < 5


async def test_opening_can_be_cancelled_at_once(raw_serve, host):
    silent = Silence()
    server = await raw_serve(pages={"*": silent})
    cancel = CancelToken()
    opening = asyncio.create_task(open_at(host(timeouts=QUICK_TO_NOBODY), server.url, cancel))
    await silent.asked.wait()
    cancel.set()
    with pytest.raises(CancelledError):
        await opening


async def test_a_certificate_that_is_not_trusted(raw_serve, host, tmp_path, self_signed):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(self_signed)
    server = await raw_serve(pages={"*": VLLM_MODELS}, ssl=context)
    with pytest.raises(ServerUnreachableError, match="certificate is not trusted") as raised:
        await open_at(host(timeouts=QUICK_TO_NOBODY), server.url)
    assert "SSL_CERT_FILE" in raised.value.hint


async def test_https_where_http_is_spoken(host):
    async def talk(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        with pytest.raises(ServerUnreachableError, match="TLS"):
            await open_at(host(), f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")


@pytest.mark.parametrize("names", [["a", "b"], ["m2"]])
async def test_a_model_that_is_not_there(raw_serve, host, names):
    listed = {"object": "list", "data": [{"id": name} for name in names]}
    server = await raw_serve(pages={"/v1/models": listed})
    with pytest.raises(UnknownModelError, match="has no model 'm'") as raised:
        await opened(host(), server)
    assert names[0] in raised.value.hint


async def test_several_models_and_none_named(raw_serve, host):
    listed = {"object": "list", "data": [{"id": "a"}, {"id": "b"}]}
    server = await raw_serve(pages={"/v1/models": listed})
    with pytest.raises(UnknownModelError, match="several models: a, b") as raised:
        await open_at(host(), server.url)
    assert f"{server.url}#a" in raised.value.hint


@pytest.mark.parametrize(("status", "headers", "body", "error", "words"), [
    (401, {}, {"error": {"message": "bad key"}}, ServerRefusedError, "bad key"),
    (404, {}, {"error": {"message": "The model `m` does not exist."}}, UnknownModelError, "no model 'm'"),
    (404, {}, {"error": "model 'm' not found"}, UnknownModelError, "no model 'm'"),
    (404, {}, "", ServerAnswerError, "has nothing at /v1/chat/completions"),
    (400, {}, {"error": {"message": "too long", "type": "exceed_context_size_error"}}, ContextFullError, "too long"),
    (400, {}, {"error": {"message": "This model's maximum context length is 4096 tokens."}}, ContextFullError, "4096"),
    (413, {}, "", ContextFullError, "too long for this model"),
    (429, {"Retry_After": "3"}, {"error": "busy", "error_type": "overloaded"}, ServerBusyError, "wait 3 seconds"),
    (429, {"Retry_After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, ServerBusyError, "in a moment"),
    (500, {}, {"detail": "boom"}, ServerError, "boom"), (502, {}, "<html>", ServerBusyError, "HTTP 502"),
    (503, {}, {"error": {"message": "Loading model", "type": "unavailable_error"}}, ServerBusyError, "still loads"),
    (422, {}, {"detail": [{"loc": ["body", "messages"], "msg": "wrong"}]}, ServerError, "body.messages: wrong"),
    (200, {"Content_Type": "text/html"}, "<html>", ServerAnswerError, "web page"),
    (418, {}, {"error": {"message": "x" * 5000 + KEY}}, ServerError, "xxx…"),
    (500, {}, {"error": "\x1b[31mred\r\nlines\x00"}, ServerError, "failed: [31mred lines"),
])  # fmt: skip
async def test_statuses(raw_serve, host, status, headers, body, error, words):
    async def chat(peer, _request):
        await peer.reply(body, status, **headers)

    text, found = await failure(raw_serve, host, chat)
    assert type(found) is error
    assert words in str(found)
    assert text == ""
