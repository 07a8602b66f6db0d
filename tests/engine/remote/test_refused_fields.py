"""What a server does not know is left out of the next question, and nothing is sent twice."""

from __future__ import annotations

import pytest

from tests.engine.remote.bad_servers import QUICK_TO_NOBODY
from tests.engine.remote.helpers import events_of, opened, question
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.events import Failed, Finished
from workbench.core.parameters import Sampling


async def test_nothing_is_sent_twice(raw_serve, host):
    async def chat(peer, _request):
        """Hangs up without a word."""

    server = await raw_serve(chat)
    engine = await opened(host(), server)
    assert isinstance((await events_of(engine))[-1], Failed)
    assert len(server.posts()) == 1


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
