from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.chat import Message
from workbench.core.errors import PackError
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.lab.evals.from_session import pack_of
from workbench.lab.evals.pack import EvalPack
from workbench.lab.evals.read_pack import find_pack, read_pack, shipped_packs

TOML = """\
name = "Mine"
system = "Be short."
max_tokens = 32

[[cases]]
prompt = "One?"
checks = [{ type = "equals", value = "1" }]

[[cases]]
id = "bad"
prompt = "Two?"
checks = [{ type = "regex", value = "[" }]

[[cases]]
id = "chat"
system = "Be long."
max_tokens = 8
tags = ["a"]
messages = [{ role = "user", content = "x" }, { role = "assistant", content = "y" }, { role = "user", content = "z" }]
checks = [{ type = "json" }]

[[cases]]
prompt = "No check."
"""


def read(folder: Path, text: str, name: str = "pack.toml") -> EvalPack:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_pack(path)


def test_a_pack_in_toml(tmp_path: Path) -> None:
    pack = read(tmp_path, TOML)
    assert (pack.name, [case.id for case in pack.cases]) == ("Mine", ["case-1", "chat", "case-4"])
    (problem,) = pack.problems
    assert str(problem) == 'line 9: case 2 (bad), check 1 (regex): the regular expression "[" is not valid'
    first, chat, _ = pack.cases
    assert first.messages == (Message("system", "Be short."), Message("user", "One?"))
    assert (first.max_tokens, chat.max_tokens, chat.question) == (32, 8, "z")
    assert chat.messages[0] == Message("system", "Be long.")
    assert (first.line, chat.line) == (5, 14)
    assert [case.id for case in pack.checked] == ["case-1", "chat"]
    assert [case.id for case in pack.only(["a"]).cases] == ["chat"]
    assert pack.digest.startswith("sha256:")


def test_a_pack_in_json_lines(tmp_path: Path) -> None:
    good = json.dumps({"prompt": "x", "checks": [{"type": "contains", "value": "é"}]}, ensure_ascii=False)
    pack = read(tmp_path, f"{good}\n\n{{broken\n[1]\n{good}\n", "pack.jsonl")
    assert [case.line for case in pack.cases] == [1, 5]
    assert [problem.line for problem in pack.problems] == [3, 4]
    assert "no JSON" in str(pack.problems[0])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('prompt = "x"\nchecks = [{ type = "json", negates = true }]', "'negates'"),
        ('prompt = "x"\nchecks = [{ type = "jason" }]', "is not one of"),
        ('prompt = "x"\nmessages = [{ role = "user", content = "x" }]', "either a prompt or messages"),
        ("prompt = 1", "'prompt'"),
        ('messages = [{ role = "assistant", content = "x" }]', "is not the user's"),
        ('messages = [{ role = "robot", content = "x" }]', "is not one of"),
        ('prompt = "x"\nmax_tokens = 0', "less than 1"),
        ('prompt = "x"\nid = "first"', "too"),
        (
            'prompt = "x"\nchecks = [{ type = "json" }, { type = "choice", value = 0, choices = ["a", "b"] }]',
            "beside a choice",
        ),
    ],
)
def test_a_broken_case_is_named_with_its_line(tmp_path: Path, text: str, what: str) -> None:
    pack = read(tmp_path, f'[[cases]]\nid = "first"\nprompt = "y"\n\n[[cases]]\n{text}\n')
    (problem,) = pack.problems
    assert problem.line == 5
    assert what in problem.message


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.toml", "\ncases = [x]", "line 2"),
        ("a.toml", "", "no case"),
        ("a.toml", "nme = 1", "'nme'"),
        ("a.toml", '[[cases]]\nprompt = ""', "no case that can be used. line 1"),
        ("a.txt", "", "one of .toml"),
        ("a.json", "{\n,}", "line 2"),
        ("a.json", "[]", "no pack"),
        ("a.json", "{}", "neither cases"),
        ("a.yaml", "tests: [\n- :\n  ]: {", "line"),
        ("a.yaml", "prompts: [a]\ntests: !!python/name:os.system []", "line 2"),
        ("a.yaml", "", "no pack"),
        ("a.yaml", "prompts: [x]\nscenarios: []\ntests: []", "scenarios"),
        ("a.yaml", "prompts: [x]\ntests: file://tests.csv", "no list"),
        ("a.yaml", "task: x\noutput_type: generate_until", "multiple_choice"),
        ("a.yaml", "task: x\noutput_type: multiple_choice\ndataset_path: super_glue", "no local data"),
    ],
)
def test_a_pack_that_cannot_be_read(tmp_path: Path, name: str, text: str, what: str) -> None:
    with pytest.raises(PackError, match=what):
        read(tmp_path, text, name)


@pytest.mark.parametrize(("name", "part"), [("a.json", "["), ("a.yaml", "["), ("a.yaml", "- "), ("a.toml", "x=[")])
def test_a_document_that_is_nested_too_deep(tmp_path: Path, name: str, part: str) -> None:
    with pytest.raises(PackError, match=r"nested too deep|no TOML"):
        read(tmp_path, part * 100_000, name)


