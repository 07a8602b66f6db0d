from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.lab.evals.checks import check_answer, check_choice, problem_of
from workbench.lab.evals.pack import Check, CheckType

CALL = '{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "late": true}}'
SCHEMA = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer", "minimum": 0}}}


def check(kind: CheckType, value: object = None, **more: Any) -> Check:
    return Check(kind, value, **more)


@pytest.mark.parametrize(
    ("made", "good", "bad"),
    [
        (check("contains", "Paris"), "It is Paris.", "It is paris."),
        (check("contains", ["a", "b"], ignore_case=True), "B, A", "a"),
        (check("contains_any", ["red", "blue"]), "a blue one", "a green one"),
        (check("contains", "x", negate=True), "a", "x"),
        (check("equals", "Paris"), " Paris\n", "Paris."),
        (check("equals", ["yes", "yes."], ignore_case=True), "Yes.", "yes!"),
        (check("starts_with", "In short"), "\nIn short, so.", "So, in short."),
        (check("number", 1.45, tolerance=0.001), "So 5 - 3.55 = 1.45.", "1.45 or 1.46"),
        (check("number", 0.3), "0.3", "0.31"),
        (check("number", 1234567), "about 1,234,567 people", "1,234"),
        (check("number", -4), "it is −4 °C", "it is 4 °C"),
        (check("number", 42), "42km", "none"),
        (check("number", low=1, high=3), "2", "3.5"),
        (check("regex", r"^\s*\d{3}$"), " 366", "366 days"),
        (check("regex", r"\bPARIS\b", ignore_case=True), "paris", "parisian"),
        (check("regex", r"(\w+) \1$"), "the the", "the then"),
        (check("json"), ' {"a": [1, null]} ', "{'a': 1}"),
        (check("json"), "3", "NaN"),
        (check("json_schema", SCHEMA), '{"age": 3}', '{"age": -3}'),
        (check("json_schema", SCHEMA), '{"age": 3, "x": 1}', "[]"),
        (check("tool_call", name="get_weather"), CALL, "{}"),
        (check("tool_call", name="get_weather", arguments={"days": 2}), CALL, CALL.replace("2", "3")),
        (check("tool_call", name="get_weather", arguments={"late": True}), CALL, CALL.replace("true", "1")),
        (check("tool_call", name="get_weather"), f"Let me see. <tool_call>\n{CALL}\n</tool_call>", f"I call {CALL}"),
        (
            check("tool_call", name="f", arguments={"x": 1}),
            '[{"function": {"name": "f", "arguments": "{\\"x\\": 1}"}}]',
            '[{"function": {"name": "g", "arguments": "{\\"x\\": 1}"}}]',
        ),
        (check("tool_call", name="f", negate=True), "In plain words.", '{"name": "f", "parameters": {}}'),
    ],
)
def test_a_check(made: Check, good: str, bad: str) -> None:
    assert problem_of(made) == ""
    assert check_answer(made, good) == ""
    assert check_answer(made, bad)


@pytest.mark.parametrize(
    "made",
    [
        check("contains"), check("contains", []), check("contains", ["a", 1]), check("equals", ""), check("number"),
        check("number", "3"), check("number", True), check("number", 1, low=0), check("regex", "["), check("regex", 1),
        check("regex", "a{1000000}"), check("json_schema", "x"), check("json_schema", {"type": "nothing"}),
        check("json_schema", {"$ref": "http://127.0.0.1:9/schema"}), check("tool_call"), check("choice", "a"),
        check("tool_call", name="f", arguments=[1]), check("choice", "c", choices=("a", "b")),
        check("choice", 2, choices=("a", "b")), check("choice", True, choices=("a", "b")),
    ],
)  # fmt: skip
def test_a_check_that_cannot_be_made(made: Check) -> None:
    assert problem_of(made)


def test_a_pattern_that_would_take_for_ever_fails_either_way() -> None:
    for negate in (False, True):
        made = check("regex", r"(?=a)(a+)+\1$", negate=negate)
        assert problem_of(made) == ""
        assert "too long" in check_answer(made, "a" * 5000 + "b")
    assert check_answer(check("regex", "^(a+)+$"), "a" * 60 + "b") == "it matches nothing"


def test_an_answer_that_is_nested_too_deep() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    assert check_answer(check("json"), deep)
    assert check_answer(check("json_schema", SCHEMA), deep)
    assert check_answer(check("tool_call", name="f"), deep)


def test_a_choice() -> None:
    made = check("choice", "no", choices=("yes", "no"))
    assert check_choice(made, (-2.0, -1.0)) == ""
    assert check_choice(made, (-1.0, -2.0)) == 'finds "yes" most likely, not "no"'
    assert check_choice(check("choice", 0, choices=("yes", "no")), (-1.0, -2.0)) == ""
    assert made.label == 'choice "no"'


KINDS = ("contains", "contains_any", "equals", "starts_with", "number", "regex", "json", "json_schema", "tool_call")


@settings(max_examples=30)
@given(
    st.sampled_from(KINDS),
    st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.lists(st.text(max_size=5)), st.none()),
    st.text(max_size=80),
    st.booleans(),
)
def test_any_check_of_any_answer_has_a_verdict(kind: str, value: object, answer: str, negate: bool) -> None:
    made = check(kind, value, name="f", negate=negate)
    assert isinstance(made.label, str)
    if not problem_of(made):
        assert isinstance(check_answer(made, answer), str)
