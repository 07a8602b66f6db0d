"""Checkpoints: what is kept of memory that cannot be cut, and that no answer depends on it."""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.llama.conftest import Answer, answer, chat, load, watching
from tests.engine.llama.toys import ARCHITECTURES, FURTHER, RECURRENT, write_toy
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.events import PromptProgress, Token
from workbench.core.models import ModelEntry
from workbench.core.parameters import Sampling
from workbench.engine.llama.checkpoints import NEWEST, Checkpoint, CheckpointLimits, CheckpointPool, Checkpoints
from workbench.engine.llama.host import LlamaHost

ZOO = (*ARCHITECTURES, *FURTHER)
LONG = "The keeper of the light went down to the sea and counted the waves. "
SYSTEM = "You keep a light. " * 8
OFF = CheckpointLimits(0, 0)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("zoo")
    return {name: str(write_toy(folder / f"{number}-F32.gguf", name)) for number, name in enumerate(ZOO)}


def host_of(models: dict[str, str], **values) -> LlamaHost:
    return LlamaHost(lambda ref: ModelEntry(ref, ref, path=models[ref]), **values)


async def open_toy(host: LlamaHost, name: str, **settings):
    values = {"num_ctx": 4096, "num_batch": 64, "num_thread": 1, "type_k": "f32", "type_v": "f32", **settings}
    return await load(host, name, **values)


def asked(*messages: Message, limit: int = 8) -> Request:
    return Request(messages=messages, sampling=Sampling(num_predict=limit, temperature=0.0))


@dataclass
class Talk:
    """A conversation with one model, of which a second engine computes every answer from the beginning."""

    engine: object
    fresh: object
    messages: tuple[Message, ...] = (Message("system", SYSTEM),)

    async def ask(self, text: str) -> Answer:
        self.messages = (*self.messages, Message("user", text))
        found = await self.answer()
        self.messages = (*self.messages, Message("assistant", found.text))
        return found

    async def answer(self) -> Answer:
        """The answer to the conversation as it stands, which does not depend on what was known."""
        request = asked(*self.messages)
        found = await answer(self.engine, request)
        self.fresh._model.slots[0].forget()
        expected = await answer(self.fresh, request)
        assert found.ids == expected.ids
        return found


def computed(found: Answer) -> int:
    return found.metrics.prompt_tokens - found.cached


async def talk(host: LlamaHost, models: dict[str, str], name: str, **settings) -> Talk:
    fresh = host_of(models, state_budget_bytes=0, checkpoints=OFF)
    return Talk(await open_toy(host, name, **settings), await open_toy(fresh, name, **settings))


@pytest.mark.parametrize("name", ZOO)
async def test_regenerate_edit_and_branches_compute_only_what_is_new(models, name):
    host = host_of(models)
    one = await talk(host, models, name)
    for number in range(3):
        await one.ask(f"{number} {LONG * 3}")
    before = one.messages
    # Regenerate: what follows the question in the prompt.
    one.messages = before[:-1]
    again = await one.answer()
    assert computed(again) <= 40
    assert again.metrics.reuse.change is None
    # Edit the last question: it begins in the same way.
    one.messages = (*before[:-2], Message("user", f"2 {LONG * 2} And then?"))
    edited = await one.answer()
    assert computed(edited) <= len(LONG) * 3
    # So far back, the window cache still has its window.
    assert edited.metrics.reuse.source == ("context" if name in {"llama", "gemma3"} else "checkpoint")
    assert edited.metrics.reuse.change.cause == "an edited message"
    # The first question of all: the system prompt is known.
    one.messages = (before[0], Message("user", LONG))
    assert (await one.answer()).cached >= 140
    # Back to the end of the first branch.
    one.messages = (*before, Message("user", "Go on."))
    walked = await one.answer()
    assert walked.metrics.reuse.source == "saved state"
    assert computed(walked) <= 60
    # Away and back, then regenerate.
    await one.engine.close()
    one.engine = await open_toy(host, name)
    back = await one.answer()
    assert back.metrics.reuse.source == "saved state"
    assert computed(back) <= 40
    await host.shutdown()


