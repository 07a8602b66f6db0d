from __future__ import annotations

from datetime import date

import pytest

from workbench.core.chat import Message
from workbench.modelfile.gotemplate import prompt
from workbench.modelfile.gotemplate.lexer import GoTemplateError
from workbench.modelfile.gotemplate.prompt import PromptRequest, mode_for
from workbench.modelfile.template import parse

CHAT = (
    Message("system", "Be brief."),
    Message("user", "Hi"),
    Message("assistant", "Hello!"),
    Message("user", "2+2?"),
)

CHATML = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
CHATML_IN_TURNS = """{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
"""
CHATML_PROMPT = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
)

KNOWN = {
    "ChatML": (CHATML, CHATML_PROMPT),
    "ChatML in turns": (CHATML_IN_TURNS, CHATML_PROMPT),
    "Llama 2": (
        """{{- range $i, $m := .Messages }}
{{- if eq .Role "user" }}[INST] {{ if and (le $i 1) $.System }}<<SYS>>
{{ $.System }}
<</SYS>>

{{ end }}{{ .Content }} [/INST]
{{- else if eq .Role "assistant" }} {{ .Content }} </s><s>
{{- end }}
{{- end }}""",
        "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] 2+2? [/INST]",
    ),
    "Llama 3": (
        """{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ .Content }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>

""",
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "Llama 3 in turns": (
        """{{ if .System }}<|start_header_id|>system<|end_header_id|>

{{ .System }}<|eot_id|>{{ end }}{{ if .Prompt }}<|start_header_id|>user<|end_header_id|>

{{ .Prompt }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>

{{ .Response }}<|eot_id|>""",
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "Mistral": (
        """{{- range $index, $_ := .Messages }}
{{- if eq .Role "user" }}[INST] {{ if and $.System (eq (len (slice $.Messages $index)) 1) }}{{ $.System }}

{{ end }}{{ .Content }}[/INST]
{{- else if eq .Role "assistant" }} {{ .Content }}</s>
{{- end }}
{{- end }}""",
        "[INST] Hi[/INST] Hello!</s>[INST] Be brief.\n\n2+2?[/INST]",
    ),
    "Gemma": (
        """{{- $system := "" }}
{{- range .Messages }}
{{- if eq .Role "system" }}{{ $system = .Content }}{{ continue }}{{ end }}
{{- if eq .Role "user" }}<start_of_turn>user
{{ with $system }}{{ . }}

{{ end }}{{ $system = "" }}{{ .Content }}<end_of_turn>
{{ else }}<start_of_turn>model
{{ .Content }}<end_of_turn>
{{ end }}
{{- end }}<start_of_turn>model
""",
        "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n"
        "<start_of_turn>user\n2+2?<end_of_turn>\n<start_of_turn>model\n",
    ),
    "Phi 3": (
        "{{ range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}<|assistant|>\n",
        "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>\n<|user|>\n2+2?<|end|>\n"
        "<|assistant|>\n",
    ),
    "Alpaca": (
        """{{ if .System }}{{ .System }}

{{ end }}{{ if .Prompt }}### Instruction:
{{ .Prompt }}

{{ end }}### Response:
{{ .Response }}

""",
        "Be brief.\n\n### Instruction:\nHi\n\n### Response:\nHello!\n\n### Instruction:\n2+2?\n\n### Response:\n",
    ),
    "Vicuna": (
        "{{ if .System }}{{ .System }}\n\n{{ end }}{{ if .Prompt }}USER: {{ .Prompt }}\n{{ end }}"
        "ASSISTANT: {{ .Response }}</s>\n",
        "Be brief.\n\nUSER: Hi\nASSISTANT: Hello!</s>\nUSER: 2+2?\nASSISTANT: ",
    ),
    "only the prompt": ("{{ .Prompt }}", "HiHello!2+2?"),
}


@pytest.mark.parametrize(("template", "expected"), KNOWN.values(), ids=KNOWN)
def test_the_well_known_formats(template, expected):
    assert parse(template).render_chat(CHAT) == expected


def turns(template, *messages):
    return parse(template).render_chat([Message(role, text) for role, text in messages])


TURN = "[{{ .System }}|{{ .Prompt }}|{{ .Response }}]"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], "[||"),
        ([("user", "a")], "[|a|"),
        ([("system", "s"), ("user", "a")], "[s|a|"),
        ([("user", "a"), ("assistant", "b")], "[|a|b"),
        ([("user", "a"), ("assistant", "b"), ("user", "c")], "[|a|b][|c|"),
        ([("user", "a"), ("system", "s"), ("user", "c")], "[|a|][s|c|"),
        ([("user", "a"), ("assistant", "b"), ("system", "s"), ("user", "c")], "[|a|b][s|c|"),
        ([("assistant", "b"), ("user", "c")], "[||b][|c|"),
        # Neighbours of one role become one message.
        ([("user", "a"), ("user", "b")], "[|a\n\nb|"),
        ([("system", "s"), ("system", "t"), ("user", "a")], "[s\n\nt|a|"),
        # A turn without text does not end the one before.
        ([("user", "a"), ("assistant", ""), ("user", "c")], "[|c|"),
    ],
)
def test_turns(messages, expected):
    assert turns(TURN, *messages) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ .Prompt }} {{ .Response }} after", "a b"),
        ("{{ .Prompt }}{{ if true }}<{{ .Response }}>{{ end }} after", "a<b"),
        ("{{ if .Response }}x{{ end }}{{ .Prompt }}", "xa"),
        ("{{ range 2 }}{{ $.Response }}{{ .  }}{{ end }}!", "b0b1!"),
        ("{{ with .Response }}{{ . }}{{ end }}!", "b!"),
        ("{{ printf `%s %s` .Response .Prompt }}", "b %!s(MISSING)"),
        ("{{ printf `%s %s` .Prompt .Response }} after", "a b"),
        ("{{ printf `%s %s` (.Response) .Response }} after", "b b"),
        ("x{{ .Response | print }}y", "x"),
        ("{{ if false }}{{ .Response }}{{ else }}else{{ end }}", ""),
        ("{{ template `t` . }}{{ define `t` }}{{ end }}{{ .Response }}", None),
        ("{{ json .Prompt }}{{ .Response }}", None),
        ("{{ .Missing.Deeper }}{{ .Response }}", "<no value>b"),
    ],
)
def test_the_last_turn_ends_with_the_response(template, expected):
    messages = [("user", "a"), ("assistant", "b")]
    if expected is not None:
        assert turns(template, *messages) == expected
        return
    # Ollama renders the last turn without its own functions and without what the template defines.
    with pytest.raises(GoTemplateError, match="there is no"):
        turns(template, *messages)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ .Prompt }}", "turns"),
        ("{{ range .Messages }}{{ end }}", "messages"),
        ("{{ range $.MESSAGES }}{{ end }}", "messages"),
        ("{{ range .x.messages }}{{ end }}", "messages"),
        ("{{ define `a` }}{{ if len (.Messages) }}{{ end }}{{ end }}", "messages"),
        ("{{ (print .Prompt).Messages }}", "turns"),
        ("{{ $Messages := .Prompt }}{{ $Messages }}", "turns"),
        ("{{ `Messages` }}", "turns"),
    ],
)
def test_the_mode(template, expected):
    assert mode_for(parse(template).tree, PromptRequest()) == expected
    assert mode_for(parse(template).tree, PromptRequest(prompt="a", suffix="b")) == "insert"
    assert mode_for(parse(template).tree, PromptRequest(prompt="a")) == expected


