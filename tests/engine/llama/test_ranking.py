from __future__ import annotations

import asyncio

import pytest

from tests.engine.llama.conftest import load
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import CancelledError, ContextFullError, EngineError

FRANCE = "The capital of France is"


async def test_the_rank_of_a_choice_is_the_score_of_its_tokens(engine):
    choices = (" Paris", " a small town in the north", " Paris")
    found = await engine.rank(Request(prompt=FRANCE), choices, CancelToken())
    vocabulary = engine._model.vocabulary
    before = len(vocabulary.tokenize_raw(FRANCE))
    for choice, total in zip(choices, found, strict=True):
        scores = await engine.score(vocabulary.tokenize_raw(FRANCE + choice))
        assert total == pytest.approx(sum(scores[before - 1 :]), abs=0.05)
    assert found[0] > found[1]


async def test_an_answer_after_a_ranking_is_the_same(engine):
    request = Request(messages=(Message("user", "Is the sky blue?"),))
    first = await engine.rank(request, ("Yes", "Zebra"), CancelToken())
    assert first[0] > first[1]
    again, other = await asyncio.gather(
        engine.rank(request, ("Yes", "Zebra"), CancelToken()), engine.rank(Request(prompt="x"), ("y",), CancelToken())
    )
    assert again == pytest.approx(first, abs=0.05)
    assert len(other) == 1


async def test_what_cannot_be_ranked(host):
    engine = await load(host, num_ctx=64)
    with pytest.raises(EngineError, match="empty"):
        await engine.rank(Request(prompt="x"), ("",), CancelToken())
    with pytest.raises(ContextFullError, match="do not fit"):
        await engine.rank(Request(prompt="one two three " * 80), (" four five six" * 9,), CancelToken())
    stopped = CancelToken()
    stopped.set()
    with pytest.raises(CancelledError):
        await engine.rank(Request(prompt="x y z"), ("y",), stopped)
    await engine.close()
    with pytest.raises(EngineError):
        await engine.rank(Request(prompt="x"), ("y",), CancelToken())
