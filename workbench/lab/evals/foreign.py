"""The simple forms of packs of promptfoo and lm-eval: what they mean in this program's own.

promptfoo (https://www.promptfoo.dev/docs/configuration/reference): `prompts` with `{{variables}}`, `tests` with `vars`
and `assert`, `defaultTest`; assertions that need no judge and no code. lm-eval (task files of the LM evaluation
harness): `output_type: multiple_choice` over a local JSON or JSON-lines file, without examples. Templates are
`{{name}}` alone: filters and statements are refused.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_YAML = 512 * 2**10
"""Characters of the largest YAML file: the reader takes seconds for as many."""
MOST_VALUES = 200_000
"""Values of a YAML file with its aliases resolved: a short one can stand for billions."""
DEEPEST = 1_000
"""Open brackets in a YAML file."""
MOST_VARIANTS = 5_000
"""Cases that one test makes of its lists of variables."""
_TEMPLATE = re.compile(r"\{\{-?\s*(?:doc\.)?(\w+)\s*-?\}\}")
_SIMPLE_ASSERTS = {
    "equals": ("equals", False), "contains": ("contains", False), "icontains": ("contains", True),
    "contains-all": ("contains", False), "icontains-all": ("contains", True),
    "contains-any": ("contains_any", False), "icontains-any": ("contains_any", True),
    "starts-with": ("starts_with", False), "regex": ("regex", False),
}  # fmt: skip
"""Assertions of promptfoo: the check of each, and whether it ignores case."""


class Unreadable(Exception):
    """A pack that cannot be read at all."""

    def __init__(self, message: str, line: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.hint = hint


@dataclass(frozen=True, slots=True)
class RawCase:
    """A case before its fields are checked, or why there is none."""

    line: int
    fields: object
    problem: str = ""


Foreign = tuple[object, str, Iterable[RawCase] | None]
"""The document, the name of the pack and its cases; None for cases in this program's own form."""


def read_foreign(text: str, folder: Path, *, yaml: bool) -> Foreign:
    """Read a JSON or YAML document; relative paths in it begin in `folder`. Raises `Unreadable`."""
    lines: Sequence[int] = ()
    if yaml:
        document, lines = _read_yaml(text)
    else:
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise Unreadable(f"it is no JSON ({error.msg})", error.lineno) from None
        except ValueError as error:
            raise Unreadable(f"it is no JSON ({error})") from None
    if not isinstance(document, dict):
        raise Unreadable("it is no pack", 0, "A pack has cases, or is a file of promptfoo or lm-eval.")
    if "cases" in document:
        return document, "", None
    if "tests" in document or "prompts" in document:
        return document, _text(document.get("description")), _promptfoo(document, lines)
    if "task" in document or "output_type" in document:
        return document, _text(document.get("task")), _lm_eval(document, folder)
    raise Unreadable("it has neither cases, nor the tests of promptfoo, nor the task of lm-eval")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _read_yaml(text: str) -> tuple[object, Sequence[int]]:
    """The document, and the lines of its tests."""
    if len(text) > LARGEST_YAML:
        raise Unreadable(f"it is larger than {LARGEST_YAML // 2**10} KiB", 0, "Convert it to JSON.")
    try:
        import yaml
    except ImportError:
        raise Unreadable("YAML cannot be read here", 0, "Install pyyaml, or convert the file to JSON.") from None

    depth = itertools.accumulate((character in "[{") - (character in "]}") for character in text)
    if max(depth, default=0) > DEEPEST:
        # The time of the reader grows with the square of it.
        raise Unreadable("it is nested too deep")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, ()
        _check_size(node)
        tests = [value for key, value in node.value if key.value == "tests"] if node.id == "mapping" else []
        items = tests[0].value if tests and tests[0].id == "sequence" else ()
        return loader.construct_document(node), [item.start_mark.line + 1 for item in items]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 0
        raise Unreadable(f"it is no YAML that can be read ({error.problem})", line) from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise Unreadable(f"it is no YAML that can be read ({str(error).splitlines()[0]})") from None


