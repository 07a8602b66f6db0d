"""The samplers that a server takes, and the notice of those that it does not."""

from __future__ import annotations

import json

import pytest

from tests.engine.remote.helpers import events_of
from tests.engine.remote.test_servers import SEA, first_model, patient, ready, scripted
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.models import ModelEntry
from workbench.core.parameters import Sampling
from workbench.core.servers import ServerInfo
from workbench.engine.remote.ollama import OllamaDialect
from workbench.engine.remote.openai import OpenAIDialect

__all__ = ["patient"]

TUNED = Sampling(
    xtc_probability=0.5,
    dry_multiplier=0.8,
    top_n_sigma=1.5,
    mirostat=2,
    adaptive_target=0.4,
    logit_bias=("7=-inf", "9=2.5"),
    samplers=("top_k", "temperature"),
)
ELSEWHERE = {"xtc_probability", "dry_multiplier", "top_n_sigma", "mirostat", "adaptive_target", "samplers"}


def body_for(kind, sampling):
    dialect = OpenAIDialect(None, ServerInfo("http://x", kind, None, ("m",)), ModelEntry("http://x#m", "m"))
    asked = dialect.question(Request(messages=(Message("user", SEA),), sampling=sampling), 1)
    # It must be JSON by the book: Python would write -Infinity.
    json.dumps(asked.body, allow_nan=False)
    return asked


def test_llama_server_takes_them_all_in_its_own_form():
    asked = body_for("llama-server", TUNED)
    assert asked.refused == ()
    assert asked.body["logit_bias"] == [[7, False], [9, 2.5]]
    assert asked.body["samplers"] == ["top_k", "temperature", "adaptive_p"]
    assert {name: asked.body[name] for name in ELSEWHERE - {"samplers"}} == {
        "xtc_probability": 0.5, "dry_multiplier": 0.8, "top_n_sigma": 1.5, "mirostat": 2, "adaptive_target": 0.4,
    }  # fmt: skip
    assert not {"dry_sequence_breakers", "dry_base", "temperature"} & asked.body.keys()


@pytest.mark.parametrize("kind", ["Ollama", "llama-server", "vLLM", "LM Studio", "TGI", "OpenAI-compatible"])
def test_a_server_gets_what_somebody_has_set_and_nothing_else(kind):
    protocol = {"model", "stream", "messages", "seed", "stream_options", "return_progress", "truncate", "shift"}
    assert values_for(kind, Sampling()).keys() <= protocol
    given = frozenset({"temperature", "top_k", "num_ctx", "num_predict"})
    asked = values_for(kind, Sampling(presence_penalty=0.5), given)
    wanted = {"temperature": 0.8, "presence_penalty": 0.5}
    wanted |= {"top_k": 40} if kind not in ("TGI", "OpenAI-compatible") else {}
    wanted |= {"num_predict": -1} if kind == "Ollama" else {}
    assert {name: value for name, value in asked.items() if name not in protocol} == wanted


def values_for(kind, sampling, given=frozenset()):
    request = Request(messages=(Message("user", SEA),), sampling=sampling, given=given)
    if kind == "Ollama":
        body = OllamaDialect(None, ModelEntry("http://x#m", "m"), None).question(request, 1).body
        return {name: value for name, value in body.items() if name != "options"} | body["options"]
    dialect = OpenAIDialect(None, ServerInfo("http://x", kind, None, ("m",)), ModelEntry("http://x#m", "m"))
    return dialect.question(request, 1).body


@pytest.mark.parametrize("kind", ["vLLM", "LM Studio", "OpenAI-compatible"])
def test_other_servers_take_the_bias_alone(kind):
    asked = body_for(kind, TUNED)
    assert asked.body["logit_bias"] == {"7": -100.0, "9": 2.5}
    assert set(asked.refused) == ELSEWHERE


@pytest.mark.parametrize("kind", ["Ollama", "vLLM", "LM Studio", "TGI"])
async def test_what_a_server_does_not_take_is_said(serve, patient, kind):
    server = scripted(kind)
    engine = await ready(patient, serve(server).url, first_model(kind))
    *_, end = await events_of(engine, Request(messages=(Message("user", SEA),), sampling=TUNED))
    missing = ELSEWHERE | ({"logit_bias"} if kind in ("Ollama", "TGI") else set())
    assert end.notice.startswith("The server does not take ")
    assert all(name in end.notice for name in missing)
    body = server.asked[-1].body
    assert not missing & (body["options"] if kind == "Ollama" else body).keys()
    *_, end = await events_of(engine, Request(messages=(Message("user", SEA),), sampling=Sampling()))
    assert not end.notice
