from __future__ import annotations

import asyncio
import errno
import json
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from tests.engine.llama.conftest import answer, chat, load, watching
from tests.gguf.conftest import write_model
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import ContextFullError, EngineError, TemplateError
from workbench.core.events import Failed, Finished, PromptProgress, ThreadsUsed, Token
from workbench.core.parameters import Sampling
from workbench.engine.llama.host import NO_TEMPLATE, LlamaHost
from workbench.engine.llama.runtime import shared_runtime
from workbench.engine.llama.states import StateCache
from workbench.engine.llama.thread_pace import ThreadPace

PROMPTS = [
    "The capital of France is",
    "def fibonacci(n):\n",
    "Once upon a time there was",
    "1, 2, 3, 4,",
]

REFERENCE = """
import json, sys
from llama_cpp import Llama
path, prompts = sys.argv[1], json.loads(sys.argv[2])
model = Llama(path, n_ctx=2048, n_batch=512, n_threads=2, n_threads_batch=2, flash_attn=True, verbose=False)
texts = []
for prompt in prompts:
    model.reset()
    done = model.create_completion(prompt, max_tokens=12, temperature=0.0, repeat_penalty=1.0)
    texts.append(done["choices"][0]["text"])
print(json.dumps(texts))
"""

STORY = "Tell me a long story about a lighthouse keeper and the sea."


def raw(prompt: str, limit: int = 64, **sampling) -> Request:
    return Request(prompt=prompt, sampling=Sampling(num_predict=limit, **{"temperature": 0.0, **sampling}))


async def test_greedy_text_is_that_of_llama_cpp_python(host, models, demo_path):
    command = [sys.executable, "-c", REFERENCE, str(demo_path), json.dumps(PROMPTS)]
    expected = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    models["full"] = str(demo_path)
    engine = await load(host, "full", num_thread=2)
    for prompt, text in zip(PROMPTS, expected, strict=True):
        # A prompt that shares nothing empties the context, so that both compute the same batches.
        await answer(engine, Request(tokens=(0,), sampling=Sampling(num_predict=0)))
        assert (await answer(engine, raw(prompt, limit=12))).text == text


async def test_an_answer_carries_its_figures(engine):
    result = await answer(engine, chat("What is the capital of France?", limit=12))
    metrics, usage = result.metrics, result.end.usage
    assert result.end.reason in {"stop", "length"}
    assert usage.completion_tokens == len(result.of(Token)) == metrics.completion_tokens
    assert usage.prompt_tokens == result.of(PromptProgress)[-1].total == metrics.prompt_tokens
    assert metrics.ttft_ms > 0
    assert metrics.prefill_tps > 0
    assert metrics.decode_tps > 0
    assert metrics.source == "engine"
    lanes = [event.lane_ns for event in result.events if not isinstance(event, ThreadsUsed)]
    assert lanes == sorted(lanes)
    assert engine.info.backend == "CPU"
    assert engine.info.memory.weights_bytes > 35_000_000
    assert engine.info.memory.kv_bytes == 2048 * engine.info.layers * 2 * 3 * 64 * 2


async def test_a_seed_repeats_and_another_does_not(engine):
    def ask(seed: int) -> Request:
        return chat(STORY, temperature=1.5, seed=seed, limit=12)

    first, again, other = [await answer(engine, ask(seed)) for seed in (7, 7, 8)]
    assert first.ids == again.ids
    assert first.ids != other.ids
    assert first.end.seed == 7


async def test_a_drawn_seed_is_reported_and_repeats(engine):
    first = await answer(engine, chat(STORY, temperature=1.5, limit=12))
    again = await answer(engine, chat(STORY, temperature=1.5, limit=12, seed=first.end.seed))
    assert first.ids == again.ids