def test_insert_mode_has_no_messages():
    template = parse(
        "{{ if .Suffix }}<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>{{ else }}"
        "{{ range .Messages }}{{ .Content }}{{ end }}{{ end }}{{ .System }}"
    )
    request = PromptRequest([{"role": "user", "content": "a"}], prompt="def f(", suffix="return x")
    assert template.render_prompt(request) == "<PRE>def f(<SUF>return x<MID><no value>"
    assert template.render_prompt(PromptRequest([{"role": "user", "content": "a"}])) == "a"


def test_messages_are_put_together_and_system_messages_stay():
    template = parse("{{ .System }}|{{ range .Messages }}{{ .Role }}:{{ .Content }};{{ end }}")
    messages = [
        {"role": role, "content": text}
        for role, text in [("system", "s"), ("user", "a"), ("user", "b"), ("tool", "1"), ("tool", "2"), ("system", "t")]
    ]
    assert template.render_prompt(PromptRequest(messages)) == "s\n\nt|system:s;user:a\n\nb;tool:1;tool:2;system:t;"


@pytest.mark.parametrize(
    ("think", "expected"),
    [(None, "false  false"), (True, "true  true"), (False, "false  true"), ("high", "true high true")],
)
def test_thinking(think, expected):
    request = PromptRequest([{"role": "user", "content": "a"}], think=think)
    fields = "{{ .Think }} {{ .ThinkLevel }} {{ .IsThinkSet }}"
    assert parse(fields).render_prompt(request) == expected
    assert parse(f"{fields}{{{{ if .Messages }}}}{{{{ end }}}}").render_prompt(request) == expected


