"""Answers in a format from the command line."""

from __future__ import annotations

import json

import pytest

SCHEMA = (
    '{"type": "object", "properties": {"cat": {"enum": ["Mia"]}}, "required": ["cat"], "additionalProperties": false}'
)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "cat.json").write_text(SCHEMA)
    (tmp_path / "list.gbnf").write_text('root ::= "yes" | "no"')
    (tmp_path / "bad.json").write_text('{"properties": {"a": {"uniqueItems": true}}}')
    return {path.name: str(path) for path in tmp_path.iterdir()}


def test_run_holds_an_answer_to_a_schema(call, files):
    status, out, err = call("run", "demo", "A cat?", "--schema", files["cat.json"], "--max-tokens", "40", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert json.loads(found["text"]) == {"cat": "Mia"}
    assert (found["format_state"], found["format_problem"], found["finish_reason"]) == ("valid", None, "stop")
    assert found["settings"]["format"] == {"value": files["cat.json"], "from": "command line"}


def test_the_lanes_of_a_race_count_valid_answers(call, files, tmp_path):
    command = ("compare", "scripted", "scripted", "--prompt", "x", "--format", "json")
    status, out, _ = call(*command, "--lane", "2:format=off", "--json")
    assert status == 0
    judged, free = json.loads(out)["lanes"]
    assert (judged["format_state"], judged["valid_answers"], judged["judged_answers"]) == ("invalid", 0, 1)
    assert (free["format_state"], free["valid_answers"], free["judged_answers"]) == (None, None, None)
    _, out, _ = call(*command)
    assert "| valid |" in out
    assert "| 0 of 1 |" in out


@pytest.mark.parametrize(
    ("arguments", "status", "kind", "words"),
    [
        (("--schema", "bad.json"), 1, "format", "at /properties/a: there is no exact grammar for uniqueItems"),
        (("--schema", "none.json"), 1, "format", "No such file"),
        (("--schema", "list.gbnf"), 2, "parameter", "names a grammar"),
        (("--grammar", "cat.json"), 2, "parameter", "names a JSON schema"),
        (("--format", "json", "--schema", "cat.json"), 2, "parameter", "not allowed with"),
    ],
)
def test_mistakes_are_errors_before_a_model_is_loaded(call, files, arguments, status, kind, words):
    arguments = [files.get(each, each) for each in arguments]
    found, out, _ = call("run", "no-such-model", "x", *arguments, "--json")
    error = json.loads(out)["error"]
    assert (found, error["kind"]) == (status, kind)
    assert words in error["message"]
