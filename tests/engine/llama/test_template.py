from __future__ import annotations

import re

import pytest

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.errors import TemplateError
from workbench.engine.llama.jinja import shared_jinja
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


PARTS = (
    "{% for m in messages %}{{ m.role }}:{% for part in m.content %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %};{% endfor %}"
)
NO_SYSTEM = "{% for m in messages if m.role != 'system' %}{{ m.role }}:{{ m.content }};{% endfor %}"
EITHER = (
    "{% for m in messages %}{% if m.content is string %}{{ m.content }};{% else %}"
    "{% for part in m.content %}[{{ part.text }}]{% endfor %}{% endif %}{% endfor %}"
)
SYSTEM = Message("system", "be kind")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (PARTS, "system:be kind;user:hello;"),
        (
            PARTS.replace("m.content %}", "m['content'] | selectattr('type', 'equalto', 'text') %}"),
            "system:be kind;user:hello;",
        ),
        ("{% for m in messages %}{{ m.content[0]['text'] }};{% endfor %}", "be kind;hello;"),
        (EITHER, "be kind;hello;"),
    ],
)
def test_contents_have_the_form_that_the_template_takes(source, text):
    assert render(source, SYSTEM, *HELLO) == text


@pytest.mark.parametrize("answers", ["m.content", "m.content[0].text"])
def test_each_role_may_have_a_form_of_its_own(answers):
    source = (
        "{% for m in messages %}{% if m.role == 'user' %}{% for part in m.content %}[{{ part.text }}]{% endfor %}"
        "{% elif m.role == 'assistant' %}<{{ ANSWERS }}>{% else %}{{ m.content }};{% endif %}{% endfor %}"
    ).replace("ANSWERS", answers)
    said = (SYSTEM, Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    assert render(source, *said) == "be kind;[a]<b>[c]"
    assert render(source, *said[1:]) == "[a]<b>[c]"


@pytest.mark.parametrize("names", [(), ("tools",), ("documents",), ("tools", "documents")])
def test_what_is_not_there_is_none_or_nothing_as_the_template_takes_it(names):
    asks = {
        name: f"{{% if {name} is not none %}}{{{{ {name} | tojson }}}}{{% endif %}}" for name in ("tools", "documents")
    }
    loops = {name: f"{{% for each in {name} %}}{{{{ each }}}}{{% endfor %}}" for name in names}
    assert render("".join((asks | loops).values()) + PARTS) == "user:hello;"


def test_a_text_in_parts_may_be_long():
    text = "word " * 100_000
    assert text in render(PARTS, Message("user", text))


@pytest.mark.parametrize("source", [NO_SYSTEM, PARTS.replace("messages %}", "messages if m.role != 'system' %}")])
@pytest.mark.parametrize(
    "said",
    [
        (SYSTEM, *HELLO),
        (SYSTEM, *HELLO, Message("assistant", "hi"), Message("user", "bye")),
        (SYSTEM, *HELLO, Message("assistant", "hi"), Message("user", "")),
    ],
)
def test_a_system_prompt_that_the_template_drops_goes_before_the_first_question(source, said):
    rest = "".join(f"{each.role}:{each.content};" for each in said[2:])
    assert render(source, *said) == f"user:be kind\n\nhello;{rest}"


def test_a_system_prompt_alone_that_the_template_drops():
    assert render(NO_SYSTEM, SYSTEM) == "user:be kind;"


def test_a_system_prompt_that_comes_out_elsewhere_stays_where_it_is():
    source = "{% for m in messages[1:] %}{{ m.content }};{% endfor %}{{ messages[0].content }}"
    assert render(source, SYSTEM, *HELLO) == "hello;be kind"


def test_a_template_that_shows_the_last_question_alone_is_left_as_it_is():
    source = "{{ messages[-1].content }}"
    assert render(source, Message("user", "a"), Message("assistant", "b"), Message("user", "c")) == "c"


@pytest.mark.parametrize("name", ["tools", "documents"])
def test_there_are_no_tools_and_no_documents(name):
    source = "{% if NAME is not none %}{{ NAME | tojson }}{% endif %}{{ messages[0].content }}".replace("NAME", name)
    assert render(source) == "hello"


def test_the_date():
    source = "{{ date_string }}|{{ datetime }}|{{ strftime_now('%d %b %Y') }}"
    day, american, same = render(source).split("|")
    assert day == same
    assert american.split() == [day.split()[1], day.split()[0], day.split()[2]]


def test_each_order_of_roles_is_probed_once(monkeypatch):
    orders = []
    real = shared_jinja.render

    def counted(*order):
        orders.append(order)
        return real(*order)

    monkeypatch.setattr(shared_jinja, "render", counted)
    template = ChatTemplate(CHATML)
    template.render((SYSTEM, *HELLO), CancelToken())
    first = len(orders)
    assert first <= 3
    template.render((SYSTEM, Message("user", "more")), CancelToken())
    assert len(orders) == first + 1
    long = (SYSTEM, *(Message(("user", "assistant")[number % 2], str(number)) for number in range(99)))
    template.render(long, CancelToken())
    template.render(long[:-2], CancelToken())
    assert len(orders) == first + 4
