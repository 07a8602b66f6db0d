"""Messages, tools and tool calls of Ollama's API as values for templates.

The input is the JSON of the API (`role`, `content`, `tool_calls`, …). Missing fields get Go's zero value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from workbench.modelfile.gotemplate.json_text import to_json
from workbench.modelfile.gotemplate.values import Members, PrintedList, PrintedMap, Struct, Value, is_nil, sound_text

Json = Mapping[str, object]

_Make = Callable[[object], Value]

MESSAGE = "api.Message"

MAX_DEPTH = 30
"""The deepest nesting of the properties of a tool; deeper ones are left out."""


def plain(value: object) -> Value:
    """A JSON value, with every number as a float, as in Go."""
    match value:
        case bool() | None:
            return value
        case int() | float():
            try:
                return float(value)
            except OverflowError:
                return math.inf if value > 0 else -math.inf
        case str():
            return sound_text(value)
        case Mapping():
            return {sound_text(str(key)): plain(member) for key, member in value.items()}
        case list() | tuple():
            return [plain(element) for element in value]
    return None


def _text(value: object) -> str:
    return sound_text(value) if isinstance(value, str) else ""


def _int(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _members(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else ()


def _slice(values: list[Value]) -> list[Value]:
    """A list of Go, where an empty one was never made."""
    return values or _nil_list()


def _nil_list(_: object = ()) -> list[Value]:
    return PrintedList((), None, None, _nil_list)


def _texts(value: object) -> list[Value]:
    return _slice([_text(element) for element in _list(value)])


def _map(value: object, make: _Make, *, ordered: bool = False) -> PrintedMap:
    """A map that prints as JSON, its keys sorted or in the order of `value`; nil for no map."""
    if not isinstance(value, Mapping):
        return PrintedMap({}, None, "{}")
    items = value.items() if ordered else sorted(value.items())
    members = Members({_text(name): make(member) for name, member in items})
    return PrintedMap(members, members, to_json(members))


def _struct(
    type_name: str, names: str, fields: Mapping[str, Value], required: Iterable[str] = (), *, prints: bool = False
) -> Struct:
    """A struct whose fields have these names in JSON; with `prints`, it prints as that.

    The JSON form has the `required` fields, and those that are not empty.
    """
    members = zip(names.split(), fields.values(), strict=True)
    document = Members({name: value for name, value in members if name in required or not _is_left_out(value)})
    return Struct(type_name, fields, document, to_json(document) if prints else None)


def _is_left_out(value: Value) -> bool:
    """Whether Go leaves a field out of JSON: an empty text, and nil."""
    return value == "" or is_nil(value)


def messages(sources: Iterable[Json]) -> list[Value]:
    """The messages of a conversation."""
    return _slice([_message(source) for source in sources])


def _message(source: Json) -> Struct:
    fields: dict[str, Value] = {
        "Role": _text(source.get("role")),
        "Content": _text(source.get("content")),
        "Thinking": _text(source.get("thinking")),
        "Images": _texts(source.get("images")),
        "ToolCalls": _slice([_tool_call(call) for call in _list(source.get("tool_calls"))]),
        "ToolName": _text(source.get("tool_name")),
        "ToolCallID": _text(source.get("tool_call_id")),
    }
    return Struct(MESSAGE, fields, Members(fields))


def _tool_call(source: object) -> Struct:
    call = _members(source)
    function = _members(call.get("function"))
    inner: dict[str, Value] = {
        "Index": _int(function.get("index")),
        "Name": _text(function.get("name")),
        "Arguments": _map(function.get("arguments"), plain),
    }
    called = Struct("api.ToolCallFunction", inner, Members(inner))
    fields: dict[str, Value] = {"ID": _text(call.get("id")), "Function": called}
    return Struct("api.ToolCall", fields, Members(fields))


def tools(sources: Iterable[object]) -> PrintedList:
    """The tools that a model may call."""
    return _tool_list([_tool(_members(source)) for source in sources])


def _tool_list(values: list[Value]) -> PrintedList:
    document: Value = list(values) if values else None
    return PrintedList(values, document, to_json(document), _tool_list)


def _tool(source: Json) -> Struct:
    function = _members(source.get("function"))
    inner: dict[str, Value] = {
        "Name": _text(function.get("name")),
        "Description": _text(function.get("description")),
        "Parameters": _parameters(_members(function.get("parameters"))),
    }
    names = "name description parameters"
    called = _struct("api.ToolFunction", names, inner, names.split())
    fields: dict[str, Value] = {
        "Type": _text(source.get("type")),
        "Items": plain(source.get("items")),
        "Function": called,
    }
    return _struct("api.Tool", "type items function", fields, ("type", "function"), prints=True)


def _parameters(source: Json) -> Struct:
    fields: dict[str, Value] = {
        "Type": _text(source.get("type")),
        "Defs": plain(source.get("$defs")),
        "Items": plain(source.get("items")),
        "Required": _texts(source.get("required")),
        "Properties": _properties(source.get("properties"), 0),
    }
    names = "type $defs items required properties"
    return _struct("api.ToolFunctionParameters", names, fields, ("type", "properties"))


def _properties(source: object, depth: int) -> PrintedMap:
    """The properties of a tool, sorted, and those of a property, in their order."""
    source = source if depth < MAX_DEPTH else None
    return _map(source, lambda member: _property(member, depth + 1), ordered=depth > 0)


def _property(source: object, depth: int) -> Struct:
    members = _members(source)
    alternatives = _list(members.get("anyOf")) if depth < MAX_DEPTH else ()
    fields: dict[str, Value] = {
        "AnyOf": _slice([_property(each, depth + 1) for each in alternatives]),
        "Type": _property_type(members.get("type")),
        "Items": plain(members.get("items")),
        "Description": _text(members.get("description")),
        "Enum": _slice([plain(each) for each in _list(members.get("enum"))]),
        "Properties": _properties(members.get("properties"), depth),
        "Required": _texts(members.get("required")),
    }
    return _struct("api.ToolProperty", "anyOf type items description enum properties required", fields)


def _property_type(source: object) -> PrintedList:
    return _type_list([_text(source)] if isinstance(source, str) else _texts(source))


def _type_list(names: list[Value]) -> PrintedList:
    if len(names) > 1:
        return PrintedList(names, list(names), f"[{' '.join(map(str, names))}]", _type_list)
    return PrintedList(names, names[0] if names else None, "".join(map(str, names)), _type_list)