def test_aliases_that_stand_for_billions_are_refused(tmp_path: Path) -> None:
    rows = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(PackError, match="too many values"):
        read(tmp_path, "\n".join(["a0: &a0 [x, x]", *rows, "prompts: [x]"]), "a.yaml")


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="Did you mean 'instructions'"):
        find_pack("instruction")
    (tmp_path / "latin.toml").write_bytes(b'[[cases]]\nprompt = "\xe9"\n')
    with pytest.raises(PackError, match="line 2: it is not UTF-8"):
        read_pack(tmp_path / "latin.toml")


@pytest.mark.parametrize("name", shipped_packs())
def test_the_packs_that_come_along(name: str) -> None:
    pack = find_pack(name)
    assert not pack.problems
    assert len(pack.checked) == len(pack.cases) >= 12
    assert all(case.tags and case.line for case in pack.cases)


PROMPTFOO = """\
description: Capitals
prompts:
  - "What is the capital of {{ country }}? {{style}}"
  - '[{"role": "system", "content": "Be {{style}}"}, {"role": "user", "content": "Capital of {{country}}?"}]'
providers: [openai:gpt-4]
defaultTest:
  vars: { style: short }
tests:
  - vars:
      country: [France, Italy]
    assert:
      - type: icontains-any
        value: ["{{country}}", x]
      - { type: not-regex, value: "[0-9]" }
    metadata: { kind: europe }
  - vars: { country: Spain }
    assert:
      - type: llm-rubric
        value: is right
  - vars: { land: Spain }
"""


def test_a_file_of_promptfoo(tmp_path: Path) -> None:
    pack = read(tmp_path, PROMPTFOO, "p.yaml")
    assert [case.question for case in pack.cases] == [
        "What is the capital of France? short",
        "What is the capital of Italy? short",
        "Capital of France?",
        "Capital of Italy?",
    ]
    case = pack.cases[2]
    assert case.messages[0] == Message("system", "Be short")
    assert [check.label for check in case.checks] == ['contains any ["France", "x"]', "not regex [0-9]"]
    assert case.checks[0].ignore_case
    assert (case.tags, case.line) == (("kind:europe",), 9)
    assert [problem.line for problem in pack.problems] == [16, 16, 20, 20]
    assert "'llm-rubric' needs a judge" in str(pack.problems[0])
    assert "'country'" in str(pack.problems[2])


def test_a_task_of_lm_eval(tmp_path: Path) -> None:
    rows = [
        {"question": "2 + 2", "options": ["3", "4"], "label": 1},
        {"question": "3 + 3", "options": ["6", "7"], "label": 5},
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{x\n")
    task = """\
task: sums
dataset_path: json
dataset_kwargs: { data_files: { test: data.jsonl } }
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: "{{options}}"
doc_to_target: label
metric_list: [{ metric: acc }]
"""
    pack = read(tmp_path, task, "task.yaml")
    (case,) = pack.cases
    assert (pack.name, case.question, case.raw) == ("sums", "Question: 2 + 2\nAnswer:", True)
    assert case.choice is not None
    assert (case.choice.choices, case.choice.value) == ((" 3", " 4"), 1)
    assert [problem.line for problem in pack.problems] == [2, 3]


@settings(max_examples=30)
@given(st.text(max_size=200), st.sampled_from(("a.toml", "a.jsonl", "a.json", "a.yaml")))
def test_any_text_is_a_pack_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(PackError):
        assert read_pack(path).cases


def session_of(*texts: str, system: str = "") -> Session:
    turns = tuple(Turn(Message("assistant" if n % 2 else "user", text), 0.0) for n, text in enumerate(texts))
    return Session("s", 0.0, 0.0, system=system, tree=Tree.of(turns))


def test_a_pack_of_a_session(tmp_path: Path) -> None:
    session = session_of(
        "Capital of France?", "Paris.", "As JSON?", '{"a": 1}', "A \"poem\"?\n'''", "Roses\nare red", "x"
    )
    pack = read(tmp_path, pack_of(session), "own.toml")
    assert [case.id for case in pack.cases] == ["turn-1", "turn-3", "turn-5", "turn-7"]
    assert [[check.label for check in case.checks] for case in pack.cases] == [['contains "Paris"'], ["json"], [], []]
    assert pack.cases[2].answer == "Roses\nare red"
    assert [message.content for message in pack.cases[1].messages] == ["Capital of France?", "Paris.", "As JSON?"]
    with pytest.raises(PackError, match="no question"):
        pack_of(session_of())


@settings(max_examples=20)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4), st.text(max_size=10))
def test_any_session_makes_a_pack(texts: list[str], system: str) -> None:
    session = session_of(*texts, system=system)
    try:
        found = tomllib.loads(pack_of(session))
    except PackError:
        assert not any(text.strip() for text in texts[::2])
        return
    asked = [text for text in texts[::2] if text.strip()]
    shown = [case.get("prompt") or case["messages"][-1]["content"] for case in found["cases"]]
    assert shown == [text.replace("\r\n", "\n") for text in asked]
