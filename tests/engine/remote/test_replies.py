"""The replies of servers of every kind: thoughts, parts, counts, empty answers, limits, and continuing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.engine.remote.helpers import events_of, opened, question
from workbench.core.answer import Answer
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.metrics import Meter
from workbench.engine.switches import SHORT_OF_TIME

GENERIC = {"object": "list", "data": [{"id": "m", "object": "model"}]}
ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
HARMONY = (
    "<|channel|>analysis<|message|>Two and two make four.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>It is 4.<|return|>"
)
COMMENTARY = HARMONY.replace("<|end|>", "<|end|><|start|>assistant<|channel|>commentary<|message|>A word.<|end|>", 1)
THOUGHTS, ANSWER = "Two and two make four.", "It is 4."
CODE = "The tag `</think>` ends the thoughts of a model."


def event(delta, finish=None, **more):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "model": "m", **more}


def words(text, size=3, **more):
    return [event({"content": text[at : at + size]}, **more) for at in range(0, len(text), size)]


STOP = event({}, "stop")


def listing(owner):
    """The list of models of a server; llama-server is known by a header."""

    async def page(peer, _request):
        models = {"object": "list", "data": [{"id": "m", "owned_by": owner}]}
        await peer.reply(models, Server="llama.cpp" if owner == "llamacpp" else "other")

    return page


def playing(events):
    """A server's handler that sends these events."""

    async def play(peer, _request):
        await peer.begin()
        for each in events:
            await peer.event(each)
        await peer.raw("data: [DONE]\n\n")

    return play


async def outcome_of(engine, request=None):
    answer = Answer(Meter(0, source="client"))
    for each in await events_of(engine, request or question()):
        answer.feed(each)
    return answer.outcome()


@pytest.fixture
def asked(raw_serve, host):
    """Asks a server that plays these events, and gives the outcome."""

    async def ask(events, request=None, pages=None):
        server = await raw_serve(playing(events), {"/v1/models": pages or GENERIC})
        return await outcome_of(await opened(host(), server), request)

    return ask


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        (HARMONY, THOUGHTS, ANSWER),
        (COMMENTARY, THOUGHTS, "A word. It is 4."),
        (f"<|channel>thought\n{THOUGHTS}<channel|>It is 4.", THOUGHTS, ANSWER),
        (f"{THOUGHTS}\n</think>\n\nIt is 4.", THOUGHTS, ANSWER),
        (CODE, "", CODE),
    ],
)
async def test_thoughts_in_the_text_are_told_apart(asked, text, reasoning, content, size):
    outcome = await asked([*words(text, size), STOP])
    assert (outcome.message.reasoning, outcome.message.content) == (reasoning, content)


def text_part(text):
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("parts", "reasoning", "content"),
    [
        ([[{"type": "thinking", "thinking": [text_part("Hm")]}], [text_part("Good")], [text_part("!")]], "Hm", "Good!"),
        ([[{"type": "thinking", "thinking": "Hm"}, text_part("Yes")], ""], "Hm", "Yes"),
        ([[{"type": "reasoning", "text": "Hm"}], "Yes"], "Hm", "Yes"),
        ([[{"type": "output_text", "text": "Yes"}]], "", "Yes"),
        ([["Yes", text_part("!")]], "", "Yes!"),
        ([[{"type": "image_url", "image_url": {"url": "x"}}, 3, None, text_part("Yes")]], "", "Yes"),
        ([[text_part("<think>Hm</think>Yes")]], "Hm", "Yes"),
    ],
)
async def test_a_content_may_be_a_list_of_parts(asked, parts, reasoning, content):
    outcome = await asked([*(event({"content": part}) for part in parts), STOP])
    assert (outcome.message.reasoning, outcome.message.content) == (reasoning, content)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
async def test_each_name_for_thoughts_is_known(asked, name):
    outcome = await asked([event({name: "Hm"}), event({"content": "Yes"}), STOP])
    assert (outcome.message.reasoning, outcome.message.content) == ("Hm", "Yes")


FIVE = ("One", " two", " three", " four", " five")


async def test_zeros_beside_a_text_are_no_count(asked):
    metrics = (await asked([*(event({"content": text}) for text in FIVE), event({}, "stop", usage=ZERO)])).metrics
    assert (metrics.completion_tokens, metrics.estimated) == (5, True)
    assert metrics.prompt_tokens > 0
    true = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
    events = [*(event({"content": text}, usage=ZERO) for text in FIVE), event({}, "stop", usage=true)]
    metrics = (await asked(events)).metrics
    assert (metrics.completion_tokens, metrics.prompt_tokens, metrics.estimated) == (5, 12, False)


@pytest.mark.parametrize(
    ("events", "words_of_notice"),
    [
        ([event({"role": "assistant"}), STOP], "wrote nothing"),
        ([event({"content": ""}, "content_filter")], "wrote nothing"),
        ([event({"reasoning_content": "Hm"}), STOP], "thoughts and no answer"),
        ([event({"reasoning_content": "Hm"}), event({}, "length")], "thoughts used up the limit of the server"),
        ([event({"content": "One"}), event({}, "length")], "ended by the limit of the server"),
        ([event({"content": "One"}), STOP], ""),
        (
            [
                event({}),
                event({}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 70,
                                         "completion_tokens_details": {"reasoning_tokens": 70}}),
            ],
            "70 tokens on thoughts it hides",
        ),
    ],
)  # fmt: skip
async def test_an_answer_without_a_text_and_a_limit_of_the_server_are_said(asked, events, words_of_notice):
    outcome = await asked(events)
    assert words_of_notice in outcome.notice
    assert bool(outcome.notice) == bool(words_of_notice)
    assert outcome.reason in {"stop", "length"}


