"""Whole conversations with templates of every kind: every word reaches the model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.llama.conftest import answer, chat, load
from tests.gguf.conftest import write_model
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import TemplateError
from workbench.core.events import Finished
from workbench.core.parameters import Sampling
from workbench.engine.llama.template import ChatTemplate

TURN = "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
GO_ON = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TURNS = f"{{% for m in messages %}}{TURN}{{% endfor %}}{GO_ON}"
PARTS = TURNS.replace(
    "{{ m['content'] }}",
    "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}<image>{% endif %}{% endfor %}",
)
TOOLS = "{% if tools is not none %}TOOLS {{ tools | tojson }}\n{% endif %}" + TURNS


@pytest.mark.parametrize("source", [TURNS, PARTS, TOOLS, TOOLS.replace("tools", "documents")])
async def test_every_word_of_a_question_is_in_the_prompt(engine, source):
    engine._template = ChatTemplate(source)
    result = await answer(engine, chat("Name the capital of France.", limit=1))
    assert result.metrics.prompt_tokens == 15


async def test_a_template_for_tools_is_used_where_there_is_no_other(host, models, tmp_path):
    keys = {"tokenizer.chat_template.tool_use": "{{ messages[0].content }}", "tokenizer.chat_template.rag": "no"}
    models["named"] = str(write_model(tmp_path / "named.gguf", keys=keys))
    engine = await load(host, "named")
    assert engine.info.has_template
    assert (await answer(engine, chat("abc", limit=1))).metrics.prompt_tokens < 9


STRICT = (
    "{% set turns = messages[1:] if messages[0]['role'] == 'system' else messages %}{% for m in turns %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must take turns') }}{% endif %}"
    "<{{ m.role[0] }}:{{ m.content }}>{% endfor %}"
)
SYSTEM_FIRST = "{% if messages[0]['role'] == 'system' %}[{{ messages[0].content }}]{% endif %}"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
ROLES = {"s": "system", "u": "user", "a": "assistant"}


def said(order: str) -> tuple[Message, ...]:
    """Messages of these roles; their contents are numbers."""
    return tuple(Message(ROLES[role], str(number)) for number, role in enumerate(order))


@pytest.mark.parametrize(
    ("source", "order", "rendered", "words"),
    [
        (SYSTEM_FIRST + STRICT, "uau", "<u:0><a:1><u:2>", ""),
        (SYSTEM_FIRST + STRICT, "suau", "[0]<u:1><a:2><u:3>", ""),
        (SYSTEM_FIRST + STRICT, "uu", "<u:0\n\n1>", "joined"),
        (SYSTEM_FIRST + STRICT, "uuau", "<u:0\n\n1><a:2><u:3>", "joined"),
        (SYSTEM_FIRST + STRICT, "uaau", "<u:0><a:1\n\n2><u:3>", "joined"),
        (SYSTEM_FIRST + STRICT, "uaauu", "<u:0><a:1\n\n2><u:3\n\n4>", "joined"),
        (SYSTEM_FIRST + STRICT, "au", "<u:><a:0><u:1>", "empty user message"),
        (SYSTEM_FIRST + STRICT, "sau", "[0]<u:><a:1><u:2>", "empty user message"),
        (SYSTEM_FIRST + STRICT, "aauu", "<u:><a:0\n\n1><u:2\n\n3>", "was put before the first answer, and"),
        (SYSTEM_FIRST + STRICT, "uasu", "<u:0><a:1><u:2\n\n3>", "system message"),
        (SYSTEM_FIRST + STRICT, "ssu", "[0\n\n1]<u:2>", "joined"),
        (NO_SYSTEM + STRICT, "su", "<u:0\n\n1>", ""),
        (NO_SYSTEM + STRICT, "s", "<u:0>", ""),
        (NO_SYSTEM + STRICT, "suau", "<u:0\n\n1><a:2><u:3>", ""),
        (NO_SYSTEM + STRICT, "suu", "<u:0\n\n1\n\n2>", "joined"),
        (NO_SYSTEM + STRICT, "sau", "<u:0><a:1><u:2>", "empty user message"),
        ("{% if messages | length > 1 %}{{ raise_exception('one') }}{% endif %}{{ messages[0].content }}", "uau",
         "user: 0\n\nassistant: 1\n\nuser: 2", "one message"),
    ],
)  # fmt: skip
def test_an_order_that_the_template_refuses_is_changed_as_little_as_possible(source, order, rendered, words):
    template = ChatTemplate(source)
    assert template.render(said(order), CancelToken()) == rendered
    notice = template.arranged(said(order), CancelToken()).notice
    assert words in notice
    assert bool(words) == bool(notice)


@pytest.mark.parametrize("order", ["uu", "au", "sasu", "aua", "uaau"])
def test_an_order_that_the_template_takes_is_left_as_it_is(order):
    template = ChatTemplate("{% for m in messages %}<{{ m.role[0] }}:{{ m.content }}>{% endfor %}")
    expected = "".join(f"<{role}:{number}>" for number, role in enumerate(order))
    assert template.render(said(order), CancelToken()) == expected
    assert template.arranged(said(order), CancelToken()).notice == ""


@given(st.text("sua", min_size=1, max_size=7))
@settings(max_examples=60, deadline=None)
def test_no_conversation_is_unusable_and_no_word_is_lost(order):
    for source in (SYSTEM_FIRST + STRICT, NO_SYSTEM + STRICT):
        text = ChatTemplate(source).render(said(order), CancelToken())
        assert all(str(number) in text for number in range(len(order)))


def test_the_arrangements_of_few_orders_are_remembered(monkeypatch):
    monkeypatch.setattr("workbench.engine.llama.template._MOST_ORDERS", 4)
    template = ChatTemplate(SYSTEM_FIRST + STRICT)
    for turns in range(1, 9):
        assert "was put before" in template.arranged(said("au" * turns), CancelToken()).notice
        assert len(template._arrangements) <= 4


def test_a_template_that_refuses_everything_says_why():
    with pytest.raises(TemplateError, match="never"):
        ChatTemplate("{{ raise_exception('never') }}").render(said("uau"), CancelToken())


async def test_the_notice_comes_with_the_answer(engine):
    engine._template = ChatTemplate(SYSTEM_FIRST + STRICT)
    for order, noticed in (("uu", True), ("uau", False), ("au", True)):
        result = await answer(engine, Request(said(order), sampling=Sampling(num_predict=1)))
        assert isinstance(result.end, Finished)
        assert bool(result.end.notice) == noticed
