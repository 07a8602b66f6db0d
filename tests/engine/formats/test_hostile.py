"""Hostile grammars and schemas, read in a child process: whatever they are, it neither ends nor hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CHILD = """
import json, sys
from workbench.core.errors import FormatError
from workbench.engine.formats.answer_format import check_format
from workbench.engine.formats.verdict import judge
for line in sys.stdin:
    value, texts = json.loads(line)
    try:
        form = check_format(value, exact=True)
        print(json.dumps([judge(form, text).state for text in texts]), flush=True)
    except FormatError as error:
        print(json.dumps(str(error)), flush=True)
"""
PATIENCE_S = 300


def read_in_child(*values: tuple[str, list[str]]) -> list[object]:
    """What became of each format: the verdicts on its texts, or the error."""
    orders = "".join(json.dumps(value) + "\n" for value in values)
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=orders,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


GRAMMARS = {
    # The longest chains that are allowed: llguidance recurses.
    "chain": ("\n".join(f"r{i} ::= r{i + 1}" for i in range(998)) + '\nr998 ::= "a"\nroot ::= r0', "a"),
    "optional": ("\n".join(f"r{i} ::= ([a] r{i + 1})?" for i in range(498)) + '\nr498 ::= "a"\nroot ::= r0', "aa"),
    "doubled": ("\n".join(f"r{i} ::= r{i + 1} r{i + 1}" for i in range(30)) + '\nr30 ::= "a"?\nroot ::= r0', "a"),
    "groups": (f"root ::= {'(' * 50}[a]{')' * 50}", "a"),
    "repeats": ("root ::= ((([a]{1000}){1000}){1000}){1000}", "aa"),
    "options": ("root ::= ((([a]{0,100}){0,100}){0,100}){0,100}", "aaa"),
    # llama.cpp has a stack for each of the 2^n ways to end this.
    "doubling": ('root ::= "a" root "b" | "a" root "c" | ""', "a" * 40),
    "ambiguous": ('root ::= "a" (root root?)?', "a" * 30),
    "endless": ('root ::= "a" root', "aaa"),
    "itself": ("root ::= root", ""),
    "hidden": ('root ::= a root "b" | "c"\na ::= b\nb ::= "x" | ""', "c"),
    "long": ('root ::= "' + "a" * 50_000 + '"', "a" * 3000),
    "words": ("root ::= " + " | ".join(f'"w{i}"' for i in range(5000)), "w49"),
}


def test_hostile_grammars(tmp_path):
    orders = []
    for name, (text, answer) in GRAMMARS.items():
        (tmp_path / name).write_text(text)
        orders.append((str(tmp_path / name), [answer]))
    found = dict(zip(GRAMMARS, read_in_child(*orders), strict=True))
    for name in ("itself", "hidden"):
        assert "left recursion" in str(found.pop(name))
    assert found.pop("words") == ["valid"]
    assert {name: state for name, state in found.items() if isinstance(state, str)} == {}


SCHEMAS = [
    '{"$ref": "#"}',
    '{"allOf": [{"$ref": "#"}]}',
    '{"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}',
    '{"properties": {"a": {"$ref": "#/properties/a"}}, "required": ["a"]}',
    '{"pattern": "(((a{1000}){1000}){1000})"}',
    '{"pattern": "^(a|aa)+$", "minLength": 100000000}',
    '{"items": {"items": {"maxItems": 100000000}, "minItems": 100000000}}',
    '{"multipleOf": 1e-300}',
    '{"minimum": 1e400}',
    '{"enum": [' + ",".join(f'"{i}"' for i in range(20000)) + "]}",
    '{"items":' * 59 + '{"allOf":[{"not":{}}]}' + "}" * 59,
    '{"const": ' + "[" * 100 + "]" * 100 + "}",
]


def test_hostile_schemas():
    found = read_in_child(*((schema, ['{"a":', "[1", '"a"', "1"]) for schema in SCHEMAS))
    assert len(found) == len(SCHEMAS)


_names = st.sampled_from(["a", "b/c", "~", "é", '"', ""])
_leaves = st.sampled_from([
    {"type": "string", "maxLength": 2}, {"type": ["integer", "null"], "minimum": -1}, {"enum": [1, "x", None]},
    {"const": {"a": []}}, {"type": "number", "multipleOf": 0.25}, {"pattern": "^[ab]+$"}, {"$ref": "#"},
    {"uniqueItems": True}, {"format": "date"}, {"type": "strange"}, {"minLength": -1}, {},
])  # fmt: skip
_schemas = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.dictionaries(_names, inner, max_size=3).map(lambda parts: {"type": "object", "properties": parts}),
        inner.map(lambda part: {"type": "array", "items": part, "maxItems": 2}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts}),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"allOf": parts}),
        st.tuples(inner, st.booleans()).map(
            lambda both: {"additionalProperties": both[0], "required": ["a"] * both[1]}
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(_schemas, min_size=40, max_size=60))
def test_any_schema_is_a_grammar_or_an_error(schemas):
    orders = [(json.dumps(schema), ["{}", "[1", '"a"', "1", "null", '{"a":{}}']) for schema in schemas]
    for state in read_in_child(*orders):
        assert isinstance(state, str) or set(state) <= {"valid", "truncated", "invalid"}


def test_values_that_are_no_format():
    values = ["\0", "~nobody/x", "/dev/zero", "/proc/self/mem", "{", "{}", "json"]
    for state in read_in_child(*((value, ["{}"]) for value in values)):
        assert state == ["valid"] or isinstance(state, str)
