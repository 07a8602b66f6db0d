"""Tools in the bodies of requests: what may be called, what has to be, and the calls and results of a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.core.parameters import Value
from workbench.core.tools import Tool, ToolCall, calls_schema
from workbench.serve.body import Body
from workbench.serve.errors import invalid

_CHOICES = ("auto", "none", "required", "any")


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of a request."""

    offered: tuple[Tool, ...] = ()
    values: Mapping[str, Value] | None = None
    """The sampling parameters with which the answer is a call, where it has to be one."""

    @classmethod
    def of(cls, tools: Sequence[Tool], choice: str) -> Tools:
        """`choice` is one of `_CHOICES` or, after `=`, the name of the tool that has to be called."""
        if not tools or choice == "none":
            return cls()
        if choice in ("", "auto"):
            return cls(tuple(tools))
        chosen = [tool for tool in tools if choice in ("required", "any", f"={tool.name}")]
        if not chosen:
            raise invalid(f"tool_choice names {choice[1:]!r}, which is none of the tools.", "tool_choice")
        return cls(tuple(tools), {"format": calls_schema(chosen)})


def read_tools(body: Body) -> Tools:
    """The tools of OpenAI's and Ollama's API."""
    found = []
    for each in body.parts("tools"):
        if each.text("type", "function") != "function":
            raise invalid(f"{each.name('type')} must be function.", each.name("type"))
        found.append(_tool(each.part("function"), "parameters"))
    choice = body.raw("tool_choice")
    if isinstance(choice, dict):
        return Tools.of(found, "=" + body.part("tool_choice").part("function").text("name"))
    return Tools.of(found, _known(body.text("tool_choice")))


def read_anthropic_tools(body: Body) -> Tools:
    """The tools of Anthropic's API."""
    found = [_tool(each, "input_schema") for each in body.parts("tools")]
    choice = body.part("tool_choice")
    kind = choice.text("type")
    return Tools.of(found, "=" + choice.text("name") if kind == "tool" else _known(kind))


def _known(choice: str) -> str:
    if choice and choice not in _CHOICES:
        raise invalid(f"tool_choice {choice[:60]!r} is unknown.", "tool_choice", "invalid_value")
    return choice


def _tool(function: Body, schema: str) -> Tool:
    name = function.text("name")
    if not name:
        raise invalid(f"{function.name('name')} must name the tool.", function.name("name"))
    parameters = function.part(schema).values
    return Tool(name, function.text("description"), json.dumps(parameters, ensure_ascii=False))


def read_calls(message: Body) -> tuple[ToolCall, ...]:
    """The calls of an earlier answer: their arguments are an object, or its text."""
    found = []
    for each in message.parts("tool_calls"):
        function = each.part("function")
        given = function.raw("arguments")
        arguments = json.dumps(given, ensure_ascii=False) if isinstance(given, dict) else function.text("arguments")
        call = ToolCall(function.text("name"), arguments or "{}", each.text("id"))
        if call.arguments.strip() != "{}" and not call.values:
            raise invalid(f"{function.name('arguments')} must be a JSON object.", function.name("arguments"))
        found.append(call)
    return tuple(found)
