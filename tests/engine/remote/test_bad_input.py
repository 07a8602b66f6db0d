"""What servers, networks and users get wrong: each is a typed error that says what to do, what had come stays, and
nothing lasts longer than its timeout.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.engine.remote.bad_servers import QUICK_TO_NOBODY, failure
from tests.engine.remote.helpers import QUICK, events_of, opened, question, text_of
from workbench.core.cancel import CancelToken
from workbench.core.errors import (
    ContextFullError,
    ServerAnswerError,
    ServerError,
    ServerTimeoutError,
    ServerUnreachableError,
)
from workbench.core.events import Event, Failed, Finished


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
    events: list[Event] = []

    async def read():
        async for batch in engine.generate(question(), cancel):
            events.extend(batch)

    answering = asyncio.create_task(read())
    await server.has_asked("/v1/chat/completions")
    await asyncio.sleep(0.02)
    writes = where in {between_words, at_the_figures}
    # On a busy machine the first word takes longer.
    while writes and not text_of(events):
        await asyncio.sleep(0.01)
    cancel.set()
    await answering
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "cancelled"
    assert text_of(events).startswith("So" if writes else "")


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


async def test_the_words_of_half_a_surrogate_pair(raw_serve, host):
    async def chat(peer, _request):
        await peer.begin()
        await peer.raw('data: {"choices": [{"delta": {"content": "a\\ud83d"}, "finish_reason": "stop"}]}\n\n')

    server = await raw_serve(chat)
    text = text_of(await events_of(await opened(host(), server)))
    assert json.dumps(text)
    assert text.encode() == "a\ufffd".encode()
