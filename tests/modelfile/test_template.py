from __future__ import annotations

import pytest

from workbench.modelfile.template import prefers_jinja

PLAIN, TOOLS, BOTH = (
    "{{ .Prompt }}",
    "{{ .Tools }}{{ .Prompt }}",
    "{{ .Tools }}{{ range .Messages }}{{ .Thinking }}{{ end }}",
)


@pytest.mark.parametrize(
    ("go", "jinja", "expected"),
    [
        (PLAIN, "", False),
        (PLAIN, "{{ messages }}", False),
        (PLAIN, "{{ tools }}", True),
        (PLAIN, "{% if message.tool_call %}", True),
        (TOOLS, "{{ tools }}", False),
        (TOOLS, "{{ tools }} <think> </think>", True),
        (TOOLS, "<think> </think>", False),
        (BOTH, "{{ tools }} <think> </think>", False),
        (PLAIN, "<think>", False),
        (PLAIN, "{{ content.split('</think>')[-1] }}", True),
        (PLAIN, "{{ content.split('</think>')[-1] }} {{ reasoning_content }}", False),
        ("{{ .Prompt", "{{ messages }}", True),
        ("{{ .Prompt", "", False),
    ],
)
def test_which_template_is_taken(go: str, jinja: str, expected: bool) -> None:
    assert prefers_jinja(go, jinja) is expected
