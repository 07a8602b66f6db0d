"""What each type of check does with an answer.

contains      every text of `value` is in the answer
contains_any  one of them is
equals        the answer is one of them, but for white space around it
starts_with   it begins with one of them
number        its last number is within `tolerance` of `value`, or from `low` to `high`
regex         the pattern `value` matches somewhere in it
json          it is one JSON value
json_schema   it is a JSON value that is valid under the schema `value`
tool_call     it is, or has in the markup of a family (`core/tool_calls.py`), a call of the tool `name` with `arguments`
choice        the model finds the right one of `choices` most likely; no answer is generated

Patterns are those of JSON Schema: `^` and `$` are the ends of the answer.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from workbench.core.tool_calls import calls_in
from workbench.json_schemas import UndecidedError, first_line, mismatch, validator
from workbench.lab.evals.pack import Check, CheckType

_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d{1,300})(?:\.\d{1,300})?(?:[eE][-+]?\d{1,4})?")
LONGEST_ANSWER = 1_000_000
"""Characters of an answer that are checked."""
LONGEST_VALUE = 80

Problem = str
"""Why a check fails; empty where it passes."""


def check_answer(check: Check, answer: str) -> Problem:
    """Check an answer; every type but `choice`."""
    try:
        problem = _CHECKS[check.type](check, answer[:LONGEST_ANSWER])
    except UndecidedError as error:
        return str(error)
    if not check.negate:
        return problem
    return "" if problem else "the answer has it"


def check_choice(check: Check, scores: Sequence[float]) -> Problem:
    """Check the log-probabilities of the choices."""
    best = max(range(len(scores)), key=scores.__getitem__)
    right = right_choice(check)
    if (best == right) != check.negate:
        return ""
    return f"finds {_short(check.choices[best])} most likely, not {_short(check.choices[right])}"


def right_choice(check: Check) -> int:
    """The index of the right choice."""
    return check.value if isinstance(check.value, int) else check.choices.index(str(check.value))


def problem_of(check: Check) -> Problem:
    """Why a check cannot be made; empty where it can."""
    if check.type in ("contains", "contains_any", "equals", "starts_with"):
        values = check.value if isinstance(check.value, list | tuple) else [check.value]
        fits = bool(values) and all(isinstance(value, str) and value for value in values)
        return "" if fits else "its value is no text and no list of texts"
    return _PROBLEMS[check.type](check)


def _number_problem(check: Check) -> Problem:
    given = [bound for bound in (check.value, check.low, check.high) if bound is not None]
    if not given or not all(map(_is_number, given)):
        return "it needs a number as its value, or as low and high"
    return "it has a value and bounds: give one of them" if check.value is not None and len(given) > 1 else ""


def _tool_problem(check: Check) -> Problem:
    if not check.name:
        return "it needs the name of the tool"
    return "" if check.arguments is None or isinstance(check.arguments, dict) else "its arguments are no table"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _choice_problem(check: Check) -> Problem:
    if len(check.choices) < 2 or not all(check.choices):
        return "it needs two or more choices"
    value = check.value
    if isinstance(value, bool) or not isinstance(value, int | str):
        return "its value is neither one of the choices nor the index of one"
    known = value in check.choices if isinstance(value, str) else 0 <= value < len(check.choices)
    return "" if known else f"its value {_short(value)} is none of the choices"


# Texts


def _folded(check: Check, answer: str) -> tuple[tuple[str, ...], str]:
    if check.ignore_case:
        return tuple(text.casefold() for text in check.texts), answer.casefold()
    return check.texts, answer


def _contains(check: Check, answer: str) -> Problem:
    texts, answer = _folded(check, answer)
    missing = next((text for text, folded in zip(check.texts, texts, strict=True) if folded not in answer), None)
    return "" if missing is None else f"{_short(missing)} is not in it"


def _contains_any(check: Check, answer: str) -> Problem:
    texts, answer = _folded(check, answer)
    return "" if any(text in answer for text in texts) else "none of them is in it"


def _equals(check: Check, answer: str) -> Problem:
    texts, answer = _folded(check, answer)
    return "" if answer.strip() in (text.strip() for text in texts) else "the answer is another one"


def _starts_with(check: Check, answer: str) -> Problem:
    texts, answer = _folded(check, answer)
    return "" if answer.lstrip().startswith(texts) else "it begins otherwise"


# Numbers


def _number(check: Check, answer: str) -> Problem:
    found = deque(_NUMBER.finditer(answer), maxlen=1)
    if not found:
        return "it has no number"
    number = float(found[0][0].replace(",", "").replace("−", "-"))
    if isinstance(check.value, int | float):
        # A decimal fraction such as 0.1 is none of the numbers that a computer has.
        slack = check.tolerance + 1e-9 * max(1.0, abs(check.value))
        return "" if abs(number - check.value) <= slack else f"its last number is {number:g}, not {check.value:g}"
    low, high = -math.inf if check.low is None else check.low, math.inf if check.high is None else check.high
    return "" if low <= number <= high else f"its last number is {number:g}"


# Patterns and schemas


def _pattern_problem(check: Check) -> Problem:
    if not isinstance(check.value, str) or not check.value:
        return "its value is no regular expression"
    try:
        _pattern(check.value, check.ignore_case)
    except ValueError:
        return f"the regular expression {_short(check.value)} is not valid"
    return ""


@lru_cache(maxsize=512)
def _pattern(pattern: str, ignore_case: bool) -> Any:  # noqa: ANN401 - a validator
    return validator({"pattern": f"(?i){pattern}" if ignore_case else pattern})


def _regex(check: Check, answer: str) -> Problem:
    return "it matches nothing" if mismatch(answer, _pattern(check.texts[0], check.ignore_case)) else ""


def _schema_problem(check: Check) -> Problem:
    schema = check.value
    if not isinstance(schema, dict):
        return "its value is no JSON schema"
    try:
        validator(schema)
    except (ValueError, TypeError, RecursionError) as error:
        return f"the JSON schema is not valid: {first_line(error)}"
    return ""


def _parsed(answer: str) -> tuple[Any, Problem]:
    """The JSON value of an answer, or why there is none."""
    try:
        return json.loads(answer.strip(), parse_constant=_no_constant), ""
    except json.JSONDecodeError as error:
        return None, f"it is no JSON ({error.msg}, line {error.lineno})"
    except (ValueError, RecursionError) as error:
        return None, f"it is no JSON ({first_line(error)})"


def _no_constant(word: str) -> float:
    raise ValueError(f"JSON has no {word}")


def _json(_check: Check, answer: str) -> Problem:
    return _parsed(answer)[1]


def _json_schema(check: Check, answer: str) -> Problem:
    value, problem = _parsed(answer)
    if problem or not isinstance(check.value, dict):
        return problem
    return mismatch(value, validator(check.value))


# Tool calls


def _tool_call(check: Check, answer: str) -> Problem:
    problem = "it has no tool call"
    for call in calls_in(answer):
        if call.name != check.name:
            problem = f"it calls {_short(call.name)}, not {_short(check.name)}"
            continue
        arguments = call.values
        wanted = check.arguments if isinstance(check.arguments, dict) else {}
        wrong = next((key for key, value in wanted.items() if not _same(arguments.get(key), value)), None)
        if wrong is None:
            return ""
        problem = f"its argument {wrong} is {_short(arguments.get(wrong))}, not {_short(wanted[wrong])}"
    return problem


def _same(found: object, wanted: object) -> bool:
    """Whether two JSON values are equal, and true is not 1."""
    if isinstance(found, bool) != isinstance(wanted, bool):
        return False
    return found == wanted


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


_CHECKS: Mapping[CheckType, Callable[[Check, str], Problem]] = {
    "contains": _contains,
    "contains_any": _contains_any,
    "equals": _equals,
    "starts_with": _starts_with,
    "number": _number,
    "regex": _regex,
    "json": _json,
    "json_schema": _json_schema,
    "tool_call": _tool_call,
}

_PROBLEMS: Mapping[CheckType, Callable[[Check], Problem]] = {
    "number": _number_problem,
    "regex": _pattern_problem,
    "json": lambda _: "",
    "json_schema": _schema_problem,
    "tool_call": _tool_problem,
    "choice": _choice_problem,
}
