"""Speculative decoding: the text of every answer is that without drafts, whatever ends it and whatever is drafted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.llama.conftest import Answer, answer, chat, load, watching
from tests.engine.llama.toys import write_toy
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import ModelFileError, ModelLoadError
from workbench.core.events import Token
from workbench.core.models import ModelEntry
from workbench.core.parameters import Sampling
from workbench.core.recipe import Recipe
from workbench.core.speculation import SpeculationFigures
from workbench.engine.llama.engine import LlamaEngine
from workbench.engine.llama.host import LlamaHost
from workbench.engine.llama.ngram import NgramDrafter
from workbench.engine.llama.runtime import shared_runtime
from workbench.engine.llama.speculation import Speculation
from workbench.engine.llama.states import StateCache
from workbench.gguf.draft import vocabulary_problem
from workbench.gguf.reader import read_header

KINDS = ("llama", "gemma3", "mamba")
REPEATED = "the light, the sea, the light, the sea, the light, the sea, the light, the sea,"


def drafted(drafter: NgramDrafter, tokens, most: int) -> list[int]:
    steps = drafter.draft(None, tokens, most, CancelToken())
    with pytest.raises(StopIteration) as end:
        next(steps)
    return end.value.value


def expected_draft(tokens: list[int], size: int, most: int) -> list[int]:
    """The draft by the definition: a search backwards for the last `size` tokens."""
    for place in range(len(tokens) - 1, size - 1, -1):
        if tokens[place - size : place] == tokens[-size:]:
            found = tokens[place:]
            return [found[index % len(found)] for index in range(most)]
    return []


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 4), st.integers(1, 9), st.data())
def test_a_draft_is_what_followed_the_latest_occurrence(tokens, size, most, data) -> None:
    drafter, length = NgramDrafter(size), 0
    while length < len(tokens):
        length = data.draw(st.integers(length + 1, len(tokens)))
        part = tokens[:length]
        assert drafted(drafter, part, most) == expected_draft(part, size, most)


def test_figures_are_those_of_llama_cpp() -> None:
    found = SpeculationFigures().with_step(3, 3).with_step(4, 1).with_step(2, 0)
    assert (found.draft_n, found.draft_n_accepted, found.steps) == (9, 4, 3)
    assert found.acceptance == pytest.approx(4 / 9)
    assert found.mean_length == pytest.approx(1 + 4 / 3)
    assert found.by_position == pytest.approx((2 / 3, 1 / 3, 1 / 3, 0))
    assert (SpeculationFigures().acceptance, SpeculationFigures().mean_length) == (None, None)


@dataclass
class GuessedSlot:
    """A slot, its memory, its model and its drafter, in which the next token is a function of those before."""

    guesses: list[list[int]]
    tokens: list[int] = field(default_factory=lambda: [1, 2])
    output: int = -1
    n_ctx: int = 40

    def __post_init__(self) -> None:
        self.memory = self

    def sampled(self, place: int) -> int:
        """The token after the one at `place` of the sequence."""
        return hash(tuple(self.tokens[: place + 1])) % 3

    def cut(self, length: int) -> bool:
        del self.tokens[length:]
        return True

    def verify(self, slot, tokens) -> None:
        self.base = len(self.tokens)
        self.tokens += tokens

    def draft(self, job, tokens, most, cancel):
        yield
        # What is right for as long as the guess is 0, and wrong from there on.
        found, guess = list(tokens), self.guesses.pop(0) if self.guesses else []
        for wrong in guess[:most]:
            found.append((hash(tuple(found)) + wrong) % 3)
        return found[len(tokens) :]


def written(slot: GuessedSlot, speculation: Speculation, count: int) -> list[int]:
    """The loop of an answer of `count` tokens."""
    found: list[int] = []
    while len(found) < count:
        place = len(slot.tokens) - 1 if slot.output < 0 else slot.base + slot.output
        found.append(slot.sampled(place))
        if len(found) == count or speculation.follows(found[-1]):
            continue
        steps = speculation.verify(None, found[-1], count - len(found))
        try:
            while True:
                next(steps)
        except StopIteration as end:
            if not end.value:
                slot.tokens.append(found[-1])
    speculation.drop()
    return found


@given(st.lists(st.lists(st.integers(0, 2), max_size=9), max_size=20), st.integers(1, 8), st.integers(1, 30))
def test_any_drafts_give_what_no_drafts_give(guesses, most, count) -> None:
    slot, plain = GuessedSlot(guesses), GuessedSlot([])
    speculation = Speculation(slot, slot, slot, most, CancelToken())
    expected = written(plain, Speculation(plain, plain, plain, most, CancelToken()), count)
    assert written(slot, speculation, count) == expected
    assert slot.tokens == [1, 2, *expected][: len(slot.tokens)]
    assert len(slot.tokens) in (count + 1, count + 2)
    assert speculation.figures.draft_n_accepted <= speculation.figures.draft_n


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("speculation")
    return {name: str(write_toy(folder / f"{name}-F32.gguf", name)) for name in KINDS}


@pytest.fixture
def host(toys, short_demo):
    paths = toys | {"demo": str(short_demo)}
    return LlamaHost(lambda ref: ModelEntry(ref, ref, path=paths[ref]), state_budget_bytes=0)


@pytest.fixture(scope="module")
def loaded_drafting(short_demo):
    """The demo model that drafts, loaded once."""
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=str(short_demo)))
    yield asyncio.run(load(host, speculation="ngram", draft_tokens=8))
    asyncio.run(host.shutdown())


@pytest.fixture
async def pair(loaded_drafting, engine):
    """The demo model without drafts and with them, as after a load."""
    it = loaded_drafting
    drafting = LlamaEngine(it._model, it.info, it._template, it._controls, StateCache(0), "demo", lambda _: None)
    await shared_runtime.do(it._model.slots[0].forget)
    return engine, drafting


async def both(pair, request: Request, **more) -> tuple[Answer, Answer]:
    return await answer(pair[0], request, **more), await answer(pair[1], request, **more)


def figures(found: Answer) -> SpeculationFigures:
    assert found.metrics.speculation is not None
    return found.metrics.speculation


async def holds_what_was_written(engine) -> None:
    """Nothing that was drafted is left in the memory."""
    slot = engine._model.slots[0]
    assert await shared_runtime.do(lambda: slot.memory.length) == len(slot.tokens)


async def test_greedy_text_is_the_same_and_takes_fewer_steps(pair) -> None:
    request = Request(prompt=REPEATED, sampling=Sampling(temperature=0.0, num_predict=32))
    off, on = await both(pair, request)
    assert on.ids == off.ids
    assert off.metrics.speculation is None
    found = figures(on)
    assert found.draft_n >= found.draft_n_accepted > 10
    assert found.steps + found.draft_n_accepted <= 32
    assert len(found.by_position) <= 8
    await holds_what_was_written(pair[1])


async def test_samplers_and_ends_see_only_what_is_written(host) -> None:
    settings = {"num_ctx": 512, "num_thread": 1, "type_k": "f32", "type_v": "f32"}
    pair = [await load(host, "llama", speculation=speculation, **settings) for speculation in ("off", "ngram")]
    plain = (await answer(pair[0], Request(prompt=REPEATED, sampling=Sampling(temperature=0.0, num_predict=60)))).text
    for sampling in (
        Sampling(temperature=1.1, seed=7, top_k=4, num_predict=60),
        Sampling(temperature=0.0, repeat_penalty=1.3, num_predict=60),
        Sampling(temperature=0.0, num_predict=60, stop=(plain[30:34],)),
        Sampling(temperature=0.0, num_predict=3),
        Sampling(temperature=0.0, num_predict=60, format="json"),
    ):
        off, on = await both(pair, Request(prompt=REPEATED, sampling=sampling))
        assert (on.ids, on.text, on.end.reason) == (off.ids, off.text, off.end.reason)
        await holds_what_was_written(pair[1])
    await host.shutdown()


async def test_an_answer_ends_where_the_context_is_full(host) -> None:
    found = []
    for speculation in ("off", "ngram"):
        engine = await load(host, "llama", num_ctx=256, speculation=speculation)
        found.append(await answer(engine, Request(prompt=REPEATED * 2, sampling=Sampling(temperature=0.0))))
    off, on = found
    assert figures(on).steps > 0
    assert (on.ids, on.end.reason, off.end.reason) == (off.ids, "context", "context")
    await host.shutdown()


async def test_a_cancelled_answer_goes_on_as_any_other(pair) -> None:
    # An answer with a stop string has its events token by token.
    request = Request(prompt=REPEATED, sampling=Sampling(temperature=0.0, num_predict=20, stop=("never",)))
    whole = await answer(pair[0], request)
    cancel, seen = CancelToken(), []

    def note(event) -> None:
        seen.extend([event.id] if isinstance(event, Token) else [])
        if len(seen) == 12:
            cancel.set()

    with watching(note):
        stopped = await answer(pair[1], request, cancel)
    assert stopped.end.reason == "cancelled"
    assert stopped.ids == whole.ids[:12]
    await holds_what_was_written(pair[1])
    assert (await answer(pair[1], request)).ids == whole.ids


async def test_a_conversation_and_its_alternatives_are_the_same(pair) -> None:
    messages = (Message("user", REPEATED),)
    for text in ("Again.", "And again."):
        request = replace(chat("", limit=12), messages=messages, alternatives=3)
        off, on = await both(pair, request)
        assert on.text == off.text
        assert on.cached == off.cached
        chosen = [[each.choices[0].written.logprob for each in one.of(Token)] for one in (off, on)]
        assert chosen[1] == pytest.approx(chosen[0], abs=0.02)
        messages = (*messages, Message("assistant", on.text), Message("user", text))


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
async def test_memory_with_and_without_windows_takes_drafts_back(host, kind: str) -> None:
    found = []
    for speculation in ("off", "ngram"):
        settings = {"num_ctx": 2048, "num_thread": 1, "num_batch": 64, "type_k": "f32", "type_v": "f32"}
        engine = await load(host, kind, speculation=speculation, **settings)
        request = Request(prompt=REPEATED * 12, sampling=Sampling(temperature=1.2, top_k=3, seed=3, num_predict=120))
        found.append((await answer(engine, request), await answer(engine, replace(request, prompt=REPEATED * 9))))
    assert [each.ids for each in found[1]] == [each.ids for each in found[0]]
    assert figures(found[1][0]).steps > 0
    assert figures(found[1][0]).acceptance < 1
    await host.shutdown()


@pytest.mark.parametrize(
    ("kind", "more", "reason"),
    [("mamba", {}, "recurrent state"), ("llama", {"num_parallel": 2}, "num_parallel")],
)
async def test_where_drafts_cannot_be_verified_the_load_says_why(host, kind: str, more, reason: str) -> None:
    engine = await load(host, kind, speculation="ngram", **more)
    assert engine.info.settings.speculation == "off"
    assert [each for each in engine.info.warnings if reason in each and each.startswith("Speculation is off:")]
    found = await answer(engine, Request(prompt=REPEATED, sampling=Sampling(num_predict=4)))
    assert found.metrics.speculation is None
    await host.shutdown()


# Draft models


async def test_a_draft_model_changes_no_text_and_saves_steps(host, toys, monkeypatch) -> None:
    monkeypatch.setattr("workbench.engine.llama.draft_model.P_MIN", 0.0)
    settings = {"num_ctx": 512, "num_thread": 1, "draft_tokens": 4}
    pair = [await load(host, "llama", speculation=each, **settings) for each in ("off", toys["llama"])]
    engine, drafting = pair
    assert drafting.info.memory.total_bytes > 1.5 * engine.info.memory.total_bytes
    assert drafting.info.estimate.kv_bytes == drafting.info.memory.kv_bytes == 2 * engine.info.memory.kv_bytes
    for prompt, limit in ((REPEATED, 40), (REPEATED[:30] + "a word", 9)):
        off, on = await both(pair, Request(prompt=prompt, sampling=Sampling(temperature=0.0, num_predict=limit)))
        assert on.ids == off.ids
        # What a row of a larger batch rounds differently may change a token of a model without a favourite.
        assert figures(on).acceptance > 0.9
        assert 1 < figures(on).mean_length <= 5
        await holds_what_was_written(drafting)
    await host.shutdown()


async def test_a_model_that_guesses_badly_changes_no_text(host, toys, monkeypatch) -> None:
    monkeypatch.setattr("workbench.engine.llama.draft_model.P_MIN", 0.0)
    settings = {"num_ctx": 512, "num_thread": 1, "type_k": "f32", "type_v": "f32"}
    request = Request(prompt=REPEATED * 3, sampling=Sampling(temperature=1.0, seed=5, num_predict=60))
    pair = await load(host, "llama", **settings), await load(host, "llama", speculation=toys["gemma3"], **settings)
    off, on = await both(pair, request)
    assert on.ids == off.ids
    assert figures(on).acceptance < 1
    await host.shutdown()


def header_of(folder, name: str, **values):
    return read_header(write_toy(folder / f"{name}-F32.gguf", **values))


def test_a_draft_model_needs_the_same_vocabulary(tmp_path, short_demo) -> None:
    plain = header_of(tmp_path, "plain", marks={"<a>": 1})
    assert vocabulary_problem(plain, header_of(tmp_path, "longer", marks={"<a>": 1, "<b>": 1})) == ""
    more = header_of(tmp_path, "more", marks={f"<{number}>": 1 for number in range(200)})
    assert "vocabulary has" in vocabulary_problem(plain, more)
    other = vocabulary_problem(plain, header_of(tmp_path, "other", marks={"<b>": 1}))
    assert other.endswith("is '<b>', that of the model '<a>'")
    ends = header_of(tmp_path, "ends", marks={"<a>": 1}, ends=True)
    assert vocabulary_problem(plain, ends) == "one of the two adds the token BOS, the other does not"


async def test_a_draft_model_that_cannot_draft_is_refused(host, toys, short_demo) -> None:
    for path, reason in ((toys["mamba"], "recurrent state"), (str(short_demo), "vocabulary")):
        with pytest.raises(ModelLoadError, match=f"cannot draft for this model: .*{reason}"):
            await load(host, "llama", speculation=path)
    with pytest.raises(ModelFileError):
        await load(host, "llama", speculation=toys["llama"] + ".missing")


async def test_a_draft_that_only_a_modelfile_names_is_left_out(toys) -> None:
    recipe = Recipe(parameters=(("speculation", toys["mamba"]),))
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=toys["llama"], recipe=recipe))
    engine = await load(host, "llama", speculation=toys["mamba"])
    assert engine.info.settings.speculation == "off"
    assert [each for each in engine.info.warnings if each.startswith("Speculation is off: ") and "recurrent" in each]
    await host.shutdown()