@pytest.mark.parametrize("name", ZOO)
async def test_no_order_of_steps_changes_an_answer(models, name):
    """Questions, edits, branches, cancelled work and reloads in an order drawn at random, in a small context cache."""
    host = host_of(models, state_budget_bytes=2**22, checkpoints=CheckpointLimits(4, 2**21))
    one, draw = await talk(host, models, name), random.Random(name)
    for _ in range(10):
        questions = [n for n, each in enumerate(one.messages) if each.role == "user"]
        match draw.choice(("ask", "ask", "regenerate", "edit", "back", "cancel prefill", "cancel", "reload")):
            case "regenerate" if questions:
                one.messages = one.messages[: questions[-1] + 1]
                await one.answer()
            case "edit" if questions:
                place = draw.choice(questions)
                one.messages = (*one.messages[:place], Message("user", LONG[: draw.randrange(1, 60)] + "x"))
                await one.answer()
            case "back" if questions:
                one.messages = one.messages[: draw.choice(questions)]
                await one.ask(f"Another {draw.random()}")
            case "cancel prefill" | "cancel" as what:
                await cancelled(one, PromptProgress if what == "cancel prefill" else Token, draw.randrange(1, 5))
            case "reload":
                await one.engine.close()
                one.engine = await open_toy(host, name)
            case _:
                await one.ask(LONG * draw.randrange(1, 6))
        if one.messages[-1].role == "user":
            one.messages = one.messages[:-1]
    memory = one.engine._model.slots[0].memory
    assert len(memory.checkpoints.all) <= 4
    assert memory.checkpoints.size_bytes <= 2**21
    assert host.states.size_bytes <= 2**22
    await host.shutdown()


async def cancelled(one: Talk, kind: type, count: int) -> None:
    """An answer that is cancelled after some events of a kind."""
    cancel, seen = CancelToken(), 0

    def note(event: object) -> None:
        nonlocal seen
        seen += isinstance(event, kind)
        if seen == count:
            cancel.set()

    with watching(note):
        await answer(one.engine, asked(*one.messages, Message("user", LONG * 4), limit=50), cancel)


@pytest.mark.parametrize("limits", [CheckpointLimits(0, 2**30), CheckpointLimits(32, 0), CheckpointLimits(32, 500)])
async def test_without_a_budget_everything_is_computed_again_and_the_reason_is_known(models, limits):
    host = host_of(models, checkpoints=limits)
    one = await talk(host, models, "lfm2")
    await one.ask(LONG)
    one.messages = one.messages[:-1]
    again = await one.answer()
    assert again.cached == 0
    assert one.engine._model.slots[0].memory.checkpoints.all == ()
    expected = "checkpoint_mb" if limits.size_bytes == 500 else "checkpoints are off"
    assert expected in again.metrics.reuse.lost
    await host.shutdown()


async def test_a_full_window_cache_needs_no_checkpoints(models):
    host = host_of(models)
    one = await talk(host, models, "gemma3", swa_full=True)
    window = await open_toy(host, "gemma3")
    assert one.engine.info.memory.kv_bytes > window.info.memory.kv_bytes
    for _ in range(3):
        await one.ask(LONG * 3)
    one.messages = (*one.messages[:2], *one.messages[2:3])
    assert computed(await one.answer()) <= 40
    assert one.engine._model.slots[0].memory.checkpoints.all == ()
    await host.shutdown()


async def test_a_checkpoint_that_is_refused_is_said_once(models):
    host = host_of(models)
    one = await talk(host, models, "jamba")
    notices = []
    for _ in range(2):
        await one.ask(LONG * 3)
        checkpoints = one.engine._model.slots[0].memory.checkpoints
        checkpoints.replace(replace(each, data=each.data._type_.__mul__(64)()) for each in checkpoints.all)
        one.messages = one.messages[:-1]
        again = await one.answer()
        assert again.cached == 0
        notices.append(again.end.notice)
        one.messages = (*one.messages, Message("assistant", again.text))
    assert "refused a checkpoint" in notices[0]
    assert notices[1] == ""
    await host.shutdown()


