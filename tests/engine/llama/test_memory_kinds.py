"""Cancelled work and reused prefixes with every kind of memory: later answers are those of a fresh model."""

from __future__ import annotations

import ctypes
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.llama.conftest import answer, load, watching
from tests.engine.llama.toys import ARCHITECTURES, RECURRENT, write_toy
from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.core.errors import EngineError
from workbench.core.events import Event, PromptProgress, Token
from workbench.core.models import ModelEntry
from workbench.core.parameters import Sampling
from workbench.engine.llama.host import LlamaHost

FIRST = "The keeper of the light went down to the sea and counted the waves. " * 6
SECOND = " And then a word of the other man, who came from the north. " * 8
BATCH = 64


def raw(prompt: str, limit: int = 24) -> Request:
    return Request(prompt=prompt, sampling=Sampling(num_predict=limit, temperature=0.0))


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    return {name: write_toy(folder / f"{name}-F32.gguf", name) for name in ARCHITECTURES}


@pytest.fixture
def models(toys) -> dict[str, str]:
    return {name: str(path) for name, path in toys.items()}


async def open_toy(host: LlamaHost, name: str):
    return await load(host, name, num_ctx=4096, num_batch=BATCH, num_thread=1, type_k="f32", type_v="f32")


async def fresh_answer(models: dict[str, str], name: str, request: Request) -> list[int]:
    """The answer of a model that has computed nothing else."""
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=models[ref]), state_budget_bytes=0)
    try:
        return (await answer(await open_toy(host, name), request)).ids
    finally:
        await host.shutdown()


async def cancelled(engine, request: Request, operation: int, after: type[Event] = PromptProgress):
    """An answer that is cancelled in the middle of a step: in the given operation after the first event of a kind."""
    from workbench.engine.llama.native import api, log

    cancel, flag = CancelToken(), engine._model._abort
    counts, seen = False, 0

    def asked(_: object) -> bool:
        nonlocal seen
        seen += counts
        if seen == operation:
            cancel.set()
        return flag._buffer[0] != b"\0"

    def note(event: Event) -> None:
        nonlocal counts
        counts = counts or isinstance(event, after)

    callback = api.ggml_abort_callback(asked)
    api.llama_set_abort_callback(engine._model.native, callback, None)
    with watching(note), log.collect() as lines:
        result = await answer(engine, request, cancel)
    api.llama_set_abort_callback(engine._model.native, flag._callback, ctypes.addressof(flag._buffer))
    assert result.end.reason == "cancelled"
    assert [text for level, text in lines if level >= logging.WARNING] == []
    return result


def tokens_of(engine, text: str) -> list[int]:
    return engine._model.vocabulary.tokenize_raw(text)


def going_on(tokens: list[int], limit: int = 24) -> Request:
    return Request(tokens=tuple(tokens), sampling=Sampling(num_predict=limit, temperature=0.0))


# In the first operation and later, in one batch and in the first of several.
@pytest.mark.parametrize(("operation", "length"), [(1, 40), (30, 40), (7, 400), (45, 400)])
@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_an_answer_after_a_cancelled_prefill_is_that_of_a_fresh_model(host, models, name, operation, length):
    prompt = FIRST + SECOND[:length]
    engine = await open_toy(host, name)
    await answer(engine, raw(FIRST, limit=0))
    await cancelled(engine, raw(prompt), operation)
    # A recurrent state is soon dominated by later tokens: few of them follow.
    after = await answer(engine, raw(prompt + "x"))
    assert after.ids == await fresh_answer(models, name, raw(prompt + "x"))
    assert after.cached > 0, "a recurrent memory goes back to a checkpoint"


@pytest.mark.parametrize("operation", [3, 200, 500])
@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_an_answer_after_a_cancelled_one_is_that_of_a_fresh_model(host, models, name, operation):
    engine = await open_toy(host, name)
    first = await cancelled(engine, raw(FIRST, limit=2000), operation, after=Token)
    known = tokens_of(engine, FIRST) + first.ids[:-1]
    follow = going_on([*known, *tokens_of(engine, SECOND[:40])])
    after = await answer(engine, follow)
    assert after.ids == await fresh_answer(models, name, follow)
    assert after.cached >= len(known) - 1, "what was written before is kept, of every kind of memory"


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_a_state_that_is_kept_after_a_cancelled_prefill_is_sound(host, models, name):
    engine = await open_toy(host, name)
    await answer(engine, raw(FIRST, limit=1))
    await cancelled(engine, raw(FIRST + SECOND), 30)
    await engine.close()
    engine = await open_toy(host, name)
    after = await answer(engine, raw(FIRST + SECOND))
    assert after.ids == await fresh_answer(models, name, raw(FIRST + SECOND))


