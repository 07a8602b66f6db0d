from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import CancelledError, ContextFullError, TemplateError
from workbench.core.parameters import Sampling
from workbench.engine.llama.arrangement import Arrangement
from workbench.engine.llama.prompt import PromptTokens
from workbench.engine.llama.runtime import Job

VOCABULARY = SimpleNamespace(tokenize_prompt=lambda *parts: [ord(letter) for letter in "".join(parts)])
"""A token is a character."""


class FakeTemplate:
    """Renders the contents alone, and keeps them; `on_render` is called before each."""

    source = ""

    def __init__(self, on_render=lambda: None):
        self.rendered = []
        self._on_render = on_render

    def render(self, messages: Sequence[Message], cancel: CancelToken, *_: object) -> str:
        self._on_render()
        self.rendered.append("".join(message.content for message in messages))
        return self.rendered[-1]

    def thinking(self, think: str, budget: int) -> FakeTemplate:
        return self

    def arranged(self, messages: Sequence[Message], cancel: CancelToken) -> Arrangement:
        return Arrangement(tuple(messages))


def make(messages, n_ctx, template=None, cancel=None, limit=0, **changes) -> PromptTokens:
    request = Request(tuple(messages), sampling=Sampling(num_predict=limit), when_context_full="drop_oldest", **changes)
    model = SimpleNamespace(n_ctx=n_ctx, vocabulary=VOCABULARY)
    prompt = PromptTokens(request, model, template or FakeTemplate(), cancel or CancelToken())
    job = Job(prompt.make)
    while job.advance():
        pass
    return prompt


def linear(messages: list[Message], room: int) -> list[Message]:
    """What is left when turns are dropped one by one."""
    kept = list(messages)
    first = 1 if kept[0].role == "system" else 0
    while sum(len(message.content) for message in kept) > room and first < len(kept) - 1:
        del kept[first]
        while first < len(kept) - 1 and kept[first].role == "assistant":
            del kept[first]
    return kept


def conversation(turns: int, words: str = "word " * 10) -> list[Message]:
    said = [Message("system", "sys")]
    for number in range(turns):
        said += [Message("user", f"<{number}>{words}"), Message("assistant", words)]
    return [*said, Message("user", "last")]


MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["user", "assistant", "system"]), st.text("ab", min_size=1, max_size=9)),
    min_size=1,
    max_size=30,
)


@given(MESSAGES, st.integers(9, 90))
def test_as_few_turns_are_dropped_as_one_by_one(messages, n_ctx):
    kept = linear(messages, n_ctx - 1)
    text = "".join(message.content for message in kept)
    if len(text) >= n_ctx:
        with pytest.raises(ContextFullError):
            make(messages, n_ctx)
        return
    prompt = make(messages, n_ctx)
    assert "".join(map(chr, prompt.tokens)) == text
    assert prompt.dropped == len(messages) - len(kept)


@pytest.mark.parametrize("turns", [400, 4000])
@pytest.mark.parametrize("n_ctx", [50, 500, 5000, 30_000])
def test_the_prompts_that_are_tried_are_few_and_little_longer_than_the_context(turns, n_ctx):
    template = FakeTemplate()
    prompt = make(conversation(turns), n_ctx, template)
    assert prompt.dropped > 0
    assert len(template.rendered) <= 24
    assert all(len(text) <= 4 * n_ctx + 200 for text in template.rendered[1:])


@given(st.integers(2, 12), st.integers(100, 600))
def test_the_notice_is_that_of_the_prompt_that_is_used(turns, n_ctx):
    class Noticing(FakeTemplate):
        def arranged(self, messages, cancel):
            return Arrangement(tuple(messages), f"{len(messages)} messages")

    messages = conversation(turns)
    prompt = make(messages, n_ctx, Noticing())
    assert prompt.notice == f"{len(messages) - prompt.dropped} messages"


def test_a_conversation_that_fits_is_rendered_once():
    template = FakeTemplate()
    assert make(conversation(10), 5000, template).dropped == 0
    assert len(template.rendered) == 1


def test_the_search_ends_after_a_second_with_the_best_so_far(monkeypatch):
    now = 0
    monkeypatch.setattr("workbench.engine.llama.prompt.time.perf_counter_ns", lambda: now)

    def take_long() -> None:
        nonlocal now
        now += 400_000_000

    template = FakeTemplate(take_long)
    prompt = make(conversation(4000), 30_000, template)
    assert len(prompt.tokens) < 30_000
    assert 2 <= len(template.rendered) <= 8
    assert prompt.dropped > 4000


def test_the_search_is_cancelled():
    cancel = CancelToken()
    template = FakeTemplate()
    template._on_render = lambda: cancel.set() if len(template.rendered) == 2 else None
    with pytest.raises(CancelledError):
        make(conversation(400), 500, template, cancel)
    assert len(template.rendered) == 3


def test_a_template_that_fails_is_raised_in_the_thread_that_waits():
    def fail():
        raise TemplateError("no")

    with pytest.raises(TemplateError, match="no"):
        make(conversation(1), 500, FakeTemplate(fail))


def test_a_rendering_that_ends_just_after_a_wait_is_no_failure(monkeypatch):
    class LateFuture(Future):
        def result(self, timeout=None):
            found = super().result()
            if timeout is not None:
                raise TimeoutError
            return found

    monkeypatch.setattr("workbench.engine.llama.runtime.Future", LateFuture)
    assert make([Message("user", "hello")], 500).tokens


def test_other_work_is_done_while_a_template_is_rendered():
    request = Request((Message("user", "hello"),))
    model = SimpleNamespace(n_ctx=500, vocabulary=VOCABULARY)
    others = threading.Event()
    prompt = PromptTokens(request, model, FakeTemplate(lambda: others.wait(10)), CancelToken())
    job = Job(prompt.make)
    assert job.advance()
    others.set()
    while job.advance():
        pass
    assert len(prompt.tokens) == 5
