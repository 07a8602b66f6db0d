"""Answers in a format, in process: no token outside of it, only after the thoughts, also when continued."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.engine.llama.conftest import answer, chat
from tests.engine.llama.test_thoughts import with_sampling
from workbench.core.chat import Message
from workbench.core.events import Failed
from workbench.engine.formats.answer_format import read_format
from workbench.engine.formats.verdict import judge

CAT = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 1, "maximum": 20}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
SCHEMA = json.dumps(CAT)


@pytest.fixture
def grammar(tmp_path):
    path = tmp_path / "list.gbnf"
    path.write_text('root ::= ("- " [a-zé]{1,6} "\\n"){2} "done"')
    return str(path)


def is_valid(form: str, result) -> bool:
    read = read_format(form)
    assert read is not None
    assert result.end.verdict is not None
    return result.end.verdict.state == "valid" == judge(read, result.text).state


async def test_answers_in_a_format(engine, grammar):
    asked = chat("Describe a cat.", limit=60)
    for form in (SCHEMA, grammar):
        # Samplers that compute with logarithms, or keep a history, see the tokens of the format alone.
        for more in (
            {},
            {"temperature": 1.5, "typical_p": 0.5, "repeat_penalty": 1.3, "dry_multiplier": 1.0, "seed": 1},
        ):
            result = await answer(engine, with_sampling(asked, format=form, **more))
            assert is_valid(form, result), result.text
            assert result.end.reason == "stop"
            assert result.metrics.format_state == "valid"
    plain = await answer(engine, asked)
    assert plain.end.verdict is None
    again = await answer(engine, with_sampling(asked, format=SCHEMA))
    assert again.cached == again.end.usage.prompt_tokens - 1


async def test_a_truncated_answer_is_continued_in_its_format(engine):
    asked = with_sampling(chat("Describe a cat.", limit=6), format=SCHEMA)
    first = await answer(engine, asked)
    assert first.end.verdict.state == "truncated"
    begun = (*asked.messages, Message("assistant", first.text))
    rest = await answer(engine, replace(with_sampling(asked, num_predict=60), messages=begun, continues=True))
    assert rest.end.verdict.state == "valid"
    assert set(json.loads(first.text + rest.text)) == {"name", "age"}
    other = (*asked.messages, Message("assistant", "A cat"))
    failed = await answer(engine, replace(asked, messages=other, continues=True))
    assert isinstance(failed.end, Failed)
    assert "does not have the format" in failed.end.error.message


async def test_a_format_that_cannot_be_held_fails_before_anything_is_computed(engine, tmp_path):
    (tmp_path / "bad.gbnf").write_text('root ::= root "a"')
    for form in ('{"uniqueItems": true}', str(tmp_path / "bad.gbnf"), str(tmp_path / "none")):
        result = await answer(engine, with_sampling(chat("Hello"), format=form))
        assert isinstance(result.end, Failed)
        assert result.end.error.kind == "format"
        assert len(result.events) == 1
    assert (await answer(engine, chat("Hello", limit=3))).text


async def test_control_tokens_and_the_end_stay_out_of_the_text(engine, tmp_path):
    # Greedily this model writes short values: the bias makes it want control tokens and the end everywhere.
    wanted = tuple(f"{token}=30" for token in range(17))
    result = await answer(engine, with_sampling(chat("A cat?", limit=30), format=SCHEMA, logit_bias=wanted))
    assert is_valid(SCHEMA, result), result.text
    # The text of a control token is text, and is written in other tokens.
    (tmp_path / "end.gbnf").write_text('root ::= "<|im_end|>" "!"')
    result = await answer(engine, with_sampling(chat("A cat?"), format=str(tmp_path / "end.gbnf")))
    assert result.text == "<|im_end|>!"


async def test_a_grammar_that_becomes_too_complex_is_an_error_and_keeps_the_text(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.engine.formats.answer_format.ITEMS_IN_ROW", 60)
    path = tmp_path / "deep.gbnf"
    path.write_text("root ::= [A-Za-z ,.] (root root?)?")
    result = await answer(engine, with_sampling(chat("Tell a story.", limit=40), format=str(path)))
    assert isinstance(result.end, Failed)
    assert "too complex" in result.end.error.message
    assert result.text