@pytest.mark.parametrize("code", [-2, -3])
@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_a_step_that_failed_is_forgotten(host, models, name, code, monkeypatch):
    from workbench.engine.llama.native import api

    engine = await open_toy(host, name)
    await answer(engine, raw(FIRST, limit=1))
    decode = api.llama_decode
    with monkeypatch.context() as patch:
        patch.setattr(api, "llama_decode", lambda *call: decode(*call) or code)
        failed = await answer(engine, raw(FIRST + SECOND))
    assert isinstance(failed.end.error, EngineError)
    after = await answer(engine, raw(FIRST + SECOND))
    assert after.cached == 0
    assert after.ids == await fresh_answer(models, name, raw(FIRST + SECOND))


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_positions_that_disagree_are_forgotten(host, models, name):
    from workbench.engine.llama.native import api

    engine = await open_toy(host, name)
    await answer(engine, raw(FIRST, limit=1))
    # Something that the program does not know of was computed.
    api.llama_decode(engine._model.native, api.llama_batch_get_one((api.llama_token * 1)(5), 1))
    assert engine._model.slots[0].memory.save_state() is None
    after = await answer(engine, raw(FIRST + SECOND))
    assert after.cached == 0
    assert after.ids == await fresh_answer(models, name, raw(FIRST + SECOND))


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_a_continued_conversation_reuses_its_prefix(host, models, name):
    engine = await open_toy(host, name)
    first = await answer(engine, raw(FIRST))
    known = tokens_of(engine, FIRST) + first.ids[:-1]
    follow = going_on([*known, *tokens_of(engine, SECOND)])
    after = await answer(engine, follow)
    assert after.cached == len(known)
    assert after.ids == await fresh_answer(models, name, follow)


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_an_edited_prompt_is_answered_as_by_a_fresh_model(host, models, name):
    engine = await open_toy(host, name)
    await answer(engine, raw(FIRST + SECOND))
    edited = raw(FIRST + "x" + SECOND)
    after = await answer(engine, edited)
    assert after.ids == await fresh_answer(models, name, edited)
    if name == "llama":
        assert after.cached > 280


async def test_a_window_cache_that_no_longer_has_the_window_is_computed_again(host, models):
    engine = await open_toy(host, "gemma3")
    await answer(engine, raw(FIRST + SECOND, limit=200))
    edited = raw(FIRST[:80] + "x" + SECOND)
    after = await answer(engine, edited)
    assert after.cached == 0
    assert after.ids == await fresh_answer(models, "gemma3", edited)
    again = replace(edited, prompt=edited.prompt[:-1] + "y")
    near = await answer(engine, again)
    assert near.cached > 100
    assert near.ids == await fresh_answer(models, "gemma3", again)


@pytest.mark.parametrize("name", RECURRENT)
async def test_a_state_that_cannot_be_truncated_does_not_replace_a_prefix_that_can_be_continued(host, models, name):
    engine = await open_toy(host, name)
    await answer(engine, raw(FIRST + SECOND, limit=8))
    await engine.close()
    engine = await open_toy(host, name)
    await answer(engine, raw(FIRST, limit=0))
    held = len(engine._model.slots[0].tokens)
    # The kept state shares more, but goes on differently.
    after = await answer(engine, raw(FIRST + SECOND[:40] + "x"))
    assert after.cached == held
    assert after.ids == await fresh_answer(models, name, raw(FIRST + SECOND[:40] + "x"))


@pytest.mark.parametrize("damage", ["emptied", "shortened", "too long for the context"])
@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_a_state_that_is_refused_leaves_the_current_prefix(host, models, name, damage):
    engine = await open_toy(host, name)
    await answer(engine, raw(FIRST + SECOND, limit=1))
    await engine.close()
    engine = await open_toy(host, name)
    await answer(engine, raw(FIRST, limit=0))
    held = len(engine._model.slots[0].tokens)
    states = host.states
    ((key, state),) = states._states.items()
    if damage == "emptied":
        state = replace(state, data=type(state.data)())
    elif damage == "shortened":
        state = replace(state, data=(state.data._type_ * 64)(*state.data[:64]))
    else:
        engine._model.slots[0].memory.n_ctx = len(state.tokens)
    states._states[key] = state
    request = raw(FIRST + SECOND + "x" if damage != "too long for the context" else FIRST + SECOND[:-20], limit=4)
    after = await answer(engine, request)
    assert after.cached == held
    assert after.ids == await fresh_answer(models, name, request)


@pytest.mark.parametrize("name", sorted(RECURRENT))
async def test_choices_have_the_same_probability_in_any_order(host, models, name):
    engine = await open_toy(host, name)
    choices = (" the sea", " a man", " the sea")
    first, second, third = await engine.rank(Request(prompt=FIRST * 4), choices, CancelToken())
    other, _ = await engine.rank(Request(prompt=FIRST * 4), choices[1::-1], CancelToken())
    assert first == pytest.approx(third, abs=1e-3)
    assert second == pytest.approx(other, abs=1e-3)
    assert engine._model.slots[0].memory.checkpoints.all
