from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engine.llama.conftest import answer, chat, load
from tests.gguf.conftest import write_model
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import TemplateError
from workbench.core.events import Failed, Finished
from workbench.core.models import ModelEntry
from workbench.core.parameters import Sampling
from workbench.core.recipe import Recipe
from workbench.engine.llama.host import NO_RENDERER, LlamaHost

CHATML = """{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
TURNS = """{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}<|im_start|>user
{{ .Prompt }}<|im_end|>
<|im_start|>assistant
{{ .Response }}<|im_end|>
"""


@pytest.fixture
async def described(short_demo):
    """Opens the demo model with a template."""
    hosts = []

    async def opened(template: str):
        recipe = Recipe(template=template) if template else None
        hosts.append(LlamaHost(lambda ref: ModelEntry(ref, ref, path=str(short_demo), recipe=recipe)))
        return await load(hosts[-1], num_ctx=512)

    yield opened
    for host in hosts:
        await host.shutdown()


@pytest.mark.parametrize("template", [CHATML, TURNS])
async def test_the_prompt_is_the_one_that_the_template_makes(described, template):
    request = chat("Hello", "Hi.", "What is two and two?", limit=6)
    jinja = await described("")
    own = await described(template)
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    # The model's own template puts this before a conversation that has no system prompt.
    told = replace(request, messages=(Message("system", system), *request.messages))
    assert (await answer(own, told)).ids == (await answer(jinja, request)).ids
    assert own.info.warnings == ()


async def test_a_renderer_without_a_chat_template_says_that_the_prompt_is_another(tmp_path):
    path, recipe = str(write_model(tmp_path / "plain.gguf")), Recipe(renderer="qwen3.5")
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=path, recipe=recipe))
    engine = await load(host, num_ctx=256)
    assert NO_RENDERER.format("qwen3.5") in engine.info.warnings
    await host.shutdown()


async def test_a_template_that_fails_is_an_answer_that_fails(described):
    engine = await described('{{ range .Messages }}{{ template "none" }}{{ end }}')
    end = (await answer(engine, chat("Hello"))).end
    assert isinstance(end, Failed)
    assert isinstance(end.error, TemplateError)


async def test_a_template_that_does_not_parse_leaves_raw_completion(described):
    engine = await described("{{ if }}")
    assert "template" in engine.info.warnings[-1]
    assert isinstance((await answer(engine, chat("Hello"))).end, Failed)
    raw = Request(prompt="Once upon", sampling=Sampling(num_predict=2, temperature=0.0))
    assert isinstance((await answer(engine, raw)).end, Finished)