async def same_or_a_tie(engine, prompt: str, first: list[int], second: list[int]) -> bool:
    """Whether two greedy answers are equal, or part where two tokens are as good as equally likely.

    Prompts computed in batches of other sizes go through other kernels, whose rounding differs.
    """
    if first == second:
        return True
    place = next(index for index, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    head = engine._model.vocabulary.tokenize_raw(prompt) + first[:place]
    scores = [(await engine.score([*head, token]))[-1] for token in (first[place], second[place])]
    return abs(scores[0] - scores[1]) < 0.1


async def test_a_second_message_reuses_the_cache_and_says_the_same(engine):
    first = await answer(engine, chat(STORY))
    follow = chat(STORY, first.text, "And then?")
    reused = await answer(engine, follow)
    assert reused.cached > 20
    assert reused.end.usage.cached_tokens == reused.cached
    assert reused.metrics.cached_tokens == reused.cached
    await answer(engine, raw("Something else entirely", limit=1))
    back = await answer(engine, follow)
    assert back.cached == back.of(PromptProgress)[-1].total - 1, "the branch that was left is known"
    assert back.ids == reused.ids
    engine._model.slots[0].forget()
    engine._slots._free[0]._states = StateCache(0)
    fresh = await answer(engine, follow)
    assert fresh.cached == 0
    prompt = engine._template.render(follow.messages, CancelToken())
    assert await same_or_a_tie(engine, prompt, reused.ids, fresh.ids)


async def test_the_same_prompt_again_computes_one_token(engine):
    await answer(engine, raw(STORY, limit=4))
    again = await answer(engine, raw(STORY, limit=4))
    progress = again.of(PromptProgress)
    assert progress[0].cached == progress[-1].total - 1


async def test_swapping_away_and_back_continues_as_if_one_had_stayed(host, models, variants):
    models.update(variants)
    engine = await load(host)
    first = await answer(engine, chat(STORY))
    follow = chat(STORY, first.text, "Go on.", limit=48)
    stayed = await answer(engine, follow)
    await engine.close()

    engine = await load(host)
    await answer(engine, raw("Unrelated", limit=1))
    await engine.close()
    engine = await load(host)
    first_again = await answer(engine, chat(STORY))
    await engine.close()
    other = await load(host, "Q8_0")
    there = await answer(other, follow)
    assert there.cached == 0
    await other.close()
    engine = await load(host)
    back = await answer(engine, follow)
    assert first_again.cached > 20
    assert back.cached >= stayed.cached
    assert await same_or_a_tie(engine, engine._template.render(follow.messages, CancelToken()), stayed.ids, back.ids)


async def test_a_swap_where_memory_is_short_forgets_and_frees_the_model(host, monkeypatch):
    def short(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    engine = await load(host)
    await answer(engine, chat(STORY, limit=1))
    with monkeypatch.context() as patch:
        patch.setattr("workbench.engine.llama.states.mmap.mmap", short)
        await engine.close()
    assert engine._model.native is None
    assert host.states.size_bytes == 0


async def test_a_swap_forgets_where_no_memory_is_budgeted(models):
    host = LlamaHost(lambda ref: _entry(ref, models), state_budget_bytes=0)
    engine = await load(host)
    await answer(engine, chat(STORY, limit=1))
    await engine.close()
    engine = await load(host)
    assert (await answer(engine, chat(STORY, limit=1))).cached == 0
    await host.shutdown()


def _entry(ref, models):
    from workbench.core.models import ModelEntry

    return ModelEntry(ref, ref, path=models[ref])


async def test_a_stop_string_ends_the_answer_and_is_not_in_it(engine):
    free = await answer(engine, raw(PROMPTS[3], limit=24))
    stop = free.text[9:14]
    stopped = await answer(engine, raw(PROMPTS[3], limit=24, stop=(stop, "never this")))
    assert stopped.end.reason == "stop"
    assert stopped.text == free.text[: free.text.index(stop)]


async def test_characters_over_several_tokens_come_whole(host, models, demo_path):
    models["full"] = str(demo_path)
    result = await answer(await load(host, "full"), raw("Emoji: 😀 😃 😄 😁 😆 😅", limit=12))
    assert "\ufffd" not in result.text
    assert any(ord(character) > 0x1F000 for character in result.text)


async def test_a_limit_of_zero_only_fills_the_cache(engine):
    result = await answer(engine, raw(STORY, limit=0))
    assert (result.end.reason, result.text) == ("length", "")
    assert (await answer(engine, raw(STORY, limit=1))).cached > 5


@pytest.mark.parametrize("sampling", [{"repeat_penalty": 1.5}, {"presence_penalty": 2.0}, {"frequency_penalty": 2.0}])
async def test_penalties_change_what_is_written(engine, sampling):
    plain = await answer(engine, raw(PROMPTS[3], limit=24))
    penalized = await answer(engine, raw(PROMPTS[3], limit=24, repeat_last_n=-1, **sampling))
    assert plain.ids != penalized.ids


@pytest.mark.parametrize(
    "sampling",
    [{"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"top_k": 0, "typical_p": 0.5, "top_p": 0.0}],
)
async def test_a_choice_of_one_is_the_greedy_choice(engine, sampling):
    greedy = await answer(engine, raw(STORY, limit=16))
    only = await answer(engine, raw(STORY, limit=16, temperature=1.0, **sampling))
    assert greedy.ids == only.ids or "typical_p" in sampling


LONG = "word " * 1500
PAGE = "word " * 500
COUNTING = "".join(f"{number}, " for number in range(1, 50))
"""About 190 tokens after which no model stops."""


async def cancel_when(engine, request, condition):
    cancel = CancelToken()
    with watching(lambda event: cancel.set() if condition(event) else None):
        result = await answer(engine, request, cancel)
    return result, await answer(engine, chat("Say hello.", limit=3))


@pytest.mark.parametrize(
    "condition",
    [
        lambda event: isinstance(event, PromptProgress) and event.done == event.cached,
        lambda event: isinstance(event, PromptProgress) and event.cached < event.done < event.total,
        lambda event: isinstance(event, PromptProgress) and event.done == event.total,
        lambda event: isinstance(event, Token),
    ],
    ids=["before prefill", "in prefill", "after prefill", "in decode"],
)
async def test_cancelling_ends_an_answer_at_any_step_and_the_next_one_works(host, condition):
    # The prompt takes several chunks.
    engine = await load(host, num_batch=64)
    result, after = await cancel_when(engine, raw(COUNTING, limit=400), condition)
    assert result.end.reason == "cancelled"
    assert result.end.usage.completion_tokens < 400
    assert after.end.reason in {"stop", "length"}
    assert after.text


async def test_cancelling_before_it_begins(engine):
    cancel = CancelToken()
    cancel.set()
    assert (await answer(engine, chat(STORY), cancel)).end.reason == "cancelled"


async def test_a_reader_that_leaves_stops_the_work(engine):
    async for _ in engine.generate(chat(PAGE, limit=1000), CancelToken()):
        break
    assert (await answer(engine, chat("Say hello.", limit=3))).text


async def test_two_answers_of_one_model_wait_for_each_other(engine):
    alone = [await answer(engine, raw(prompt, limit=12)) for prompt in PROMPTS[:2]]
    together = await asyncio.gather(*(answer(engine, raw(prompt, limit=12)) for prompt in PROMPTS[:2]))
    assert [result.text for result in together] == [result.text for result in alone]


async def test_a_waiting_answer_that_is_cancelled_does_not_disturb_the_one_that_runs(engine):
    expected = await answer(engine, raw(PROMPTS[2], limit=24))
    cancel = CancelToken()
    running = asyncio.create_task(answer(engine, raw(PROMPTS[2], limit=24)))
    waiting = asyncio.create_task(answer(engine, raw(PROMPTS[0], limit=24), cancel))
    await asyncio.sleep(0)
    cancel.set()
    assert (await running).ids == expected.ids
    assert (await waiting).end.reason == "cancelled"


async def test_two_models_answer_at_once(host, models, variants):
    models.update(variants)
    engines = [await load(host), await load(host, "Q8_0")]
    alone = [await answer(engine, raw(PROMPTS[2], limit=16)) for engine in engines]
    for engine in engines:
        await answer(engine, Request(tokens=(0,), sampling=Sampling(num_predict=0)))
    both_asked = threading.Event()
    shared_runtime.call(both_asked.wait)
    tasks = [asyncio.create_task(answer(engine, raw(PROMPTS[2], limit=16))) for engine in engines]
    await asyncio.sleep(0)
    both_asked.set()
    together = await asyncio.gather(*tasks)
    assert [result.ids for result in together] == [result.ids for result in alone]
    first, second = ([token.at_ns for token in result.of(Token)] for result in together)
    assert first[0] < second[-1]
    assert second[0] < first[-1]


async def test_a_prompt_longer_than_the_context_is_refused(host):
    engine = await load(host, num_ctx=256)
    result = await answer(engine, chat(LONG))
    assert isinstance(result.end, Failed)
    assert isinstance(result.end.error, ContextFullError)
    assert "256" in result.end.error.message
    assert (await answer(engine, chat("Hello", limit=2))).text


async def test_the_oldest_turns_are_dropped_where_the_user_wants_that(host):
    engine = await load(host, num_ctx=256)
    turns = [Message("system", "You are a pirate.")]
    for number in range(12):
        turns += [Message("user", f"Question {number}: " + "why " * 10), Message("assistant", "Because. " * 5)]
    turns.append(Message("user", "The last question."))
    request = Request(tuple(turns), sampling=Sampling(num_predict=4), when_context_full="drop_oldest")
    result = await answer(engine, request)
    assert isinstance(result.end, Finished)
    dropped = result.of(PromptProgress)[0].dropped
    assert dropped > 0
    assert dropped % 2 == 0
    held = "".join(engine._model.pieces[token].decode() for token in engine._model.slots[0].tokens)
    assert "pirate" in held
    assert "The last question." in held
    assert "Question 0:" not in held


async def test_an_answer_that_fills_the_context_says_so(host, models, tmp_path):
    models["tiny"] = str(write_model(tmp_path / "tiny.gguf"))
    engine = await load(host, "tiny", num_ctx=256)
    result = await answer(engine, chat(STORY, limit=-1, temperature=1.0, seed=3, stop=()))
    usage = result.end.usage
    assert result.end.reason in {"context", "stop"}
    assert usage.prompt_tokens + usage.completion_tokens <= 257
    full = await answer(engine, raw("1, 2, 3, 4, 5, 6, 7, 8, 9,", limit=-1))
    assert full.end.reason == "context"
    assert full.end.usage.prompt_tokens + full.end.usage.completion_tokens == 257


async def test_an_empty_prompt_is_an_error_and_not_an_abort(engine):
    result = await answer(engine, raw(""))
    assert isinstance(result.end.error, EngineError)
    assert "empty" in result.end.error.message


async def test_a_prompt_of_200_000_characters(host):
    engine = await load(host, num_ctx=512)
    result = await answer(engine, chat("lorem ipsum " * 16667))
    assert isinstance(result.end.error, ContextFullError)


async def test_any_text_can_be_asked(engine):
    result = await answer(engine, chat("\x00\x1b[2J\ud800 <|im_end|> {{ 7*7 }} {% raise %}", limit=2))
    assert isinstance(result.end, Finished)


async def test_a_closed_engine_says_so(host):
    engine = await load(host)
    await engine.close()
    await engine.close()
    result = await answer(engine, chat(STORY))
    assert isinstance(result.end.error, EngineError)


async def test_closing_stops_what_streams(host):
    engine = await load(host)
    writes, closes = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def note(event) -> None:
        if isinstance(event, Token):
            loop.call_soon_threadsafe(writes.set)
            closes.wait()

    with watching(note):
        task = asyncio.create_task(answer(engine, raw(COUNTING, limit=1000)))
        await writes.wait()
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        closes.set()
        await closing
    assert (await task).end.reason == "cancelled"


async def test_log_probabilities_are_those_of_the_model(engine):
    tokens = engine._model.vocabulary.tokenize_raw("The capital of France is Paris, the capital of Germany is Berlin.")
    scores = await engine.score(tokens)
    assert len(scores) == len(tokens) - 1
    assert all(score <= 0 for score in scores)
    shuffled = await engine.score(tokens[::-1])
    assert sum(scores) > sum(shuffled) + 20
    with pytest.raises(EngineError, match="do not fit"):
        await engine.score([1] * 5000)


async def test_log_probabilities_agree_over_the_borders_of_batches(host):
    engine = await load(host, num_batch=8)
    whole = await load(host, num_batch=512)
    tokens = engine._model.vocabulary.tokenize_raw(STORY * 3)
    assert await engine.score(tokens) == pytest.approx(await whole.score(tokens), abs=0.05)


async def test_a_model_without_a_template_gets_chatml_and_a_warning(host, models, tmp_path):
    models["plain"] = str(write_model(tmp_path / "plain.gguf"))
    engine = await load(host, "plain")
    assert NO_TEMPLATE in engine.info.warnings
    assert not engine.info.has_template
    assert (await answer(engine, chat("Hello", limit=2))).text


async def test_a_template_that_does_not_compile_leaves_raw_completion(host, models, tmp_path):
    models["broken"] = str(write_model(tmp_path / "broken.gguf", keys={"tokenizer.chat_template": "{% for m in %}"}))
    engine = await load(host, "broken")
    assert any("does not compile" in warning for warning in engine.info.warnings)
    result = await answer(engine, chat("Hello"))
    assert isinstance(result.end.error, TemplateError)
    assert (await answer(engine, raw("Hello", limit=2))).text


# Going on with the beginning of an answer.


async def test_a_truncated_answer_is_continued(engine):
    whole = await answer(engine, chat("Tell me about the sea.", limit=24))
    beginning = await answer(engine, chat("Tell me about the sea.", limit=10))
    request = chat("Tell me about the sea.", beginning.text, limit=14)
    rest = await answer(engine, replace(request, continues=True))
    assert beginning.text + rest.text == whole.text
    assert rest.cached > 0, "what was written is not computed again"


async def test_the_beginning_of_an_answer_is_never_dropped(host, models, demo_path):
    models["full"] = str(demo_path)
    engine = await load(host, "full", num_ctx=256)
    filler = "word " * 120
    texts = (filler, "Yes.", filler, "No.", "Count to ten.", "One, two, three,")
    request = replace(chat(*texts, limit=12), continues=True, when_context_full="drop_oldest")
    rest = await answer(engine, request)
    assert isinstance(rest.end, Finished)
    assert rest.of(PromptProgress)[0].dropped >= 2
    assert "four" in rest.text


async def test_fewer_threads_write_while_the_machine_is_busy(host, monkeypatch):
    def crowded(self, ns):
        changed, self.used = self.used != 1, 1
        return changed

    monkeypatch.setattr(ThreadPace, "step", crowded)
    engine = await load(host, num_thread=0)
    most = engine.info.settings.num_thread
    if most == 1:
        pytest.skip("one core has nothing to give")
    usual = replace(raw(STORY, 6), sampling=Sampling(num_predict=6))
    (used,) = (await answer(engine, usual)).of(ThreadsUsed)
    assert (used.count, used.most) == (1, most)
    # What is timed, and what has to repeat, is computed with all.
    timed = (await answer(engine, replace(usual, timed=True))).of(ThreadsUsed)
    assert [each.count for each in timed] == [most]
    assert not (await answer(engine, raw(STORY, 6))).of(ThreadsUsed)
