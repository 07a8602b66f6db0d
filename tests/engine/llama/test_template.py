from __future__ import annotations

import re

import pytest

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.errors import TemplateError
from workbench.engine.llama.template import CHATML, ChatTemplate

HELLO = (Message("user", "hello"),)


def render(source: str, *messages: Message) -> str:
    return ChatTemplate(source, "<s>", "</s>").render(messages or HELLO, CancelToken())


def test_chatml():
    assert render(CHATML, Message("system", "be kind"), *HELLO) == (
        "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}", "<s>hello</s>"),
        ("{{ messages | tojson }}", '[{"role": "user", "content": "hello"}]'),
        ("{{ {'b': '<é>', 'a': 1} | tojson(indent=1) }}", '{\n "b": "<é>",\n "a": 1\n}'),
        ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}x{% endfor %}", ""),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}", "hello"),
        ("{%- if add_generation_prompt %}go{% endif -%}", "go"),
        ("{{ messages[0].content.strip().split('l')[0] }}", "he"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "1"),
    ],
)
def test_what_templates_in_the_wild_use(source, text):
    assert render(source) == text


def test_strftime_now():
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", render("{{ strftime_now('%Y-%m-%d') }}"))


def test_reasoning_is_given_to_the_template_where_there_is_some():
    source = "{% for m in messages %}[{{ m.reasoning_content | default('-') }}]{% endfor %}"
    assert render(source, Message("user", "q"), Message("assistant", "a", "because")) == "[-][because]"


def test_a_template_that_does_not_compile_names_its_line():
    with pytest.raises(TemplateError, match="line 2") as caught:
        ChatTemplate("ok\n{% if %}").check(CancelToken())
    assert "--raw" in caught.value.hint


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages[9].content.x }}",
        "{{ 1 / 0 }}",
        "{{ ''.__class__.__mro__ }}{{ cycler.__init__.__globals__.os }}",
        "{% for i in range(10000000) %}{% endfor %}",
        "{{ messages.append(1) }}",
    ],
)
def test_a_template_that_fails_or_reaches_out_is_an_error_and_nothing_else(source):
    with pytest.raises(TemplateError):
        render(source)


def test_a_refused_system_prompt_goes_before_the_first_message():
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}{{ m.content }};{% endfor %}"
    )
    assert render(source, Message("system", "be kind"), *HELLO) == "be kind\n\nhello;"
