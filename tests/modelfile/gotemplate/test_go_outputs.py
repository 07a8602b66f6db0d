"""Templates with what Go's `text/template` makes of them, with Ollama's functions and values.

`go_outputs.jsonl` has one case a line: the template, the request (in the JSON of Ollama's API) or else the data of
`test_evaluate`, and the output; null where Go refuses the template. They are the known templates with random
conversations, random templates, damaged ones, and random formats of `printf`.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from tests.modelfile.gotemplate.rendering import render
from tests.modelfile.gotemplate.test_evaluate import DATA
from workbench.modelfile.gotemplate.lexer import GoTemplateError
from workbench.modelfile.gotemplate.prompt import PromptRequest
from workbench.modelfile.template import parse

TODAY = date(2026, 8, 15)


def output(case):
    try:
        template = parse(case["template"])
        if "request" in case:
            return template.render_prompt(PromptRequest(**case["request"], today=TODAY))
        return render(template, DATA)
    except GoTemplateError:
        return None


def test_the_outputs_are_those_of_go():
    lines = Path(__file__).with_name("go_outputs.jsonl").read_text().splitlines()
    cases = [json.loads(line) for line in lines]
    assert len(cases) > 400
    assert [case for case in cases if output(case) != case["out"]] == []