def _check_size(root: Any) -> None:  # noqa: ANN401 - a node of yaml, which is imported late
    """Raise `Unreadable` for a document of too many values; an alias counts as all that it stands for."""
    todo, count = [root], 0
    while todo:
        node = todo.pop()
        count += 1
        if count > MOST_VALUES:
            raise Unreadable("its aliases stand for too many values", node.start_mark.line + 1)
        if node.id == "sequence":
            todo += node.value
        elif node.id == "mapping":
            todo += [part for pair in node.value for part in pair]


def _filled(template: str, values: Mapping[str, object]) -> str:
    """A template with its variables; raises ValueError for one that is not simple, or an unknown name."""

    def value_of(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ValueError(f"the template has a variable {found[1]!r} that nothing sets")
        value = values[found[1]]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

    rest = _TEMPLATE.sub("", template)
    if "{{" in rest or "{%" in rest:
        raise ValueError("the template has more than {{name}}, which is not understood")
    return _TEMPLATE.sub(value_of, template)


# promptfoo


def _promptfoo(document: Mapping[str, Any], lines: Sequence[int]) -> Iterator[RawCase]:
    if "scenarios" in document:
        raise Unreadable("the scenarios of promptfoo are not understood", 0, "Write them as tests.")
    prompts, tests = document.get("prompts"), document.get("tests", [{}])
    if not isinstance(prompts, list) or not prompts:
        raise Unreadable("its prompts are no list")
    if not isinstance(tests, list):
        raise Unreadable("its tests are no list", 0, "Write the tests into the file itself.")
    default = document.get("defaultTest")
    default = default if isinstance(default, dict) else {}
    for number, test in enumerate(tests):
        line = lines[number] if number < len(lines) else 0
        for prompt in prompts:
            try:
                if not isinstance(test, dict):
                    raise ValueError(f"test {number + 1} is no table")
                for fields in _cases_of(prompt, test, default):
                    yield RawCase(line, fields)
            except ValueError as error:
                yield RawCase(line, None, f"test {number + 1}: {error}")


def _cases_of(prompt: object, test: Mapping[str, Any], default: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    template = prompt.get("raw") if isinstance(prompt, dict) else prompt
    if not isinstance(template, str) or not template.strip():
        raise ValueError("a prompt is no text")
    if template.startswith(("file://", "exec:")):
        raise ValueError(f"the prompt {template[:60]!r} is in another file, which is not read")
    if "threshold" in test or test.get("options"):
        raise ValueError("its threshold or options are not understood: all checks have to hold")
    found = [part.get("vars") or {} for part in (default, test)]
    asserts = [each for part in (default, test) for each in part.get("assert") or ()]
    if not all(isinstance(each, dict) for each in (*found, *asserts)):
        raise ValueError("its vars or assertions are no tables")
    variables = {**found[0], **found[1]}
    lists = {name: value if isinstance(value, list) else [value] for name, value in variables.items()}
    sets = itertools.product(*lists.values())
    for values in itertools.islice(sets, MOST_VARIANTS):
        names = dict(zip(lists, values, strict=True))
        fields: dict[str, object] = {"checks": [_check_of(each, names) for each in asserts]}
        question = _filled(template, names)
        if question.lstrip().startswith("[{"):
            fields["messages"] = _chat_of(question)
        else:
            fields["prompt"] = question
        tags = test.get("metadata")
        if isinstance(tags, dict):
            fields["tags"] = [f"{key}:{value}" for key, value in tags.items() if isinstance(value, str | int)]
        yield fields
    if next(sets, None) is not None:
        raise ValueError(f"its lists of variables make more than {MOST_VARIANTS:,} cases")


def _chat_of(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("its prompt begins as a conversation in JSON, and is none") from None


def _check_of(found: Mapping[str, Any], names: Mapping[str, object]) -> dict[str, object]:
    kind = found.get("type")
    kind, negate = _text(kind).removeprefix("not-"), _text(kind).startswith("not-")
    if found.get("weight", 1) != 1 or "threshold" in found or "transform" in found:
        raise ValueError(f"the weight, threshold or transform of {kind!r} is not understood")
    value = found.get("value")
    if kind == "is-json":
        return {"type": "json", "negate": negate} if value is None else {
            "type": "json_schema", "value": value, "negate": negate
        }  # fmt: skip
    if kind not in _SIMPLE_ASSERTS:
        raise ValueError(f"the assertion {kind[:40]!r} needs a judge or code, or is not known")
    check, ignore_case = _SIMPLE_ASSERTS[kind]
    values = value if isinstance(value, list) else [value]
    if isinstance(value, str) and kind.endswith(("-all", "-any")):
        values = [part.strip() for part in value.split(",")]
    if not all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in values):
        raise ValueError(f"the value of {kind!r} is no text")
    texts = [_filled(str(each), names) for each in values]
    return {
        "type": check, "value": texts if len(texts) > 1 else texts[0], "ignore_case": ignore_case, "negate": negate
    }  # fmt: skip


# lm-eval


def _lm_eval(task: Mapping[str, Any], folder: Path) -> Iterator[RawCase]:
    if task.get("output_type") != "multiple_choice":
        raise Unreadable("of lm-eval's tasks only those with output_type: multiple_choice are understood")
    if task.get("num_fewshot"):
        raise Unreadable("num_fewshot is not understood", 0, "Set it to 0, or write the examples into doc_to_text.")
    for line, document in _documents(task, folder):
        try:
            if not isinstance(document, dict):
                raise ValueError("the document is no table")
            yield RawCase(line, _choice_of(task, document))
        except ValueError as error:
            yield RawCase(line, None, str(error))


def _choice_of(task: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, object]:
    choices = task.get("doc_to_choice")
    name = _TEMPLATE.fullmatch(choices.strip()) if isinstance(choices, str) else None
    if isinstance(choices, str):
        choices = document.get(name[1] if name else choices)
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise ValueError("doc_to_choice gives no list of texts")
    target = _column(task.get("doc_to_target"), document)
    if isinstance(target, str) and target not in choices and target.strip().isdecimal():
        target = int(target)
    if isinstance(target, str) and target in choices:
        target = choices.index(target)
    question = _column(task.get("doc_to_text"), document)
    delimiter = task.get("target_delimiter", " ")
    check = {"type": "choice", "choices": [f"{delimiter}{choice}" for choice in choices], "value": target}
    return {"prompt": question, "raw": True, "checks": [check]}


def _column(template: object, document: Mapping[str, Any]) -> object:
    """What a `doc_to_…` gives: a column of its name, or a filled template."""
    if not isinstance(template, str):
        return template
    return document[template] if template in document else _filled(template, document)


def _documents(task: Mapping[str, Any], folder: Path) -> Iterator[tuple[int, object]]:
    """The documents of the test split, with their lines."""
    arguments = task.get("dataset_kwargs")
    files = arguments.get("data_files") if isinstance(arguments, dict) else None
    if isinstance(files, dict):
        files = files.get(task.get("test_split") or task.get("validation_split") or "test")
    names = [files] if isinstance(files, str) else files
    if task.get("dataset_path") != "json" or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise Unreadable(
            "it names no local data",
            0,
            "Set dataset_path: json, and dataset_kwargs with data_files for the test split.",
        )
    for name in names:
        try:
            text = (folder / name).read_text(encoding="utf-8-sig")
            documents = json.loads(text) if name.endswith(".json") else None
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Unreadable(f"its data file {name} cannot be read ({reason})") from None
        if documents is not None:
            yield from ((0, document) for document in (documents if isinstance(documents, list) else [documents]))
            continue
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError):
                    yield number, None