def test_what_the_model_thought():
    template = parse("{{ range .Messages }}{{ .Thinking }}|{{ end }}")
    assert template.render_chat([Message("user", "a"), Message("assistant", "b", reasoning="hm")]) == "|hm|"


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells <it>",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {
                "unit": {"type": ["string", "null"], "enum": ["c", "f"]},
                "city": {"type": "string", "description": "Where"},
                "when": {"anyOf": [{"type": "integer"}, {"type": "array"}]},
                "any": {},
            },
        },
    },
}
PROPERTIES = (
    '{"any":{},"city":{"type":"string","description":"Where"},'
    '"unit":{"type":["string","null"],"enum":["c","f"]},"when":{"anyOf":[{"type":"integer"},{"type":"array"}]}}'
)
TOOL_JSON = (
    '{"type":"function","function":{"name":"weather","description":"Tells \\u003cit\\u003e",'
    f'"parameters":{{"type":"object","required":["city"],"properties":{PROPERTIES}}}}}}}'
)
CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "7", "function": {"name": "weather", "arguments": {"b": 2, "a": "x"}}}],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ .Tools }}", f"[{TOOL_JSON}]"),
        ("{{ json .Tools }}", f"[{TOOL_JSON}]"),
        ("{{ range .Tools }}{{ . }}{{ end }}", TOOL_JSON),
        ("{{ range .Tools }}{{ .Function.Name }} {{ .Function.Parameters.Required }}{{ end }}", "weather [city]"),
        ("{{ range .Tools }}{{ .Function.Parameters.Properties }}{{ end }}", PROPERTIES),
        (
            "{{ range .Tools }}{{ range $n, $p := .Function.Parameters.Properties }}{{ $n }}:{{ $p.Type }} "
            "{{ end }}{{ end }}",
            "any: city:string unit:[string null] when: ",
        ),
        (
            "{{ range .Tools }}{{ range .Function.Parameters.Properties }}{{ toTypeScriptType . }};{{ end }}{{ end }}",
            "any;string;string | null;number | any[];",
        ),
        ("{{ toTypeScriptType 1 }}", "any"),
        (
            "{{ range .Messages }}{{ range .ToolCalls }}{{ .ID }} {{ .Function.Name }} {{ .Function.Arguments }}"
            "{{ end }}{{ end }}",
            '7 weather {"a":"x","b":2}',
        ),
        (
            "{{ range .Messages }}{{ range .ToolCalls }}{{ json . }}{{ .Function.Arguments.b }}{{ end }}{{ end }}",
            '{"ID":"7","Function":{"Index":0,"Name":"weather","Arguments":{"a":"x","b":2}}}2',
        ),
        ("{{ range .Messages }}{{ .ToolName }}{{ .Images }}{{ .ToolCallID }}{{ end }}", "[]"),
        (
            "{{ json .Messages }}",
            '[{"Role":"assistant","Content":"","Thinking":"","Images":null,"ToolCalls":[{"ID":"7","Function":{"Index":0,'
            '"Name":"weather","Arguments":{"a":"x","b":2}}}],"ToolName":"","ToolCallID":""}]',
        ),
        (
            "{{ json (slice (index .Messages 0).Images) }}{{ slice .Tools 0 0 }}{{ slice .Tools }}",
            f"nullnull[{TOOL_JSON}]",
        ),
        (
            "{{ range .Messages }}{{ eq .Images nil }} {{ eq .ToolCalls nil }} {{ eq . (index $.Messages 0) }} "
            "{{ eq . nil }}{{ end }}",
            "true false true false",
        ),
    ],
)
def test_tools(template, expected):
    request = PromptRequest([CALL], tools=[TOOL])
    assert parse(template + "{{ if .Messages }}{{ end }}").render_prompt(request) == expected


NESTED = {"z": {"type": "object", "properties": {"y": {"type": "string"}, "x": {"properties": {}}}}, "a": {"items": []}}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ({"name": "now"}, '"description":"","parameters":{"type":"","properties":null}'),
        (
            {"name": "now", "parameters": {"type": "object", "properties": {}}},
            '"description":"","parameters":{"type":"object","properties":{}}',
        ),
        (
            {"name": "now", "description": "d", "parameters": {"type": "object", "properties": NESTED}},
            '"description":"d","parameters":{"type":"object","properties":{"a":{"items":[]},"z":{"type":"object",'
            '"properties":{"y":{"type":"string"},"x":{"properties":{}}}}}}',
        ),
    ],
)
def test_the_json_of_tools(function, expected):
    request = PromptRequest([], tools=[{"type": "function", "function": function}])
    text = parse("{{ json .Tools }}{{ .Messages }}").render_prompt(request)
    assert text == f'[{{"type":"function","function":{{"name":"now",{expected}}}}}][]'


