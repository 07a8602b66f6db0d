from __future__ import annotations

import pytest

from workbench.modelfile.preference import prefers_jinja

PLAIN = "{{ .Prompt }}"
TOOLS = "{{ .Tools }}{{ .Prompt }}"
THINKS = "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ end }}"
BOTH = "{{ .Tools }}" + THINKS
INSERT = "{{ .Prompt }}{{ .Suffix }}"
RESULTS = '{{ .Tools }}{{ range .Messages }}{{ .ToolCalls }}{{ if eq .Role "tool" }}{{ end }}{{ end }}'
JINJA_RESULTS = "{{ tools }}{{ tool_calls }}{{ tool_response }}"
J_THINKS = "<think> </think>"


@pytest.mark.parametrize(
    ("go", "jinja", "expected"),
    [
        (PLAIN, "", False),
        (PLAIN, "{{ messages }}", False),
        (PLAIN, "{{ tools }}", True),
        (PLAIN, "{% if message.tool_call %}", True),
        (TOOLS, "{{ tools }}", False),
        (TOOLS, "{{ tools }} <think> </think>", True),
        (TOOLS, J_THINKS, False),
        (BOTH, "{{ tools }} <think> </think>", False),
        (PLAIN, "<think>", False),
        (PLAIN, "{{ content.split('</think>')[-1] }}", True),
        (PLAIN, "{{ content.split('</think>')[-1] }} {{ reasoning_content }}", False),
        (PLAIN, "{{ content.split('</think>')[-1] }} <SPECIAL_12>", False),
        # They are counted: what they are does not matter.
        (INSERT, "{{ tools }}", False),
        (INSERT, "{{ tools }} <think> </think>", True),
        (THINKS, "{{ tools }}", False),
        (THINKS, "{{ tools }} <think> </think>", True),
        # The results of tools decide between equals, and are not given up for more.
        (TOOLS, JINJA_RESULTS, True),
        (RESULTS, JINJA_RESULTS, False),
        (RESULTS, "{{ tools }} <think> </think>", False),
        (RESULTS, JINJA_RESULTS + J_THINKS, True),
        ("{{ .Prompt", "{{ messages }}", True),
        ("{{ .Prompt", "", False),
    ],
)
def test_which_template_is_taken(go: str, jinja: str, expected: bool) -> None:
    assert prefers_jinja(go, jinja) is expected


@pytest.mark.parametrize(
    ("go", "thinks"),
    [
        (THINKS, True),
        ("{{ range $i, $m := .Messages }}a{{ .Thinking }}b{{ end }}", True),
        ("{{ range .Messages }}{{ with .Thinking }}a{{ . }}b{{ end }}{{ end }}", False),
        ("{{ range .Messages }}a{{ with .Thinking }}{{ . }}{{ end }}b{{ end }}", True),
        ("{{ range .Messages }}a{{ if .Content }}{{ else if .Thinking }}b{{ end }}c{{ end }}", False),
        ("{{ range .Messages }}a{{ if and .Content (.Thinking) }}{{ end }}b{{ end }}", True),
        ("{{ range $.Messages }}a{{ .Thinking }}b{{ end }}", False),
        ("{{ range $m := .Messages }}a{{ $m.Thinking }}b{{ end }}", False),
        ("{{ range .Messages }}{{ range .ToolCalls }}a{{ .Thinking }}b{{ end }}{{ end }}", False),
        ("{{ range .Messages }} {{ .Thinking }}b{{ end }}", False),
        ("a{{ .Thinking }}b{{ range .Messages }}{{ end }}", False),
        ("{{ range .Messages }}a{{ .Thinking }}{{ end }}{{ range .Messages }}{{ .Thinking }}b{{ end }}", True),
    ],
)
def test_the_thoughts_of_a_template_in_go_are_between_texts(go: str, thinks: bool) -> None:
    assert prefers_jinja(go, J_THINKS) is not thinks


def test_gpt_oss_with_its_channels_keeps_its_template() -> None:
    go = "<|start|>{{ .Prompt }}<|end|>"
    assert [prefers_jinja(go, "{{ tools }}", name) for name in ("gpt-oss", "gptoss", "llama")] == [False, False, True]
    assert prefers_jinja(PLAIN, "{{ tools }}", "gpt-oss")
