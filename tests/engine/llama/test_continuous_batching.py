"""Answers of one model that are computed together: each is the one that it would be alone."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from tests.engine.llama.conftest import answer, held_back, load
from tests.engine.llama.toys import ARCHITECTURES, write_toy
from tests.lab.evals.fake_tools import FakeEvalTools
from tests.lab.evals.test_run import Adviser
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import ContextFullError, EngineError
from workbench.core.events import Token
from workbench.core.parameters import LoadSettings, Sampling
from workbench.engine.llama.continuous_batching import BatchedAnswer, Round
from workbench.engine.llama.runtime import Job, shared_runtime
from workbench.engine.llama.slot import Slot
from workbench.lab.evals.pack import Check, EvalCase, EvalPack
from workbench.lab.evals.run import EvalPlan, EvalRun
from workbench.lab.race.lane import LaneSpec

TEXTS = [f"The keeper of light number {number} went down to the sea. " * (1 + number) for number in range(5)]


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("together")
    return {name: str(write_toy(folder / f"{name}-F32.gguf", name)) for name in ARCHITECTURES}


@pytest.fixture
def models(toys) -> dict[str, str]:
    return toys


async def open_toy(host, slots: int, name: str = "llama", **settings):
    settings = {"num_ctx": 1024, "num_batch": 128, "num_thread": 1, "type_k": "f32", "type_v": "f32", **settings}
    return await load(host, name, num_parallel=slots, **settings)


def raw(prompt: str, limit: int = 16, **sampling) -> Request:
    return Request(prompt=prompt, sampling=Sampling(num_predict=limit, **{"temperature": 0.0, **sampling}))


async def all_of(engine, *requests: Request):
    return await asyncio.gather(*(answer(engine, request) for request in requests))


class Lanes:
    """Answers without a model: each wants its prompt computed, then one token after the other."""

    step_tokens = 64

    def __init__(self, slots: int) -> None:
        self.slots = [object()] * slots
        self.computed: list[dict[str, int]] = []
        self.round = Round(self)
        self._names: dict[int, str] = {}

    def compute(self, parts) -> None:
        self.computed.append({slot: len(tokens) for slot, tokens in parts})

    def add(self, name: str, prompt: int, limit: int, *, background: bool) -> None:
        def steps(_job):
            done = 0
            while done < prompt:
                yield name, (0,) * (prompt - done)
                done += self.computed[-1][name]
            for _ in range(limit):
                yield name, (0,)

        assert self.round.add(BatchedAnswer(steps, background=background))


def test_the_person_at_the_screen_has_a_slot_and_the_room_of_the_next_batch():
    lanes = Lanes(3)
    for number in range(4):
        lanes.add(f"served {number}", 100, 50, background=True)
    job = Job(lanes.round.steps)
    for _ in range(2):
        assert job.advance()
    assert {name for batch in lanes.computed for name in batch} <= {"served 0", "served 1"}
    seen = len(lanes.computed)
    lanes.add("chat", 40, 2, background=False)
    job.advance()
    # The next batch has its whole prompt, and no other one.
    assert lanes.computed[seen]["chat"] == 40
    assert all(count == 1 for name, count in lanes.computed[seen].items() if name != "chat")
    while job.advance():
        pass
    assert {name for batch in lanes.computed for name in batch} == {"chat", *(f"served {n}" for n in range(4))}


def test_the_person_at_the_screen_goes_before_those_who_wait():
    lanes = Lanes(1)
    for name in ("first", "second"):
        lanes.add(name, 1, 3, background=True)
    job = Job(lanes.round.steps)
    job.advance()
    lanes.add("chat", 1, 3, background=False)
    while job.advance():
        pass
    order = list(dict.fromkeys(name for batch in lanes.computed for name in batch))
    assert order == ["first", "chat", "second"]


async def test_tokens_are_counted_while_an_answer_is_written(host):
    engine, began, cancel = await open_toy(host, 2), asyncio.Event(), CancelToken()
    with held_back():
        running = asyncio.create_task(answer(engine, raw(TEXTS[0], limit=800), cancel, on_event=lambda _: began.set()))
        await began.wait()
        assert len(await engine.tokens(raw("Hello"))) > 0
        assert not running.done()
        cancel.set()
        await running


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_each_answer_is_the_one_that_it_is_alone(host, name):
    requests = [raw(text, limit=12 + place) for place, text in enumerate(TEXTS)]
    alone = await open_toy(host, 1, name)
    expected = [(await answer(alone, request)).ids for request in requests]
    together = await open_toy(host, 3, name)
    found = await all_of(together, *requests)
    assert [each.ids for each in found] == expected
    assert [each.end.reason for each in found] == ["length"] * len(requests)


async def test_a_short_answer_joins_and_ends_while_a_long_one_is_written(host):
    engine = await open_toy(host, 2)
    began, ended = asyncio.Event(), []

    def note(event):
        if isinstance(event, Token):
            began.set()

    async def long():
        await answer(engine, raw(TEXTS[0], limit=800), on_event=note)
        ended.append("long")

    running = asyncio.create_task(long())
    await began.wait()
    await answer(engine, raw(TEXTS[1], limit=2))
    ended.append("short")
    await running
    assert ended == ["short", "long"]


async def test_sequences_are_in_order_in_a_batch_whoever_came_first(host):
    # llama.cpp splits a batch wherever the next sequence is not the one with the next number.
    model = (await open_toy(host, 4))._model

    def outputs() -> list[int]:
        model.compute([(slot, [5, 6]) for slot in reversed(model.slots)])
        return [slot.output for slot in model.slots]

    assert await shared_runtime.do(outputs) == [1, 3, 5, 7]


async def test_the_cancelled_one_leaves_and_the_others_go_on(host):
    alone = await open_toy(host, 1)
    expected = (await answer(alone, raw(TEXTS[1], limit=60))).ids
    engine, cancel = await open_toy(host, 2), CancelToken()
    cancelled = asyncio.create_task(answer(engine, raw(TEXTS[0], limit=900), cancel, lambda _: cancel.set()))
    whole = await answer(engine, raw(TEXTS[1], limit=60))
    assert (await cancelled).end.reason == "cancelled"
    assert whole.ids == expected


async def test_one_that_is_cancelled_in_the_turn_of_another_model_computes_nothing_more(host, monkeypatch):
    monkeypatch.setattr(shared_runtime, "_turn_ns", 0)
    one, other, cancel = await open_toy(host, 1), await open_toy(host, 1), CancelToken()
    before, after = [], []

    def of_one(parts, compute=one._model.compute):
        (after if cancel.is_set else before).append(parts)
        compute(parts)

    def of_other(parts, compute=other._model.compute):
        if len(before) > 9:
            cancel.set()
        compute(parts)

    monkeypatch.setattr(one._model, "compute", of_one)
    monkeypatch.setattr(other._model, "compute", of_other)
    tasks = answer(one, raw(TEXTS[0], limit=900), cancel), answer(other, raw(TEXTS[1], limit=300))
    cancelled, whole = await asyncio.gather(*tasks)
    assert (cancelled.end.reason, whole.end.reason) == ("cancelled", "length")
    assert after == []


async def test_a_waiting_answer_that_is_cancelled_ends_at_once(host):
    engine, cancels = await open_toy(host, 2), [CancelToken() for _ in range(3)]
    with held_back():
        tasks = [
            asyncio.create_task(answer(engine, raw(text, limit=900), each))
            for text, each in zip(TEXTS, cancels, strict=False)
        ]
        await asyncio.sleep(0)
        cancels[2].set()
        assert (await tasks[2]).end.reason == "cancelled"
        assert not tasks[0].done()
        for each in cancels:
            each.set()
        await asyncio.gather(*tasks)


async def test_each_conversation_finds_its_own_prefix_again(host):
    engine = await open_toy(host, 2)
    first = await all_of(engine, raw(TEXTS[3]), raw(TEXTS[4]))
    assert [each.cached for each in first] == [0, 0]
    for text in (TEXTS[3], TEXTS[4], TEXTS[3]):
        again = await answer(engine, raw(text + "And then?"))
        assert again.cached > 100


async def test_a_prompt_that_fails_fails_alone(host):
    engine = await open_toy(host, 2)
    good, bad = await all_of(engine, raw(TEXTS[0]), raw("word " * 2000))
    assert good.end.reason == "length"
    assert isinstance(bad.end.error, ContextFullError)


async def test_a_step_that_fails_ends_all_that_were_in_it_and_the_next_answers_are_right(host, monkeypatch):
    from workbench.engine.llama.native import api

    engine = await open_toy(host, 2)
    expected = [each.ids for each in await all_of(engine, raw(TEXTS[0]), raw(TEXTS[1]))]
    decode, calls = api.llama_decode, []
    with monkeypatch.context() as patch:
        patch.setattr(api, "llama_decode", lambda *call: calls.append(0) or decode(*call) or -3 * (len(calls) > 4))
        failed = await all_of(engine, raw(TEXTS[2], limit=40), raw(TEXTS[3], limit=40))
    assert all(isinstance(each.end.error, EngineError) for each in failed)
    assert [each.ids for each in await all_of(engine, raw(TEXTS[0]), raw(TEXTS[1]))] == expected


async def test_other_work_waits_for_the_answers_and_new_answers_wait_for_it(host, monkeypatch):
    engine, scored = await open_toy(host, 2), []
    logprobs = Slot.logprobs

    def timed(*arguments):
        scored.append(time.perf_counter_ns())
        return logprobs(*arguments)

    monkeypatch.setattr(Slot, "logprobs", timed)
    first, _, second = await asyncio.gather(
        answer(engine, raw(TEXTS[0], limit=100)),
        engine.score(engine._model.vocabulary.tokenize_raw(TEXTS[1])),
        answer(engine, raw(TEXTS[2], limit=2)),
    )
    tokens = [event.at_ns for event in second.events if isinstance(event, Token)]
    assert first.end.at_ns < scored[0]
    assert scored[-1] < tokens[0]


async def test_closing_ends_all_of_them(host):
    engine = await open_toy(host, 2)
    with held_back():
        tasks = [asyncio.create_task(answer(engine, raw(text, limit=900))) for text in TEXTS]
        await asyncio.sleep(0)
        await engine.close()
    for task in tasks:
        with contextlib.suppress(EngineError):
            assert (await task).end.reason == "cancelled"


async def test_a_drawn_answer_is_repeated_by_its_seed_beside_others(host):
    engine = await open_toy(host, 3)
    request = raw(TEXTS[0], temperature=1.2, seed=7, limit=30)
    first, _, _ = await all_of(engine, request, raw(TEXTS[1]), raw(TEXTS[2], limit=40))
    _, again = await all_of(engine, raw(TEXTS[3], limit=50), request)
    assert first.ids == again.ids


async def test_the_samples_of_an_evaluation_are_computed_together_with_the_same_texts(host, monkeypatch):
    """The reference asks for one after the other."""
    checks = (Check("contains", "e"),)
    pack = EvalPack("p", tuple(EvalCase(text, (Message("user", text),), checks, raw=True) for text in TEXTS[:2]))
    load = LoadSettings(num_ctx=512, num_thread=1, type_k="f32", type_v="f32")
    spec = LaneSpec("llama", "toy", load, Sampling(temperature=1.2, num_predict=12))
    found = []
    for at_once in (1, 4):
        monkeypatch.setattr("workbench.lab.evals.ask.AT_ONCE", at_once)
        run = EvalRun(EvalPlan(pack, (spec,), samples=5), FakeEvalTools(), host, Adviser())
        await run.run()
        assert run.failures == []
        found.append([[sample.text for sample in result.answers[0]] for result in run.record.results])
    assert found[0] == found[1]
    assert len(set(found[0][0])) > 1


async def test_a_chat_template_and_a_long_prompt_in_several_steps(host):
    engine = await open_toy(host, 2, num_batch=32)
    chat = Request(messages=(Message("user", TEXTS[4]),), sampling=Sampling(num_predict=8, temperature=0.0))
    alone = (await answer(engine, chat)).ids
    running = asyncio.create_task(answer(engine, raw(TEXTS[0], limit=200)))
    assert (await answer(engine, chat)).ids == alone
    assert (await running).end.reason == "length"


@pytest.mark.parametrize("name", ARCHITECTURES)
async def test_the_caches_of_all_are_counted(host, name):
    engine = await open_toy(host, 3, name)
    assert engine.info.memory.kv_bytes == pytest.approx(engine.info.estimate.kv_bytes, abs=8192)
