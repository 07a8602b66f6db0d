"""JSON schemas: those with an exact grammar get it, and the others are errors that name the part."""

from __future__ import annotations

import json

import pytest

from workbench.core.errors import FormatError
from workbench.engine.formats import schema
from workbench.engine.formats.answer_format import AnswerFormat, check_format, guided, read_format
from workbench.engine.formats.verdict import _read, judge


def problem(value: object) -> str:
    with pytest.raises(FormatError) as caught:
        check_format(json.dumps(value), exact=True)
    return caught.value.message


NO_GRAMMAR = "there is no exact grammar"
UNIQUE = {"uniqueItems": True}
SMALL = {'a"': {"type": "string"}, "b": {}}
CHAIN = {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"type": "strnig"}, "/type: "),
        ({"properties": {"a": {"items": {"not": {}}}}}, f"/properties/a/items: {NO_GRAMMAR} for not"),
        ({"$defs": {"A": {"properties": {"n/x": UNIQUE}}}, "$ref": "#/$defs/A"}, "/$defs/A/properties/n~1x: "),
        ({"anyOf": [{"type": "null"}, {"if": {}, "then": {}}]}, "/anyOf/1: "),
        ({"allOf": [{"minLength": 2}, {"format": "ipv9"}]}, f"/allOf/1: {NO_GRAMMAR}: Unknown format"),
        ({"minimun": 3}, "/minimun: there is no keyword 'minimun'"),
        ({"properties": {"a": {"maxLenght": 3}}}, "/properties/a/maxLenght: "),
        ({"$ref": "http://localhost:1/x"}, "/$ref: http://localhost:1/x is in another document"),
        ({"items": {"$ref": "file:///etc/passwd"}}, "/items/$ref: "),
        ({"items": {"$id": "x"}}, "/items/$id: "),
        ({"$schema": "http://localhost:1/x"}, "/$schema: "),
        ({"$ref": "#/$defs/q"}, "does not exist"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, f"the root: {NO_GRAMMAR}: Unsatisfiable"),
        ({"properties": {"a": {"pattern": "("}}}, "/properties/a/pattern: "),
    ],
)  # fmt: skip
def test_a_schema_without_an_exact_grammar_is_an_error_that_names_the_part(value, words):
    assert words in problem(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a":\n ]', "line 2, column 2: it is no JSON"),
        ('{"minimum": NaN}', "JSON has no NaN"),
        ('{"items":' * 5000 + "{}" + "}" * 5000, r"nested (too deep|more than 60 deep)"),
        ('{"items":' * 200 + "{}" + "}" * 200, "nested more than"),
    ],
    ids=lambda value: value[:20],
)
def test_a_text_that_is_no_schema(text, words):
    with pytest.raises(FormatError, match=words):
        read_format(text)


def test_lists_and_other_values_are_no_schema(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[1]")
    with pytest.raises(FormatError, match=r"list\.json is no JSON schema"):
        read_format(str(path))


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin").write_bytes(b'root ::= "\xe9"')
    (tmp_path / "big").write_bytes(b"#" * 300_000)
    for name, words in {"none": "No such file", "": "is no file", "latin": "no UTF-8", "big": "300,000 bytes"}.items():
        with pytest.raises(FormatError, match=words):
            read_format(str(tmp_path / name))
    with pytest.raises(FormatError, match="cannot be read"):
        read_format("a\0b")


CASES = [
    ({"type": "integer", "minimum": 18, "maximum": 99}, ["18", "99"], ["17", "100", "18.5"]),
    ({"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5}, ["0.5", "12"], ["0", "0.3", "-1"]),
    ({"type": "string", "pattern": r"^\d{3}-\w+$"}, ['"123-ab"'], ['"12-ab"', '"123-"']),
    ({"type": "string", "maxLength": 3000, "minLength": 1}, ['"é"'], ['""']),
    ({"type": "string", "format": "email"}, ['"a@b.org"'], ['"a"']),
    ({"enum": ["a\"b", 1, None]}, ['"a\\"b"', "1", "null"], ['"a"', "2"]),
    ({"type": "array", "items": {"type": "boolean"}, "maxItems": 2}, ["[]", "[true,false]"], ["[1]", "[true,"]),
    ({"type": "object", "additionalProperties": {"type": "null"}}, ["{}", '{"x":null}'], ['{"x":1}']),
    (
        {"type": "object", "properties": SMALL, "required": ["b"], "additionalProperties": False},
        ['{"a\\"":"x","b":1}', '{"b":[]}'],
        ['{"a\\"":"x"}', '{"b":1,"c":2}'],
    ),
    ({"$defs": {"n": CHAIN}, "$ref": "#/$defs/n"}, ['{"next":{"next":{}}}'], ['{"next":1}']),
]  # fmt: skip


@pytest.mark.parametrize(("value", "valid", "invalid"), CASES)
def test_the_grammar_and_the_validator_of_a_schema_agree(value, valid, invalid):
    form = check_format(json.dumps(value), exact=True)
    assert form is not None
    for text, is_valid in [(text, True) for text in valid] + [(text, False) for text in invalid]:
        taken, matcher = _read(guided(form), text)
        assert (taken == len(text.encode()) and matcher.is_accepting()) is is_valid, text
        assert (judge(form, text).state == "valid") is is_valid, text


def test_own_options_of_the_converter_do_not_loosen_a_schema():
    assert "uniqueItems" in problem({"x-guidance": {"lenient": True}, "uniqueItems": True})


def test_white_space_is_limited():
    form = AnswerFormat("json", '{"type": "object"}', "JSON")
    blanks = "{" + "\n" * 50
    assert _read(guided(form), blanks)[0] < len(blanks)


@pytest.mark.parametrize(
    ("text", "state", "words"),
    [
        ('{"age": 3}', "valid", ""),
        (' {"age": 3}\n', "valid", ""),
        ('{"age": 300}', "invalid", "at /age"),
        ('{"age": 3', "truncated", "middle"),
        ('{"age": "a', "truncated", "middle"),
        ("", "truncated", "middle"),
        ('```json\n{"age": 3}\n```', "invalid", "no JSON"),
        ('{"age": 3} and more', "invalid", "no JSON"),
        ("[" * 5000, "truncated", "middle"),
        ('{"age": ' + "9" * 5000 + "}", "invalid", "cannot be read"),
    ],
    ids=lambda value: value[:20],
)
def test_the_verdict_on_an_answer(text, state, words):
    form = read_format('{"type": "object", "properties": {"age": {"maximum": 99}}}')
    assert form is not None
    verdict = judge(form, text)
    assert verdict.state == state
    assert words in verdict.problem


def test_a_pattern_that_backtracks_does_not_hang_the_verdict():
    form = read_format('{"pattern": "^(a+)+$"}')
    assert form is not None
    assert judge(form, json.dumps("a" * 5000 + "b")).state == "invalid"


def test_parts_of_values_are_no_schemas():
    value = {"enum": [{"properties": {"a": {"not": {}}}}], "properties": {"properties": {"type": "null"}}}
    assert [place for place, _ in schema.subschemas(value)] == [(), ("properties", "properties")]


def test_a_pattern_without_a_grammar_still_judges_the_answers_of_servers():
    text = '{"type": "string", "pattern": "(?=b)(b+)+\\\\1$"}'
    form = check_format(text, exact=False)
    with pytest.raises(FormatError, match="no exact grammar"):
        check_format(text, exact=True)
    assert [judge(form, answer).state for answer in ('"bb"', '"ab c"')] == ["valid", "invalid"]
    assert "takes too long" in judge(form, f'"{"b" * 5000}a"').problem
