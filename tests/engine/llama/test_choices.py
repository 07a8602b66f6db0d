from __future__ import annotations

import pytest

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.events import Token
from workbench.core.parameters import Sampling


async def tokens_of(engine, **values):
    request = Request(messages=(Message("user", "Name three colours."),), **values)
    batches = [batch async for batch in engine.generate(request, CancelToken())]
    return [event for batch in batches for event in batch if isinstance(event, Token)]


async def test_the_choices_of_an_answer_are_the_scores_of_its_tokens(engine):
    sampling = Sampling(temperature=2.0, seed=3, num_predict=8)
    plain = await tokens_of(engine, sampling=sampling)
    tokens = await tokens_of(engine, sampling=sampling, alternatives=4)
    assert [token.id for token in tokens] == [token.id for token in plain]
    assert not any(token.choices for token in plain)
    prompt = await engine.tokens(Request(messages=(Message("user", "Name three colours."),)))
    scores = await engine.score([*prompt, *(token.id for token in tokens)])
    choices = [token.choices[0] for token in tokens]
    assert [choice.written.logprob for choice in choices] == pytest.approx(scores[len(prompt) - 1 :], abs=0.05)
    assert [choice.written.data for choice in choices] == [engine._model.pieces[token.id] for token in tokens]
    for choice in choices:
        logprobs = [token.logprob for token in choice.likeliest]
        assert len(logprobs) == 4
        assert logprobs == sorted(logprobs, reverse=True)
    # At this temperature some are not the likeliest token.
    assert any(choice.written.logprob < choice.likeliest[0].logprob for choice in choices)
