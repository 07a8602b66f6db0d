"""Whole conversations with templates of every kind: every word reaches the model."""

from __future__ import annotations

import pytest

from tests.engine.llama.conftest import answer, chat, load
from tests.gguf.conftest import write_model
from workbench.engine.llama.template import ChatTemplate

TURN = "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
GO_ON = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TURNS = f"{{% for m in messages %}}{TURN}{{% endfor %}}{GO_ON}"
PARTS = TURNS.replace(
    "{{ m['content'] }}",
    "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}<image>{% endif %}{% endfor %}",
)
TOOLS = "{% if tools is not none %}TOOLS {{ tools | tojson }}\n{% endif %}" + TURNS


@pytest.mark.parametrize("source", [TURNS, PARTS, TOOLS, TOOLS.replace("tools", "documents")])
async def test_every_word_of_a_question_is_in_the_prompt(engine, source):
    engine._template = ChatTemplate(source)
    result = await answer(engine, chat("Name the capital of France.", limit=1))
    assert result.metrics.prompt_tokens == 15


async def test_a_template_for_tools_is_used_where_there_is_no_other(host, models, tmp_path):
    keys = {"tokenizer.chat_template.tool_use": "{{ messages[0].content }}", "tokenizer.chat_template.rag": "no"}
    models["named"] = str(write_model(tmp_path / "named.gguf", keys=keys))
    engine = await load(host, "named")
    assert engine.info.has_template
    assert (await answer(engine, chat("abc", limit=1))).metrics.prompt_tokens < 9
