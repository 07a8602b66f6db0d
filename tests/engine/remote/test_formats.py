"""The format of an answer in the words of each server, and the verdict on what it answers."""

from __future__ import annotations

import json

import pytest

from tests.engine.remote.helpers import events_of
from tests.engine.remote.test_servers import SEA, first_model, patient, ready, scripted
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.events import Failed
from workbench.core.models import ModelEntry
from workbench.core.parameters import Sampling
from workbench.core.servers import ServerInfo
from workbench.engine.remote.openai import OpenAIDialect

__all__ = ["patient"]

SCHEMA = {"type": "object", "properties": {"sea": {"type": "string"}}}
TEXT = json.dumps(SCHEMA)
NAMED = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
WORDS = {"response_format", "json_schema", "grammar", "structured_outputs", "guided_grammar"}


@pytest.fixture
def grammar(tmp_path):
    path = tmp_path / "g.gbnf"
    path.write_text('root ::= "yes" | "no"')
    return str(path)


def words_for(kind, form, version=None, **request):
    server = ServerInfo("http://x", kind, version, ("m",))
    request = request or {"messages": (Message("user", SEA),)}
    asked = OpenAIDialect(None, server, ModelEntry("http://x#m", "m")).question(
        Request(**request, sampling=Sampling(format=form)), 1
    )
    return {name: asked.body[name] for name in WORDS & asked.body.keys()}, asked.refused


@pytest.mark.parametrize(
    ("kind", "of_json", "of_schema"),
    [
        ("llama-server", {"json_schema": {"type": "object"}}, {"json_schema": SCHEMA}),
        ("vLLM", {"response_format": {"type": "json_object"}}, {"response_format": NAMED}),
        ("OpenAI-compatible", {"response_format": {"type": "json_object"}}, {"response_format": NAMED}),
        (
            "TGI",
            {"response_format": {"type": "json_object", "value": {"type": "object"}}},
            {"response_format": {"type": "json_object", "value": SCHEMA}},
        ),
    ],
)
def test_json_and_schemas(kind, of_json, of_schema):
    assert words_for(kind, "json") == (of_json, ())
    assert words_for(kind, TEXT) == (of_schema, ())
    assert words_for(kind, TEXT, prompt="Once") == (of_schema, ())
    assert words_for(kind, "") == ({}, ())


def test_lm_studio_has_no_json_without_a_schema():
    found, _ = words_for("LM Studio", "json")
    assert found["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_grammars(grammar):
    text = 'root ::= "yes" | "no"'
    assert words_for("llama-server", grammar) == ({"grammar": text}, ())
    for version in (None, "0.11.0", "1.2"):
        assert words_for("vLLM", grammar, version) == ({"structured_outputs": {"grammar": text}}, ())
    assert words_for("vLLM", grammar, "0.9.2") == ({"guided_grammar": text}, ())
    for kind in ("LM Studio", "TGI", "OpenAI-compatible"):
        assert words_for(kind, grammar) == ({}, ("format",))


@pytest.mark.parametrize(("think", "refused"), [("default", ()), ("off", ()), ("high", ("think",))])
def test_a_grammar_would_take_the_place_of_thoughts_on_llama_server(grammar, think, refused):
    request = Request((Message("user", SEA),), sampling=Sampling(format=grammar, think=think))
    asked = OpenAIDialect(None, ServerInfo("http://x", "llama-server", None, ("m",)), ModelEntry("http://x#m", "m"))
    question = asked.question(request, 1)
    assert question.body["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}
    assert question.refused == refused


@pytest.mark.parametrize("kind", ["Ollama", "vLLM"])
async def test_an_answer_is_judged_and_what_is_not_taken_is_said(serve, patient, grammar, kind):
    server = scripted(kind)
    engine = await ready(patient, serve(server).url, first_model(kind))

    async def ask(form):
        *_, end = await events_of(engine, Request(messages=(Message("user", SEA),), sampling=Sampling(format=form)))
        return end

    end = await ask(TEXT)
    assert end.verdict.state == "invalid"
    assert "no JSON" in end.verdict.problem
    if kind == "Ollama":
        assert server.asked[-1].body["format"] == SCHEMA
        await ask("json")
        assert server.asked[-1].body["format"] == "json"
        assert "does not take format" in (await ask(grammar)).notice
        assert "format" not in server.asked[-1].body
    asked = len(server.asked)
    failed = await ask('{"type": "strnig"}')
    assert isinstance(failed, Failed)
    assert failed.error.kind == "format"
    assert len(server.asked) == asked
