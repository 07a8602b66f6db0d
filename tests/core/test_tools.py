from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.tool_calls import CallSplitter, calls_in, is_call_mark
from workbench.core.tools import Tool, ToolCall, calls_schema

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
WEATHER = Tool("get_weather", "The weather of a city.", json.dumps(SCHEMA))
ARGUMENTS = '{"city": "Paris", "days": 3}'
JSON = f'{{"name": "get_weather", "arguments": {ARGUMENTS}}}'
FORMS = [
    f"<tool_call>\n{JSON}\n</tool_call>",
    f"<tool_calls>[{JSON}]</tool_calls>",
    f"<TOOLCALL>[{JSON}]</TOOLCALL>",
    f"<|python_tag|>{JSON}",
    f"<|tool_call|>[{JSON}]",
    f"[TOOL_CALLS][{JSON}]",
    f"[TOOL_CALLS]get_weather[ARGS]{ARGUMENTS}",
    f"[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{ARGUMENTS}",
    f'{{"type": "function", "name": "get_weather", "parameters": {ARGUMENTS}}}',
    f'{{"type": "function", "function": {{"name": "get_weather", "arguments": {json.dumps(ARGUMENTS)}}}}}',
    f'<|START_ACTION|>[\n{{"tool_call_id": "0", "tool_name": "get_weather", "parameters": {ARGUMENTS}}}]<|END_ACTION|>',
    f'<|tools_prefix|>[{{"get_weather": {ARGUMENTS}}}]<|tools_suffix|>',
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
    "</function>\n</tool_call>",
    f"<function=get_weather>{ARGUMENTS}</function>",
    '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
    '<parameter name="days">3</parameter>\n</invoke>\n</minimax:tool_call>',
    '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter name="city" string="true">Paris'
    '</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
    "</｜DSML｜function_calls>",
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n"
    "<arg_value>3</arg_value>\n</tool_call>",
    f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{ARGUMENTS}\n```"
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    f"<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{ARGUMENTS}"
    "<|tool_call_end|><|tool_calls_section_end|>",
    f"<|call|>get_weather {ARGUMENTS}",
    "<|tool_call_start|>[get_weather(city='Paris', days=3)]<|tool_call_end|>",
    '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:3}<tool_call|>',
]


def read(parts, tools=(WEATHER,)) -> tuple[str, list[ToolCall]]:
    splitter = CallSplitter(tools)
    pieces = [piece for part in parts for piece in splitter.push(part)] + list(splitter.flush())
    return "".join(p for p in pieces if isinstance(p, str)), [p for p in pieces if isinstance(p, ToolCall)]


@pytest.mark.parametrize("form", FORMS)
def test_a_call_is_found_in_the_markup_of_each_family_however_its_text_is_divided(form):
    text, [call] = read(form)
    assert (text, call.name, call.values) == ("", "get_weather", {"city": "Paris", "days": 3})
    assert read([form]) == (text, [call])
    assert len(call.id) == 9
    [known] = calls_in(form)
    assert known.name == "get_weather"


def test_several_calls_follow_a_text():
    text, calls = read(["I look.\n\n<tool_call>", JSON, "</tool_call>\n<tool_call>", JSON, "</tool_call>"])
    assert text.strip() == "I look."
    assert [call.name for call in calls] == ["get_weather"] * 2
    assert len({call.id for call in calls}) == 2
    assert len(read([f"[TOOL_CALLS]get_weather[ARGS]{ARGUMENTS}[TOOL_CALLS]get_weather[ARGS]{ARGUMENTS}"])[1]) == 2


@pytest.mark.parametrize(
    "text",
    ["", "Hello", "a < b", '{"city": "Paris"}', "<tool_call>no call</tool_call> after", '{"name": "other"}', "[1, 2]",
     '<tool_call>{"name": "other", "arguments": {}}</tool_call>', "[TOOL", "<function=get_weather>{\"x\": NaN"],
)  # fmt: skip
def test_what_is_no_call_of_a_known_tool_stays_text(text):
    if text.startswith("<function"):
        assert read([text])[0] in ("", text)
    else:
        assert read([text]) == read(text) == (text, [])


def test_the_type_of_an_argument_is_that_of_its_schema():
    form = "<tool_call>\n<function=get_weather>\n<parameter=city>\n75001\n</parameter>\n</function>\n</tool_call>"
    assert read([form])[1][0].values == {"city": "75001"}
    assert calls_in(form)[0].values == {"city": 75001}


def test_the_schema_of_a_call_names_each_tool():
    schema = json.loads(calls_schema([WEATHER, Tool("now")]))
    assert [form["properties"]["name"]["const"] for form in schema["anyOf"]] == ["get_weather", "now"]


@pytest.mark.parametrize(
    ("text", "belongs"),
    [("[TOOL_CALLS]", True), ("<|python_tag|>", True), ('<|"|>', True), ("<｜tool▁sep｜>", True), ("<|im_end|>", False),
     ("<|tool_response>", False), ("[TOOL_RESULTS]", False), ("</s>", False)],
)  # fmt: skip
def test_control_tokens_of_calls(text, belongs):
    assert is_call_mark(text) == belongs


@given(st.lists(st.sampled_from([*FORMS, "<", "tool_call>", "{", '{"name"', " ", "x", "</tool_call>", "[", "\n", "é"])))
def test_no_text_is_lost_where_nothing_is_a_call(parts):
    text, calls = read(parts, (Tool("never"),))
    assert not calls
    assert "".join(text.split()) == "".join("".join(parts).split())
