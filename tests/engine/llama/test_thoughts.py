"""Thoughts and answer of models in process: control tokens, history, continuing, and how thinking is controlled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.llama.conftest import answer, chat, load
from tests.reliability.mutants import Parts, take_apart
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message, without_empty_answers
from workbench.core.errors import CancelledError
from workbench.core.events import Token
from workbench.engine.llama.jinja import shared_jinja
from workbench.engine.llama.markup import markup_of
from workbench.engine.llama.template import ChatTemplate, GoChatTemplate
from workbench.engine.switches import SHORT_OF_TIME, think_values, variables_of

CAPITAL = chat("Name the capital of France.")


def renamed(source: Parts, target: Path, texts: dict[str, str], control: tuple[str, ...]) -> str:
    """A copy of a model in which some tokens have other texts, and are control tokens."""
    keys = {key.name.decode(): key for key in source.keys}
    names = [texts.get(text.decode(errors="replace"), text) for text in keys[TOKENS].value]
    types = [3 if text in control else old for text, old in zip(names, keys[TYPES].value, strict=True)]
    changed = keys | {TOKENS: replace(keys[TOKENS], value=names), TYPES: replace(keys[TYPES], value=types)}
    target.write_bytes(replace(source, keys=list(changed.values())).header() + source.data)
    return str(target)


TOKENS, TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


@pytest.fixture(scope="session")
def control_files(demo_path, tmp_path_factory) -> dict[str, str]:
    folder, demo = tmp_path_factory.mktemp("control"), take_apart(demo_path)
    tags = {"The": "[THINK]", "Ġis": "[/THINK]"}
    channel = {"The": "<|channel>", "ĠParis": "<channel|>", "Ġcapital": "thoughtĊ"}
    return {
        "tags": renamed(demo, folder / "tags.gguf", tags, tuple(tags.values())),
        "channel": renamed(demo, folder / "channel.gguf", channel, ("<|channel>", "<channel|>")),
        "other": renamed(demo, folder / "other.gguf", {"Ġis": "<|other|>"}, ("<|other|>",)),
    }


@pytest.fixture
def control_models(models, control_files) -> dict[str, str]:
    models.update(control_files)
    return models


def reasoning(result) -> str:
    tokens = "".join(event.text for event in result.of(Token) if event.kind == "reasoning")
    return tokens + result.end.thoughts


async def test_markers_that_are_control_tokens(control_models, host):
    engine = await load(host, "tags")
    result = await answer(engine, CAPITAL)
    assert (reasoning(result), result.text) == ("capital of France", "Paris.")
    assert len(result.ids) == result.end.usage.completion_tokens
    # A format holds from the answer on, also where the model was not known to think.
    result = await answer(engine, with_sampling(CAPITAL, format='{"enum": ["Rome", "Paris"]}'))
    assert (reasoning(result), result.text) == ("capital of France", '"Paris"')
    result = await answer(engine, with_sampling(CAPITAL, format='{"enum": ["Oslo"]}', think_budget=1, num_predict=60))
    assert (reasoning(result), result.text) == (f"capital{SHORT_OF_TIME}", '"Oslo"')


async def test_a_channel_of_control_tokens(control_models, host):
    asked = chat("Paris is the seat of the government of which country, and what is it called?")
    result = await answer(await load(host, "channel"), asked)
    assert reasoning(result) == "of France is"
    assert result.text.startswith(", also known as the City of Light.")


async def test_other_control_tokens_stay_invisible_and_may_end_an_answer(control_models, host):
    engine = await load(host, "other")
    assert (await answer(engine, CAPITAL)).text == "The capital of France Paris."
    stopped = replace(CAPITAL, sampling=replace(CAPITAL.sampling, stop=("<|other|>",)))
    result = await answer(engine, stopped)
    assert (result.text, result.end.reason) == ("The capital of France", "stop")


HARMONY = """{% for m in messages %}{% if m.role == 'assistant' %}
{% if '<|channel|>analysis<|message|>' in m.content %}{{ raise_exception('channel tags in content') }}{% endif %}
{% if m.thinking and loop.last %}<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}
<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|end|>
{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}<|start|>assistant"""
MUSE = """{% for m in messages %}<{{ m.role }}>{% if m.reasoning_content %}<muse>
{{ m.reasoning_content }}
</muse>{% endif %}{{ m.content }}{% endfor %}"""


def render(template: str, *messages: Message) -> str:
    return ChatTemplate(template).render(messages, CancelToken()).replace("\n", "")


def test_thoughts_go_back_under_the_name_that_the_family_has_for_them():
    said = render(HARMONY, Message("user", "Hi"), Message("assistant", "Yes", "Hm"))
    assert "analysis<|message|>Hm<|end|>" in said
    kept = "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>Yes<|return|>"
    said = render(HARMONY, Message("user", "Hi"), Message("assistant", kept), Message("user", "And?"))
    assert "final<|message|>Yes<|end|>" in said
    assert "Hm" not in said


def test_the_markup_of_a_template():
    known = markup_of(ChatTemplate(HARMONY), CancelToken())
    assert known is not None
    assert known.closing == "<|end|>"
    found = markup_of(ChatTemplate(MUSE), CancelToken())
    assert found is not None
    assert (found.opening, found.closing) == ("<muse>", "</muse>")
    assert markup_of(ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}"), CancelToken()) is None
    assert markup_of(ChatTemplate("{# thinking #}{{ raise_exception('no') }}"), CancelToken()) is None


def test_a_cancelled_search_for_the_markup_is_made_again():
    source, cancel = MUSE.replace("muse", "oracle"), CancelToken()
    cancel.set()
    # Another rendering keeps the process busy, so that this one waits and sees the cancel.
    with shared_jinja._turn, pytest.raises(CancelledError):
        markup_of(ChatTemplate(source), cancel)
    found = markup_of(ChatTemplate(source), CancelToken())
    assert found is not None
    assert found.opening == "<oracle>"


def test_an_answer_of_thoughts_alone_is_left_out_and_the_questions_around_it_are_joined():
    first, second = Message("user", "One?"), Message("user", "Two?")
    empty = Message("assistant", "", "Hm")
    system, yes = Message("system", "Be brief."), Message("assistant", "Yes.")
    joined = Message("user", "One?\n\nTwo?")
    assert without_empty_answers((system, first, empty, second)) == (system, joined)
    assert without_empty_answers((first, empty, second, yes, first)) == (joined, yes, first)
    assert without_empty_answers((empty, first)) == (first,)
    assert without_empty_answers((first, second)) == (first, second)
    assert without_empty_answers((first, yes, second)) == (first, yes, second)


async def test_a_question_after_thoughts_alone_is_answered(engine):
    asked = replace(CAPITAL, messages=(CAPITAL.messages[0], Message("assistant", "", "Hm"), Message("user", "Well?")))
    assert (await answer(engine, asked)).text


def with_sampling(request, **changes):
    return replace(request, sampling=replace(request.sampling, **changes))


async def test_a_budget_ends_the_thoughts(control_models, host):
    engine = await load(host, "tags")
    result = await answer(engine, with_sampling(CAPITAL, think_budget=1, num_predict=60))
    assert reasoning(result) == f"capital{SHORT_OF_TIME}"
    assert result.text
    unused = await answer(engine, with_sampling(CAPITAL, think_budget=40, repeat_penalty=1.01))
    assert (reasoning(unused), unused.text) == ("capital of France", "Paris.")


async def test_thoughts_that_are_off_are_ended_at_once(control_models, host):
    result = await answer(await load(host, "tags"), with_sampling(CAPITAL, think="off"))
    assert reasoning(result) == ""
    assert result.text


async def test_the_answer_is_wanted_now(control_models, host):
    engine, now = await load(host, "tags"), CancelToken()
    request = replace(with_sampling(CAPITAL, num_predict=60), answer_now=now)

    def wait_for_thoughts(event):
        if getattr(event, "kind", "") == "reasoning":
            now.set()

    result = await answer(engine, request, on_event=wait_for_thoughts)
    assert result.end.reason in {"stop", "length"}
    now.set()
    result = await answer(engine, request)
    assert reasoning(result) == ""
    assert result.text


EFFORT = "{% if reasoning_effort == 'none' %}{% endif %}"


@pytest.mark.parametrize(
    ("source", "think", "budget", "values"),
    [
        ("{{ enable_thinking }}", "default", -1, {}),
        ("{{ enable_thinking }}", "on", -1, {"enable_thinking": True}),
        ("{{ enable_thinking }}", "off", -1, {"enable_thinking": False}),
        ("{{ enable_thinking }}", "low", -1, {"enable_thinking": True}),
        ("{{ thinking }}", "off", -1, {"thinking": False}),
        ("{{ reasoning_effort }}", "high", -1, {"reasoning_effort": "high"}),
        ("{{ reasoning_effort }}", "off", -1, {"reasoning_effort": "low"}),
        (EFFORT, "off", -1, {"reasoning_effort": "none"}),
        ("{{ reasoning_effort == 'no_think' }}", "medium", -1, {"reasoning_effort": "high"}),
        ("{{ thinking_effort }}", "medium", -1, {"thinking_effort": "high"}),
        ("{{ thinking_mode }}", "off", -1, {"thinking_mode": "disabled"}),
        ("{{ thinking_budget }}", "off", -1, {"thinking_budget": 0}),
        ("{{ thinking_budget }}", "default", 512, {"thinking_budget": 512}),
        ("{{ messages }}", "high", 512, {}),
    ],
)
def test_a_template_gets_the_variables_that_it_reads(source, think, budget, values):
    assert think_values(source, think, budget) == values


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("thinking {# thinking #} {{ 'thinking' }} {{ message.thinking }} {{ m['thinking'] }}", {"m", "message"}),
        ("{%- set thinking = enable_thinking if x else y -%}", {"set", "enable_thinking", "if", "x", "else", "y"}),
        ("{{ '}}' }}{{ thinking == \"'\" }} isn't {{ b }}", {"thinking", "b"}),
        ("{{ thinking", {"thinking"}),
    ],
)
def test_the_variables_of_a_template(source, names):
    assert variables_of(source) == names


def test_a_template_without_a_variable_has_the_switch_typed():
    source = "{{ messages[-1].content }}{% if '/no_think' in messages[-1].content %}!{% endif %}"
    texts = [
        ChatTemplate(source).thinking(think, -1).render((Message("user", "Hi"),), CancelToken())
        for think in ("on", "off")
    ]
    assert texts == ["Hi", "Hi /no_think!"]


OPENS = "{{ messages[0].content }}{% if enable_thinking is false %}<think></think>{% else %}<think>\n{% endif %}"


def test_a_switch_reaches_the_template():
    def rendered(think: str) -> str:
        return ChatTemplate(OPENS).thinking(think, -1).render((Message("user", "Hi"),), CancelToken())

    assert [rendered(think) for think in ("default", "on", "off")] == [
        "Hi<think>\n",
        "Hi<think>\n",
        "Hi<think></think>",
    ]


def test_a_switch_reaches_a_template_in_go():
    template = GoChatTemplate("{{ .Think }} {{ .ThinkLevel }} {{ .IsThinkSet }}")
    said = [
        template.thinking(think, -1).render((Message("user", "Hi"),), CancelToken())
        for think in ("default", "off", "low")
    ]
    assert said == ["false  false", "false  true", "true low true"]
