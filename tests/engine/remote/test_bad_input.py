"""What servers, networks and users get wrong: each is a typed error that says what to do, what had come stays, and
nothing lasts longer than its timeout.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time

import pytest

from tests.engine.remote.helpers import QUICK, VLLM_MODELS, Silence, events_of, opened, question, text_of
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
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
from workbench.core.events import Failed, Finished, Token
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.secret import Secret
from workbench.core.servers import ServerAddress

KEY = "sk-a-key-that-nobody-may-see"


async def open_at(host, ref, cancel=None):
    return await host.open(ref, LoadSettings(), lambda _: None, cancel or CancelToken())


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# Before anything is open


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


QUICK_TO_NOBODY = type(QUICK)()
"""Timeouts that no test waits for: what ends before them was ended by something else."""


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


# In the middle of an answer


async def failure(raw_serve, host, chat, **options):
    """The events and the error of an answer that fails."""
    server = await raw_serve(chat)
    engine = await opened(host(**options), server)
    *before, last = await events_of(engine)
    assert isinstance(last, Failed), last
    return "".join(event.text for event in before if isinstance(event, Token)), last.error


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


async def nothing_more(peer):
    """The connection ends, and the answer has not."""


async def cut_character(peer):
    await peer.raw(b'data: {"choices": [{"delta": {"content": "\xf0\x9f')


async def cut_value(peer):
    await peer.raw('data: {"choices": [{"del')


async def error_inside(peer):
    await peer.event({"error": {"message": "CUDA error", "code": 500}})


async def named_error(peer):
    await peer.raw('event: error\ndata: {"message": "CUDA error"}\n\n')


async def long_line(peer):
    for _ in range(160):
        await peer.raw(b"x" * 2**16)


async def no_json(peer):
    await peer.event("<html>")


async def no_object(peer):
    await peer.event("[3]")


async def context_error(peer):
    await peer.event({"error": {"message": "the request exceeds the available context size"}})


@pytest.mark.parametrize(("then", "error", "words"), [
    (nothing_more, ServerAnswerError, "before the answer was finished"), (cut_character, ServerAnswerError, "no JSON"),
    (cut_value, ServerAnswerError, "no JSON"), (error_inside, ServerError, "CUDA error"),
    (named_error, ServerError, "CUDA error"), (long_line, ServerAnswerError, "longer than 8 MiB"),
    (no_json, ServerAnswerError, "<html>"), (no_object, ServerAnswerError, "no part of an answer"),
    (context_error, ContextFullError, "exceeds"),
])  # fmt: skip
async def test_streams_that_go_wrong_keep_what_had_come(raw_serve, host, then, error, words):
    async def chat(peer, _request):
        await peer.begin()
        await peer.word("So f")
        await peer.word("ar <th")
        await then(peer)

    text, found = await failure(raw_serve, host, chat)
    assert text == "So far <th"
    assert type(found) is error
    assert words in str(found)


async def test_what_might_have_become_a_tag_is_kept(raw_serve, host):
    async def chat(peer, _request):
        await peer.begin()
        await peer.word("<th")

    assert (await failure(raw_serve, host, chat))[0] == "<th"


async def ping_forever(peer):
    while True:
        await peer.raw(": ping\n\n")
        await asyncio.sleep(0.01)


async def nothing_forever(peer):
    await peer.forever()


async def empty_words_forever(peer):
    while True:
        await peer.event({"choices": [{"delta": {"content": ""}}]})
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("then", [ping_forever, nothing_forever, empty_words_forever])
@pytest.mark.parametrize(("begun", "words"), [(False, "no word for 0.4 s"), (True, "silent in the middle")])
async def test_streams_that_say_nothing_any_more(raw_serve, host, then, begun, words):
    async def chat(peer, _request):
        await peer.begin()
        if begun:
            await peer.word("Hm")
        await then(peer)

    text, found = await failure(raw_serve, host, chat, timeouts=QUICK)
    assert text == "Hm" * begun
    assert isinstance(found, ServerTimeoutError)
    assert words in str(found)


async def test_a_server_that_does_not_even_send_a_head(raw_serve, host):
    async def chat(peer, _request):
        await peer.forever()

    assert isinstance((await failure(raw_serve, host, chat, timeouts=QUICK))[1], ServerTimeoutError)


async def test_what_is_no_http(raw_serve, host):
    async def chat(peer, _request):
        await peer.raw(b"\x00\xff rubbish\r\n\r\n")

    assert "closed the connection" in str((await failure(raw_serve, host, chat))[1])


async def words_forever(peer):
    while True:
        await peer.word("more")
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("then", [nothing_more, nothing_forever, words_forever, ping_forever, long_line, cut_value])
async def test_what_comes_after_the_end_changes_nothing(raw_serve, host, then):
    async def chat(peer, _request):
        await peer.begin()
        await peer.word("All")
        await peer.event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        await then(peer)

    server = await raw_serve(chat)
    events = await events_of(await opened(host(), server))
    assert isinstance(events[-1], Finished), events[-1]
    assert (text_of(events), events[-1].reason) == ("All", "stop")


async def test_words_after_the_mark_at_the_end_are_not_read(raw_serve, host):
    async def chat(peer, _request):
        await peer.begin()
        await peer.raw(
            'data: {"choices": [{"delta": {"content": "All"}, "finish_reason": "length"}]}\n\n'
            'data: [DONE]\n\ndata: {"choices": [{"delta": {"content": "more"}}]}\n\ndata: rubbish\n\n'
        )

    server = await raw_serve(chat)
    events = await events_of(await opened(host(), server))
    assert text_of(events) == "All"
    assert (events[-1].reason, events[-1].server_limit) == ("length", True)


async def test_a_server_that_is_gone_when_it_is_asked(host, raw_serve):
    server = await raw_serve()
    engine = await opened(host(), server)
    for each in server.running:
        each.close()
    (failed,) = await events_of(engine)
    assert isinstance(failed.error, ServerUnreachableError)


# Stopping


async def at_the_head(peer):
    await peer.forever()


async def at_the_first_word(peer):
    await peer.begin()
    await peer.forever()


async def between_words(peer):
    await peer.begin()
    await peer.word("So")
    await words_forever(peer)


async def at_the_figures(peer):
    await peer.begin()
    await peer.event({"choices": [{"delta": {"content": "So"}, "finish_reason": "stop"}]})
    await peer.forever()


@pytest.mark.parametrize("where", [at_the_head, at_the_first_word, between_words, at_the_figures])
async def test_an_answer_can_be_stopped_at_every_moment(raw_serve, host, where):
    gone = asyncio.Event()

    async def chat(peer, _request):
        try:
            await where(peer)
        finally:
            gone.set()

    server = await raw_serve(chat)
    engine = await opened(host(timeouts=QUICK_TO_NOBODY), server)
    cancel = CancelToken()
    answering = asyncio.create_task(events_of(engine, cancel=cancel))
    await server.has_asked("/v1/chat/completions")
    await asyncio.sleep(0.02)
    cancel.set()
    events = await answering
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "cancelled"
    assert text_of(events).startswith("So" if where in {between_words, at_the_figures} else "")


async def test_a_request_that_was_stopped_before_it_began(raw_serve, host):
    server = await raw_serve()
    engine = await opened(host(), server)
    cancel = CancelToken()
    cancel.set()
    (end,) = await events_of(engine, cancel=cancel)
    assert end.reason == "cancelled"


async def test_a_closed_engine_stops_what_streams_and_answers_no_more(raw_serve, host):
    async def chat(peer, _request):
        await peer.begin()
        await words_forever(peer)

    server = await raw_serve(chat)
    engine = await opened(host(timeouts=QUICK_TO_NOBODY), server)
    answering = asyncio.create_task(events_of(engine))
    await server.has_asked("/v1/chat/completions")
    await engine.close()
    assert (await answering)[-1].reason == "cancelled"
    assert isinstance((await events_of(engine))[-1], Failed)


# Keys


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


async def test_nothing_is_sent_twice(raw_serve, host):
    async def chat(peer, _request):
        """Hangs up without a word."""

    server = await raw_serve(chat)
    engine = await opened(host(), server)
    assert isinstance((await events_of(engine))[-1], Failed)
    assert len(server.posts()) == 1


# What servers refuse of a question


async def test_what_a_server_does_not_know_is_left_out_and_remembered(raw_serve, host):
    async def chat(peer, request):
        if "stream_options" in request.json:
            await peer.reply({"detail": "Extra inputs are not permitted: stream_options"}, 422)
            return
        await peer.begin()
        await peer.event({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]})

    server = await raw_serve(chat)
    engine = await opened(host(), server)
    assert isinstance((await events_of(engine))[-1], Finished)
    assert isinstance((await events_of(engine))[-1], Finished)
    assert [("stream_options" in asked.json) for asked in server.posts()] == [True, False, False]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("body", [{"error": {"message": "Bad request."}}, "", "<html>", {"detail": [{"msg": "no"}]}])
@pytest.mark.parametrize("gets_over_it", [True, False])
async def test_a_refusal_without_a_name_says_nothing_about_the_next_question(
    raw_serve, host, status, body, gets_over_it
):
    refusing = True

    async def chat(peer, request):
        if refusing and ("stream_options" in request.json or not gets_over_it):
            await peer.reply(body, status)
            return
        await peer.begin()
        await peer.event({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]})

    server = await raw_serve(chat)
    engine = await opened(host(), server)
    assert isinstance((await events_of(engine))[-1], Finished) is gets_over_it
    refusing = False
    assert isinstance((await events_of(engine))[-1], Finished)
    assert [("stream_options" in asked.json) for asked in server.posts()] == [True, False, True]


async def refusing(raw_serve, host, name, message):
    """A server that refuses a parameter, and its engine."""

    async def chat(peer, request):
        if name in request.json:
            await peer.reply({"error": {"message": message}}, 400)
            return
        await peer.begin()
        await peer.event({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]})

    server = await raw_serve(chat)
    engine = await opened(host(), server)
    return server, engine


async def test_a_parameter_that_a_server_refuses_is_reported_once(raw_serve, host):
    _, engine = await refusing(raw_serve, host, "seed", "Unsupported parameter: 'seed'.")
    first, second = (await events_of(engine))[-1], (await events_of(engine))[-1]
    assert "does not take seed" in first.notice
    assert second.notice == ""
    assert (first.seed, second.seed) == (None, None)


async def test_the_limit_by_another_name(raw_serve, host):
    message = "Use 'max_completion_tokens' instead of 'max_tokens'."
    server, engine = await refusing(raw_serve, host, "max_tokens", message)
    assert isinstance((await events_of(engine, question(num_predict=7)))[-1], Finished)
    assert server.posts()[-1].json["max_completion_tokens"] == 7


async def test_a_server_that_refuses_everything_is_asked_a_few_times(raw_serve, host):
    async def chat(peer, request):
        names = [name for name in request.json if name not in {"model", "messages", "stream"}]
        await peer.reply({"error": f"unknown field {names[0] if names else 'messages'}"}, 400)

    server = await raw_serve(chat)
    sampling = Sampling(temperature=0.1, top_p=0.1, presence_penalty=0.1)
    request = Request(messages=(Message("user", "Hello"),), sampling=sampling)
    (failed,) = await events_of(await opened(host(timeouts=QUICK_TO_NOBODY), server), request)
    assert "unknown field" in str(failed.error)
    assert len(server.posts()) == 4


async def test_the_words_of_half_a_surrogate_pair(raw_serve, host):
    async def chat(peer, _request):
        await peer.begin()
        await peer.raw('data: {"choices": [{"delta": {"content": "a\\ud83d"}, "finish_reason": "stop"}]}\n\n')

    server = await raw_serve(chat)
    text = text_of(await events_of(await opened(host(), server)))
    assert json.dumps(text)
    assert text.encode() == "a\ufffd".encode()
