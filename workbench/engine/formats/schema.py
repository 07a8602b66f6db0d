"""JSON schemas: checking them, and turning them into grammars with llguidance, or saying which part has none.

llguidance (https://github.com/guidance-ai/llguidance) has a grammar with the meaning of the schema or an error, but for
the order of properties, which is that of the schema. The converter of llama-cpp-python ignores `minimum` and other
keywords without a word.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.core.errors import FormatError, did_you_mean
from workbench.json_schemas import Place, first_line, pointer, validator

BLANKS = r"\x20|\x0A{1,2}[\x20\x09]{0,20}"
"""White space between the parts of JSON, as llama.cpp limits it: without a limit, models write it for ever."""
OPTIONS: Any = {"whitespace_pattern": BLANKS, "lenient": False, "coerce_one_of": False}
DEEPEST = 60
"""The deepest nesting of a schema. llguidance and its JSON reader recurse."""
SEARCH_S = 2.0
"""How long the part that has no grammar is searched for."""

_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose value has schemas as the values of an object."""
_PARTS = frozenset({
    "items", "prefixItems", "additionalItems", "additionalProperties", "propertyNames", "contains", "not", "if", "then",
    "else", "anyOf", "oneOf", "allOf", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
"""Keywords whose value is a schema or a list of schemas."""
_ASSERTIONS = frozenset({
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "pattern", "format", "minItems", "maxItems", "uniqueItems", "minContains", "maxContains", "required",
    "minProperties", "maxProperties", "dependentRequired", "dependencies",
})  # fmt: skip
_OTHERS = frozenset({
    "$id", "id", "$schema", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor",
    "$vocabulary", "$comment", "title", "description", "default", "examples", "example", "deprecated", "readOnly",
    "writeOnly", "contentEncoding", "contentMediaType", "contentSchema", "discriminator", "nullable", "xml", "strict",
})  # fmt: skip
_KNOWN = _MAPS | _PARTS | _ASSERTIONS | _OTHERS

_DRAFT = re.compile(r"https?://json-schema\.org/(draft-0[467]|draft/2019-09|draft/2020-12)/schema#?")


def parse(text: str, name: str) -> dict[str, Any]:
    """The JSON object in `text`.

    Raises:
        FormatError: It is none, or it is nested too deep.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{_titled(name)}, line {error.lineno}, column {error.colno}: it is no JSON ({error.msg}).",
            "A format is a JSON schema, or a grammar in GBNF.",
        ) from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise FormatError(f"{_titled(name)} is no JSON: {reason}.") from None
    if not isinstance(value, dict):
        raise FormatError(
            f"{_titled(name)} is no JSON schema.", 'A schema is a JSON object, such as {"type": "object"}.'
        )
    return value


def _titled(name: str) -> str:
    return name[:1].upper() + name[1:] if name.startswith("the ") else f"The schema {name}"


def _no_constant(word: str) -> float:
    raise ValueError(f"JSON has no {word}")


def _wrong(name: str, place: Place, what: str, hint: str = "") -> FormatError:
    return FormatError(f"{_titled(name)}, at {pointer(place)}: {what.rstrip('.')}.", hint)


def check(schema: Mapping[str, Any], name: str) -> None:
    """Check that a schema is valid and complete in itself.

    Raises:
        FormatError: It is not; the message has the JSON pointer of the part.
    """
    import jsonschema_rs

    for place, part in subschemas(schema):
        if len(place) > 2 * DEEPEST:
            raise _wrong(name, place[:8], f"it is nested more than {DEEPEST} deep", "Use $defs and $ref.")
        for word in ("$ref", "$dynamicRef", "$recursiveRef"):
            target = part.get(word, "#")
            if isinstance(target, str) and not target.startswith("#"):
                hint = "Put that schema under $defs, and refer to it with #/$defs/NAME."
                raise _wrong(name, (*place, word), f"{target} is in another document", hint)
        if "$id" in part and place:
            raise _wrong(name, (*place, "$id"), "a part cannot be a document of its own", "Leave out $id.")
        unknown = next((key for key in part if key not in _KNOWN and not key.startswith(("x-", "$"))), None)
        if unknown is not None and (near := did_you_mean(unknown, _KNOWN)):
            raise _wrong(name, (*place, unknown), f"there is no keyword {unknown!r}", near)
    draft = schema.get("$schema", "")
    if draft and not (isinstance(draft, str) and _DRAFT.fullmatch(draft)):
        raise _wrong(name, ("$schema",), "this version of JSON Schema is not known", "Leave it out: 2020-12 is meant.")
    try:
        validator(schema)
    except jsonschema_rs.ValidationError as error:
        raise _wrong(name, tuple(error.instance_path), first_line(error)) from None
    except ValueError as error:
        raise _wrong(name, (), first_line(error)) from None


def subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """A schema and every schema in it, with the ways to them; no `enum` or `default` is taken for one."""
    todo: list[tuple[Place, Mapping[str, Any]]] = [((), schema)]
    while todo:
        place, part = todo.pop()
        yield place, part
        todo += list(children(part, place))[::-1]


def children(schema: Mapping[str, Any], place: Place = ()) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """The schemas directly in a schema."""
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, dict):
            named = [((*place, key, name), part) for name, part in value.items()]
        elif key in _PARTS:
            parts = value if isinstance(value, list) else None
            named = [((*place, key), value)] if parts is None else [((*place, key, i), v) for i, v in enumerate(parts)]
        else:
            continue
        yield from ((where, part) for where, part in named if isinstance(part, dict))


def to_grammar(schema: Mapping[str, Any], name: str) -> str:
    """The grammar for llguidance of a valid schema.

    Raises:
        FormatError: It has no exact one; the message has the JSON pointer of the innermost part without one.
    """
    problem = _problem(schema)
    if not problem:
        return _grammar(schema)
    place, innermost = _innermost(schema, problem)
    raise _wrong(name, place, _plain(innermost), _advice(innermost))


def _grammar(schema: Mapping[str, Any]) -> str:
    from llguidance import LLMatcher

    own = {key: value for key, value in schema.items() if key != "x-guidance"}
    found: str = LLMatcher.grammar_from_json_schema(json.dumps(own), overrides=OPTIONS)
    return found


def _problem(schema: Mapping[str, Any]) -> str:
    """Why a schema has no grammar; empty where it has one."""
    from llguidance import LLMatcher

    try:
        failed, messages = LLMatcher.validate_grammar_with_warnings(_grammar(schema))
    except ValueError as error:
        return str(error)
    return messages[0] if failed or messages else ""


def _innermost(schema: Mapping[str, Any], problem: str) -> tuple[Place, str]:
    """The way to the innermost part that has no grammar, and why it has none."""
    moved = {**_moved(schema)}
    end = time.monotonic() + SEARCH_S
    place: Place = ()
    part: Mapping[str, Any] = schema
    while True:
        for inner, child in children(part, place):
            if time.monotonic() > end:
                return place, problem
            way = "/".join(str(each).replace("~", "~0").replace("/", "~1") for each in inner)
            trouble = _problem({"$ref": f"#/$defs/root/{way}", "$defs": {"root": moved}})
            if trouble:
                place, part, problem = inner, child, trouble
                break
        else:
            return place, problem


def _moved(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """A schema whose references are right where it stands at `#/$defs/root`."""
    if isinstance(value, dict):
        return {
            key: f"#/$defs/root{each[1:]}"
            if key == "$ref" and isinstance(each, str) and each.startswith("#")
            else each
            if key in {"enum", "const", "default", "examples"}
            else _moved(each)
            for key, each in value.items()
            if key != "$id"
        }
    return [_moved(each) for each in value] if isinstance(value, list) else value


def _plain(problem: str) -> str:
    lines: Sequence[str] = [line.strip() for line in problem.splitlines() if line.strip()]
    error = next((line for line in lines if line.startswith("error:")), None)
    text = (error or (lines[0] if lines else "")).removeprefix("error:").strip()
    if text.startswith("Unimplemented keys: "):
        keys = text.removeprefix("Unimplemented keys: ").strip('[]"').replace('", "', ", ")
        return f"there is no exact grammar for {keys}"
    return f"there is no exact grammar: {text.partition('. Enable')[0][:200]}"


def _advice(problem: str) -> str:
    if "Unimplemented" in problem:
        return "Leave the keyword out, and say in the prompt what it means."
    if "oneOf" in problem:
        return "Write anyOf, or make the alternatives differ in a const or a type."
    if "nsatisfiable" in problem:
        return "No value can match it: look for bounds that exclude each other."
    return "Write this part in another way, or leave it out."