async def test_a_full_context_is_one_where_the_context_is_known(asked):
    models = {"object": "list", "data": [{"id": "m", "owned_by": "vllm", "max_model_len": 64}]}
    full = {"prompt_tokens": 40, "completion_tokens": 24, "total_tokens": 64}
    outcome = await asked([event({"content": "One"}), event({}, "length", usage=full)], pages=models)
    assert (outcome.reason, outcome.notice) == ("context", "")


async def test_an_answer_of_thoughts_alone_is_not_sent_back(raw_serve, host):
    server = await raw_serve(playing([*words("Yes."), STOP]), {"/v1/models": GENERIC})
    engine = await opened(host(), server)
    said = (Message("user", "One?"), Message("assistant", "", "Hm"), Message("user", "Two?"))
    outcome = await outcome_of(engine, Request(messages=said))
    assert outcome.message.content == "Yes."
    assert server.posts()[-1].json["messages"] == [{"role": "user", "content": "One?\n\nTwo?"}]


CUT = Request(messages=(Message("user", "One?"), Message("assistant", "Ye", "Hm")), continues=True)


@pytest.mark.parametrize(("owner", "knows"), [("vllm", True), ("llamacpp", True), ("someone", False)])
async def test_the_beginning_of_an_answer_is_continued(raw_serve, host, owner, knows):
    server = await raw_serve(playing([*words("s."), STOP]), {"/v1/models": listing(owner)})
    engine = await opened(host(), server)
    assert (await outcome_of(engine, CUT)).message.content == "s."
    body = server.posts()[-1].json
    assert body["messages"][-1]["content"] == "Ye"
    assert body.get("continue_final_message", False) is knows
    assert ("reasoning_content" in body["messages"][-1]) is knows
    thoughts = replace(CUT, messages=(CUT.messages[0], Message("assistant", "", "Hm")))
    outcome = await outcome_of(engine, thoughts)
    assert (outcome.error is None) is knows
    assert knows or "thoughts alone" in str(outcome.error)
    assert json.loads(server.posts()[-1].body)


OFF = {"enable_thinking": False, "thinking": False}


@pytest.mark.parametrize(
    ("owner", "think", "fields"),
    [
        ("vllm", "default", {}),
        ("vllm", "off", {"chat_template_kwargs": OFF}),
        (
            "llamacpp",
            "high",
            {
                "chat_template_kwargs": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
                "reasoning_effort": "high",
                "reasoning_budget_tokens": 99,
                "reasoning_budget_message": SHORT_OF_TIME,
            },
        ),
        ("llamacpp", "default", {"reasoning_budget_tokens": 99, "reasoning_budget_message": SHORT_OF_TIME}),
        ("llamacpp", "off", {"chat_template_kwargs": OFF, "reasoning_budget_tokens": 1}),
        ("someone", "low", {"reasoning_effort": "low"}),
        ("someone", "off", {"reasoning_effort": "none"}),
    ],
)
async def test_thinking_is_controlled_in_the_words_of_the_server(raw_serve, host, owner, think, fields):
    server = await raw_serve(playing([*words("Yes."), STOP]), {"/v1/models": listing(owner)})
    outcome = await outcome_of(await opened(host(), server), question(think=think, think_budget=99))
    body = server.posts()[-1].json
    names = ("chat_template_kwargs", "reasoning_effort", "reasoning_budget_tokens", "reasoning_budget_message")
    known = {name: body[name] for name in names if name in body}
    if owner == "llamacpp":
        assert not outcome.notice
    else:
        assert "think_budget" in outcome.notice
    assert known == fields


@pytest.mark.parametrize(("thoughts", "said"), [(4, False), (99, True)])
async def test_a_budget_of_no_thoughts_is_off_and_a_server_that_goes_on_thinking_is_told_of(
    raw_serve, host, thoughts, said
):
    events = [event({"reasoning_content": "hm "})] * thoughts
    server = await raw_serve(playing([*events, *words("Yes."), STOP]), {"/v1/models": listing("llamacpp")})
    outcome = await outcome_of(await opened(host(), server), question(think="high", think_budget=0))
    body = server.posts()[-1].json
    assert (body["chat_template_kwargs"], body["reasoning_budget_tokens"]) == (OFF, 1)
    assert ("did not end the thoughts" in outcome.notice) is said


async def test_a_budget_of_no_thoughts_is_off_on_every_server(raw_serve, host):
    server = await raw_serve(playing([*words("Yes."), STOP]), {"/v1/models": listing("someone")})
    asked = replace(question(think_budget=0), given=frozenset({"think_budget"}))
    outcome = await outcome_of(await opened(host(), server), asked)
    assert (server.posts()[-1].json["reasoning_effort"], outcome.notice) == ("none", "")