def test_a_call_without_arguments():
    request = PromptRequest([{"role": "assistant", "tool_calls": [{"function": {"name": "now"}}]}])
    template = parse(
        "{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Arguments }} {{ json .Function.Arguments }}"
        "{{ end }}{{ end }}"
    )
    assert template.render_prompt(request) == "{} null"


def test_no_tools():
    assert parse("{{ .Tools }}{{ if .Tools }}y{{ else }}n{{ end }}{{ .Messages }}").render_chat([]) == "nulln[]"


def test_the_date():
    request = PromptRequest(today=date(2026, 3, 1))
    assert parse("{{ currentDate }} {{ yesterdayDate `x` }}{{ .Messages }}").render_prompt(request) == (
        "2026-03-01 2026-02-28[]"
    )


def test_a_field_that_a_message_does_not_have():
    with pytest.raises(
        GoTemplateError, match=r"line 1, column 24: an api.Message has no field \.Contents\. Did you mean 'Content'"
    ):
        parse("{{ range .Messages }}{{.Contents }}{{ end }}").render_chat(CHAT)


def test_a_lone_surrogate_in_a_message():
    assert turns("{{ .Prompt }}{{ .Response }}", ("user", "a\ud800b")) == "a\ufffdb"


def test_the_limits_hold_for_all_turns_together():
    heavy = parse("{{ range 150000 }}{{ end }}{{ .Prompt }}{{ .Response }}")
    two = [Message("user", "a"), Message("assistant", "b")]
    assert heavy.render_chat(two) == "ab"
    with pytest.raises(GoTemplateError, match="steps"):
        heavy.render_chat(two * 4)


LARGE = """{{- if or .System .Tools }}<|system|>
{{- if .System }}
{{ .System }}
{{- end }}
{{- if .Tools }}
Tools:
{{- range .Tools }}
{{ json .Function.Name }}: {{ .Function.Description }}
{{- range $name, $property := .Function.Parameters.Properties }}
  {{ $name }}{{ if $property.Type }} ({{ toTypeScriptType $property }}){{ end }}
{{- end }}
{{- end }}
{{- end }}
{{ end }}
{{- $lastUser := -1 }}
{{- range $i, $message := .Messages }}
{{- if eq $message.Role "user" }}{{ $lastUser = $i }}{{ end }}
{{- end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}<|user|>
{{ .Content }}<|end|>
{{ else if eq .Role "assistant" }}<|assistant|>
{{- if and .Thinking (gt $i $lastUser) }}<|think|>{{ .Thinking }}<|/think|>{{ end }}
{{ if .Content }}{{ printf "%s" .Content }}
{{- else if .ToolCalls }}
{{- range .ToolCalls }}<|call|>{{ .Function.Name }} {{ json .Function.Arguments }}{{ end }}
{{- end }}
{{- if not $last }}<|end|>
{{ end }}
{{- else if eq .Role "tool" }}<|tool|>
{{ .Content }}<|end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|assistant|>
{{ end }}
{{- end }}"""
MANY = [Message("system", "Be brief. " * 100)] + [
    Message("assistant" if number % 2 else "user", "word " * 200, "thought " * 100 if number % 2 else "")
    for number in range(999)
]


@pytest.mark.parametrize("source", [*(source for source, _ in KNOWN.values()), LARGE], ids=[*KNOWN, "large"])
def test_a_real_template_is_far_below_the_limits(source, monkeypatch):
    monkeypatch.setattr(prompt, "MOST_STEPS", prompt.MOST_STEPS // 4)
    monkeypatch.setattr(prompt, "STEPS_PER_MESSAGE", 0)
    monkeypatch.setattr(prompt, "MOST_CHARACTERS", prompt.MOST_CHARACTERS // 4)
    monkeypatch.setattr(prompt, "MOST_WRITTEN", 0)
    monkeypatch.setattr(prompt, "COPIES", 1)
    text = parse(source).render_chat(MANY)
    assert text.count("word ") >= 199


def test_more_messages_may_take_more():
    few, many = PromptRequest([]), PromptRequest([{"content": "ab", "tags": ["c", {"d": "e"}]}] * 5_000)
    least, most = prompt.limits_for(few), prompt.limits_for(many)
    assert (least.steps, most.steps) == (prompt.MOST_STEPS, 5_000 * prompt.STEPS_PER_MESSAGE)
    said = 5_000 * len("contentabtagscde")
    assert most.written - least.written == 5_000 * prompt.WRITTEN_PER_MESSAGE + prompt.COPIES * said


def test_a_text_that_is_written_again_and_again_is_stopped():
    with pytest.raises(GoTemplateError, match="writes more than"):
        parse("{{ range 5000 }}{{ $.System }}{{ end }}{{ range .Messages }}{{ end }}").render_chat(MANY)