async def test_a_checkpoint_without_memory_is_left_out(models, monkeypatch):
    def short(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    host = host_of(models)
    one = await talk(host, models, "jamba")
    monkeypatch.setattr("workbench.engine.llama.states.mmap.mmap", short)
    first = await one.ask(LONG * 3)
    assert "no memory" in first.end.notice
    assert one.engine._model.slots[0].memory.checkpoints.all == ()
    await host.shutdown()


CAUSES = {
    "a date or time in the system prompt": ("It is Monday, 09:41.", "It is Monday, 10:15.", "Hello"),
    "another system prompt": ("Be kind to all.", "Be terse to all.", "Hello"),
    "an edited message": ("Be kind.", "Be kind.", "Hallo"),
}


@pytest.mark.parametrize("cause", CAUSES)
async def test_the_cause_of_a_change_is_known(models, cause):
    first, second, question = CAUSES[cause]
    host = host_of(models)
    engine = await open_toy(host, "lfm2")
    await answer(engine, asked(Message("system", first), Message("user", "Hello")))
    after = await answer(engine, asked(Message("system", second), Message("user", question)))
    change = after.metrics.reuse.change
    assert change.cause == cause
    assert change.before != change.after
    assert str(change).startswith(f"token {change.at + 1} is {change.after!r} instead of {change.before!r}")
    await host.shutdown()


async def test_dropped_turns_are_the_cause(models):
    host = host_of(models)
    engine = await open_toy(host, "llama", num_ctx=512)
    turns = [Message(role, LONG) for _ in range(5) for role in ("user", "assistant")]
    for count in (3, 9):
        request = replace(asked(*turns[:count]), when_context_full="drop_oldest")
        after = await answer(engine, request)
    assert after.metrics.reuse.change.cause.startswith("a dropped turn")
    await host.shutdown()


async def test_the_memory_of_checkpoints_and_states_is_counted(models):
    host = host_of(models)
    engine = await open_toy(host, "jamba")
    first = await answer(engine, chat(LONG * 3))
    held = engine._model.slots[0].memory.checkpoints.size_bytes
    assert first.metrics.reuse.kept_bytes == held > 0
    other = await answer(engine, chat("x" + LONG * 3))
    assert (
        other.metrics.reuse.kept_bytes == host.states.size_bytes + engine._model.slots[0].memory.checkpoints.size_bytes
    )
    assert host.states.size_bytes > held
    await host.shutdown()


def test_every_kind_of_memory_is_in_the_zoo():
    assert set(RECURRENT) < set(ZOO)


@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 400)), max_size=40), st.integers(1, 6))
def test_the_bounds_hold_and_the_newest_stay(taken, count):
    checkpoints = Checkpoints(CheckpointPool(CheckpointLimits(count, 1000)))
    lengths = set()
    for length, size in sorted(taken):
        checkpoints.add(Checkpoint(length, bytes(size)))
        lengths.add(length)
        kept = [each.length for each in checkpoints.all]
        assert kept == sorted(set(kept))
        assert len(kept) <= count
        assert checkpoints.size_bytes <= 1000
        assert kept[-1] == length
        if count >= NEWEST and len(lengths) >= NEWEST:
            assert set(sorted(lengths)[-NEWEST:]) <= set(kept)
        assert checkpoints.newest(length - 1) is None or checkpoints.newest(length - 1).length < length


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 10_000), st.integers(1, 400)), max_size=40))
def test_the_checkpoints_of_all_models_share_one_budget(taken):
    pool = CheckpointPool(CheckpointLimits(8, 1000))
    models = [Checkpoints(pool) for _ in range(3)]
    for model, length, size in taken:
        before = [each.size_bytes for each in models]
        models[model].add(Checkpoint(length, bytes(size)))
        assert pool.size_bytes == sum(each.size_bytes for each in models) <= 1000
        # One that holds no more than its share loses nothing to the others.
        for index, (held, each) in enumerate(zip(before, models, strict=True)):
            if index != model and held <= 1000 // 3:
                assert each.size_bytes == held
    models[0].close()
    assert pool.size_bytes == models[1].size_bytes + models[2].size_bytes


async def test_lanes_share_the_memory_of_checkpoints(models):
    host = host_of(models, checkpoints=CheckpointLimits(32, 2**20))
    lanes = [await open_toy(host, name) for name in ("jamba", "jamba", "lfm2")]
    for number in range(3):
        for lane in lanes:
            await answer(lane, chat(f"{number} {LONG * 6}", limit=1))
    held = [lane._model.slots[0].memory.checkpoints.size_bytes for lane in lanes]
    assert all(held)
    assert sum(held) == host._checkpoints.size_bytes <= 2**20
    await lanes[0].close()
    assert host._checkpoints.size_bytes == sum(held[1:])
    await host.shutdown()


def test_dense_and_old_checkpoints_go_first():
    checkpoints = Checkpoints(CheckpointPool(CheckpointLimits(8, 2**20)))
    for length in range(100, 6500, 100):
        checkpoints.add(Checkpoint(length, bytes(10)))
    kept = [each.length for each in checkpoints.all]
    gaps = [after - before for before, after in zip([0, *kept], kept, strict=False)]
    assert kept[-2:] == [6300, 6400]
    assert gaps[0] > 3 * gaps[-2], "the distances grow towards the beginning"
