"""The calls of tools in what a model writes, in the markup of families of models.

The forms are those of the chat templates that the models are published with: JSON between tags (Hermes, Qwen, Granite,
Llama), tags for each argument (Qwen3-Coder, GLM, MiniMax, Seed), a name before its JSON (Mistral, DeepSeek, Kimi,
gpt-oss), Python (LFM2) and Gemma's own.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from workbench.core.tools import Tool, ToolCall, no_constant, value_of

HARMONY_CALL: Final = "<|call|>"
"""What stands before a call of gpt-oss, whose header names the tool, in the text of an answer."""

MARKUP: Final[Mapping[str, tuple[str, ...]]] = {
    "<tool_call>": ("</tool_call>",),
    "<tool_call:opensource>": ("</tool_call:opensource>",),
    "<tool_calls>": ("</tool_calls>",),
    "<tool_calls:opensource>": ("</tool_calls:opensource>",),
    "<TOOLCALL>": ("</TOOLCALL>",),
    "<seed:tool_call>": ("</seed:tool_call>",),
    "<minimax:tool_call>": ("</minimax:tool_call>",),
    "]<]minimax[>[<tool_call>": ("]<]minimax[>[</tool_call>",),
    "<atem:function_calls>": ("</atem:function_calls>",),
    "<｜DSML｜function_calls>": ("</｜DSML｜function_calls>",),
    "<｜DSML｜tool_calls>": ("</｜DSML｜tool_calls>",),
    "<function name=": ("</function>",),
    "<function=": ("</function>",),
    "<|START_ACTION|>": ("<|END_ACTION|>",),
    "<|tools_prefix|>": ("<|tools_suffix|>",),
    "<|tool_call_start|>": ("<|tool_call_end|>",),
    "<|tool_calls_section_begin|>": ("<|tool_calls_section_end|>",),
    "<｜tool▁calls▁begin｜>": ("<｜tool▁calls▁end｜>",),
    "<|tool_call>": ("<tool_call|>",),
    "<|tool_calls|>": ("<|calls|>",),
    "<|tool_call|>": ("<|/tool_call|>",),
    "[TOOL_CALLS]": (),
    "<|python_tag|>": (),
    HARMONY_CALL: (),
}
"""What ends the calls after each opening; those without an ending go on to the next opening, or the end."""

_OPENING: Final = re.compile("|".join(map(re.escape, sorted(MARKUP, key=len, reverse=True))))
_MARK: Final = re.compile(r'tool|TOOL|<\|calls\|>|\[ARGS\]|\[CALL_ID\]|_ACTION\||python_tag|DSML|<\|"\|>')
_BARE: Final = re.compile(r'\s*\[?\s*\{\s*"(?:name|function|type"\s*:\s*"function)"')
"""The beginning of an answer that is a call without a markup."""
_BARE_START: Final = re.compile(r'\s*(?:\[\s*)?(?:\{\s*(?:"[a-z]{0,8}(?:"\s*(?::\s*(?:"[a-z]{0,8})?)?)?)?)?\Z')
_NOISE: Final = re.compile(r"｜DSML｜|atem:|:opensource|\]<\]minimax\[>\[|```(?:json)?|\[CALL_ID\]\w*")
_FUNCTION: Final = re.compile(
    r'<(?:function|invoke)(?:=| name=)"?([^\s">]+)"?[^>]*>(.*?)(?:</(?:function|invoke)>|\Z)', re.DOTALL
)
_PARAMETER: Final = re.compile(
    r'<(?:parameter|param)(?:=| name=)"?([^\s">]+)"?([^>]*)>(.*?)</(?:parameter|param)>', re.DOTALL
)
_ELEMENT: Final = re.compile(r"<([\w.-]+)()>(.*?)</\1>", re.DOTALL)
_ARGUMENT: Final = re.compile(r"<arg_key>(.*?)</arg_key>()\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_BETWEEN: Final = re.compile(r"<[^<>]*>|\[[A-Z_]+\]|\s+")
_GEMMA: Final = re.compile(r'<\|"\|>(.*?)<\|"\|>|([A-Za-z_][\w-]*)(?=\s*:)', re.DOTALL)


_DECODER: Final = json.JSONDecoder(parse_constant=no_constant)
LONGEST_CALL = 1_000_000
"""Characters of a call that are read."""


def is_call_mark(text: str) -> bool:
    """Whether the text of a control token may belong to the markup of calls."""
    return _MARK.search(text) is not None and "response" not in text and "RESULT" not in text


def calls_in(text: str, tools: Sequence[Tool] = ()) -> list[ToolCall]:
    """The calls in a whole answer."""
    splitter = CallSplitter(tools)
    return [piece for piece in (*splitter.push(text), *splitter.flush()) if isinstance(piece, ToolCall)]


class CallSplitter:
    """Separates calls of `tools` from the text of an answer. Without tools, a call of any name is one."""

    def __init__(self, tools: Sequence[Tool] = ()) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._held = ""
        self._opening = ""
        self._begun = False
        """Whether the answer has text."""
        self._count = 0

    def push(self, text: str) -> Iterator[str | ToolCall]:
        """The pieces that can be released, of the held text and `text`."""
        self._held += text
        while self._held:
            if self._opening:
                ends = [place for end in MARKUP[self._opening] if (place := self._held.find(end)) >= 0]
                if not ends:
                    return
                yield from self._end(min(ends))
                continue
            if not self._begun and (_BARE.match(self._held) or _BARE_START.match(self._held)):
                return
            found = _OPENING.search(self._held)
            if found is None:
                yield from self._release(len(self._held) - self._unsure())
                return
            yield from self._release(len(self._held[: found.start()].rstrip()))
            # White space before a call is no text.
            self._held = self._held.lstrip()
            self._opening = found.group()

    def flush(self) -> Iterator[str | ToolCall]:
        """The pieces of the held text, at the end of the answer."""
        if self._opening:
            yield from self._end(len(self._held))
        elif not self._begun and _BARE.match(self._held) and (calls := self._named(_from_json(self._held))):
            self._held = ""
            yield from self._numbered(calls)
        yield from self._release(len(self._held))

    def _unsure(self) -> int:
        """How much of the end of the held text may belong to a call."""
        blank = len(self._held) - len(self._held.rstrip())
        for start in range(max(0, len(self._held) - max(map(len, MARKUP)) + 1), len(self._held)):
            if any(opening.startswith(self._held[start:]) for opening in MARKUP):
                before = self._held[:start]
                return len(self._held) - len(before.rstrip())
        return blank

    def _release(self, end: int) -> Iterator[str]:
        text, self._held = self._held[:end], self._held[end:]
        if text:
            self._begun = True
            yield text

    def _end(self, place: int) -> Iterator[str | ToolCall]:
        """The calls of a block that ends at `place`; its text where there are none."""
        end = next((end for end in MARKUP[self._opening] if self._held.startswith(end, place)), "")
        whole = self._held[: place + len(end)]
        tagged = self._opening.startswith("<function")
        body = whole if tagged else whole[len(self._opening) : place]
        calls = [call for part in _OPENING.split(body) for call in self._named(self._read(part))] if not tagged else []
        calls = calls or self._named(self._read(body))
        self._held, self._opening = self._held[len(whole) :], ""
        if calls:
            self._begun = True
            yield from self._numbered(calls)
        else:
            self._begun = True
            yield whole

    def _named(self, calls: Sequence[ToolCall]) -> list[ToolCall]:
        return [call for call in calls if not self._tools or call.name in self._tools]

    def _numbered(self, calls: Sequence[ToolCall]) -> Iterator[ToolCall]:
        for call in calls:
            self._count += 1
            yield replace(call, id=call.id or f"call{self._count:05d}")

    def _read(self, body: str) -> list[ToolCall]:
        """The calls between the marks."""
        body = _NOISE.sub("", body[:LONGEST_CALL]).strip()
        return _from_json(body) or self._from_tags(body) or _from_python(body) or _after_names(body)

    def _from_tags(self, body: str) -> list[ToolCall]:
        found = []
        for name, inside in _FUNCTION.findall(body):
            arguments = _PARAMETER.findall(inside) or _ELEMENT.findall(inside)
            if arguments or not (values := ToolCall(name, inside.strip()).values):
                found.append(self._tagged(name, arguments))
            else:
                found.append(ToolCall(name, json.dumps(values, ensure_ascii=False)))
        if not found and (name := body.partition("<")[0].strip()) and re.fullmatch(r"[\w.-]+", name):
            arguments = _ARGUMENT.findall(body)
            if arguments or name == body or "<tool_sep>" in body:
                found.append(self._tagged(name, arguments))
        return found

    def _tagged(self, name: str, arguments: Sequence[tuple[str, str, str]]) -> ToolCall:
        schema = self._tools[name].schema if name in self._tools else {}
        typed = schema.get("properties")
        values = {}
        for key, said, text in arguments:
            form = typed.get(key) if isinstance(typed, dict) else None
            kind = form.get("type") if isinstance(form, dict) else None
            is_text = kind == "string" or 'string="true"' in said
            values[key] = value_of(text.removeprefix("\n").removesuffix("\n"), is_text=is_text)
        return ToolCall(name, json.dumps(values, ensure_ascii=False))


def _from_json(text: str) -> list[ToolCall]:
    """The calls of JSON values that follow each other; none where the text is something else."""
    found: list[ToolCall] = []
    place, text = 0, text.strip()
    while place < len(text):
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            return []
        for each in value if isinstance(value, list) else [value]:
            call = _from_document(each)
            if call is None:
                return []
            found.append(call)
        while place < len(text) and text[place] in " \t\r\n;,":
            place += 1
    return found


def _from_document(value: object) -> ToolCall | None:
    """A call in the forms of OpenAI, Hermes, Llama, Cohere and Apertus."""
    if not isinstance(value, dict):
        return None
    inner = value.get("function", value)
    if isinstance(inner, str):
        inner = value | {"name": inner}
    if not isinstance(inner, dict):
        return None
    name = inner.get("name") or inner.get("tool_name")
    arguments = inner.get("arguments", inner.get("parameters", {}))
    if name is None and len(inner) == 1:
        [(name, arguments)] = inner.items()
        if not isinstance(arguments, dict):
            return None
    if not isinstance(name, str):
        return None
    if isinstance(arguments, str):
        arguments = value_of(arguments, is_text=False)
    return ToolCall(name, json.dumps(arguments if isinstance(arguments, dict) else {}, ensure_ascii=False))


def _from_python(text: str) -> list[ToolCall]:
    """The calls of a list such as `[weather(city="Paris", days=3)]`."""
    if not (text.startswith("[") and text.endswith("]")):
        return []
    try:
        listed = ast.parse(text, mode="eval").body
        calls = [each for each in getattr(listed, "elts", ()) if isinstance(each, ast.Call)]
        return [
            ToolCall(
                ast.unparse(each.func),
                json.dumps(
                    {word.arg: ast.literal_eval(word.value) for word in each.keywords if word.arg}, ensure_ascii=False
                ),
            )
            for each in calls
        ]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return []


def _after_names(text: str) -> list[ToolCall]:
    """The calls that are a name and an object, with marks between them."""
    found: list[ToolCall] = []
    while (start := text.find("{")) >= 0:
        names = [each for each in _BETWEEN.split(text[:start]) if each]
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            value, end = _from_gemma(text[start:]), len(text)
        name = re.sub(r":\d+\Z", "", names[-1].removeprefix("call:").removeprefix("functions.")) if names else ""
        if not name or not isinstance(value, dict):
            break
        found.append(ToolCall(name, json.dumps(value, ensure_ascii=False)))
        text = text[end:]
    return found


def _from_gemma(text: str) -> object:
    """An object whose keys have no quotes, and whose texts stand between `<|"|>`."""
    written = _GEMMA.sub(lambda found: json.dumps(found[2] or found[1] or "", ensure_ascii=False), text)
    return value_of(written, is_text=False)
