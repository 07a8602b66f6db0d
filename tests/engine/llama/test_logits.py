from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.engine.llama.conftest import load
from tests.lora import write_lora
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, ModelFileError, QualityError
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.recipe import Recipe
from workbench.engine.llama import weights
from workbench.engine.llama.logits import LlamaLogitHost
from workbench.engine.llama.native import api
from workbench.lab.quality.logits import Chunk, ModelSpec
from workbench.lab.quality.positions import compare

TEXT = "The licence applies to the work, and to works that are derived from it. <|im_end|> It ends when it is broken. "


PIECE = 16


@pytest.fixture
async def opened(models, monkeypatch):
    """Opens models for their logits, in short pieces, and closes them."""
    monkeypatch.setattr("workbench.engine.llama.logits.PIECE", PIECE)
    host = LlamaLogitHost(lambda ref: ModelEntry(ref, ref, path=models[ref]))
    found = []

    async def open_models(*specs, n_ctx=256, cancel=None):
        found.append(await host.open(specs, n_ctx, lambda _: None, cancel or CancelToken()))
        return found[-1]

    yield open_models
    for each in found:
        await each.close()


async def figures(models, tokens, first):
    parts = []

    def reduce(position, rows):
        targets = np.asarray(tokens[position + 1 : position + 1 + len(rows[0])], np.int32)
        parts.append((position, *compare(rows, targets)))

    done = []
    await models.compute(Chunk(tokens, first), reduce, CancelToken(), done.append)
    return parts, done


async def test_the_likelihoods_are_those_of_the_engine_and_a_model_equals_itself(opened, host):
    models = await opened(ModelSpec("demo"), ModelSpec("demo"), ModelSpec("demo", LoadSettings(type_k="q8_0")))
    tokens = (await models.tokenize(TEXT * 2))[: 2 * PIECE + 7]
    first = PIECE - 6
    parts, done = await figures(models, tokens, first)
    assert [position for position, *_ in parts] == [first, PIECE, 2 * PIECE]
    assert done[-1] == len(tokens)
    nll = np.concatenate([reference.nll for _, reference, _ in parts])
    engine = await load(host, num_ctx=256)
    scored = await engine.score(tokens)
    np.testing.assert_allclose(-nll, scored[first:], atol=0.02)
    same, quantized = (np.concatenate([others[at].kld for *_, others in parts]) for at in (0, 1))
    assert not same.any()
    assert 0 < quantized.mean() < 0.05
    again, _ = await figures(models, tokens, first)
    np.testing.assert_array_equal(again[0][1].nll, parts[0][1].nll)


async def test_an_adapter_is_a_candidate_that_shares_the_weights_of_its_model(
    models, short_demo, tmp_path, monkeypatch
):
    path = models["demo"]
    strengths = {"plain": None, "nothing": 0.0, "much": 0.5}
    recipes = {
        name: Recipe(adapter="" if each is None else str(write_lora(tmp_path / name, path, tensors=20, strength=each)))
        for name, each in strengths.items()
    }
    loaded, load_weights = [], weights.load_weights
    monkeypatch.setattr(weights, "load_weights", lambda *at, **more: loaded.append(at) or load_weights(*at, **more))
    host = LlamaLogitHost(lambda ref: ModelEntry(ref, ref, path=str(path), recipe=recipes[ref]))
    opened = await host.open([ModelSpec(ref) for ref in strengths], 256, lambda _: None, CancelToken())
    try:
        tokens = await opened.tokenize(TEXT)
        parts, _ = await figures(opened, tokens, 0)
    finally:
        await opened.close()
    nothing, much = (np.concatenate([others[at].kld for *_, others in parts]) for at in (0, 1))
    assert not nothing.any()
    assert much.mean() > 0.001
    assert len(loaded) == 1


async def test_the_text_of_a_control_token_is_words(opened):
    models = await opened(ModelSpec("demo"))
    texts = await models.texts(await models.tokenize("a <|im_end|> b"))
    assert b"".join(texts) == b"a <|im_end|> b"
    assert b"<|im_end|>" not in texts
    vocabulary = await models.vocabulary(0)
    assert len(vocabulary) == 49_152
    assert b"<|im_end|>" in vocabulary


async def test_a_model_without_logits_for_every_position_is_said(opened, monkeypatch):
    models = await opened(ModelSpec("demo"))
    monkeypatch.setattr(api, "llama_get_logits_ith", lambda *_: None)
    with pytest.raises(QualityError, match="gives no logits for every position"):
        await models.compute(Chunk((1, 2, 3, 4), 0), lambda *_: None, CancelToken(), lambda _: None)


async def test_stopping_and_closing_end_the_work(opened):
    models = await opened(ModelSpec("demo"))
    cancel, tokens = CancelToken(), (await models.tokenize(TEXT * 2))[:40]
    with pytest.raises(CancelledError):
        await models.compute(Chunk(tokens, 0), lambda *_: cancel.set(), cancel, lambda _: None)
    running = asyncio.create_task(models.compute(Chunk(tokens, 0), lambda *_: None, CancelToken(), lambda _: None))
    await asyncio.sleep(0)
    await models.close()
    with pytest.raises(CancelledError):
        await running


async def test_a_model_without_a_file_is_refused():
    host = LlamaLogitHost(lambda ref: ModelEntry(ref, ref))
    with pytest.raises(ModelFileError):
        await host.open([ModelSpec("scripted")], 64, lambda _: None, CancelToken())
