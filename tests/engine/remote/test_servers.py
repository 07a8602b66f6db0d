"""Whole conversations with servers on real sockets: what is understood of everything that they say."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.engine.remote.helpers import events_of, question, text_of
from tests.servers import lmstudio, ollama, tgi, vllm
from tests.servers.script import Exchange, Pace, Script
from workbench.core.answer import Answer
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Request
from workbench.core.errors import ContextFullError, ServerError, ServerRefusedError, UnknownModelError
from workbench.core.events import Failed, Finished, PromptProgress, Token
from workbench.core.metrics import Meter
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.secret import Secret
from workbench.core.servers import ServerAddress
from workbench.engine.remote.http import Timeouts
from workbench.engine.switches import SHORT_OF_TIME

SEA = "What is the sea?"
ANSWER = "The sea is salt water – 水."


def scripted(kind, **more):
    """A server of this kind with the conversation of its own module."""
    module, make = {
        "Ollama": (ollama, ollama.OllamaServer), "vLLM": (vllm, vllm.VllmServer),
        "LM Studio": (lmstudio, lmstudio.StudioServer), "TGI": (tgi, tgi.TgiServer),
    }[kind]  # fmt: skip
    conversation = more.pop("exchanges", module.CONVERSATION)
    return make(Script(conversation, **more))


def first_model(kind):
    return {"Ollama": "#qwen3:0.6b", "LM Studio": "#qwen/qwen3-0.6b"}.get(kind, "")


async def ready(host, url, name="", settings=None):
    return await host.open(f"{url}{name}", settings or LoadSettings(), lambda _: None, CancelToken())


def by_kind(events, kind):
    return "".join(event.text for event in events if isinstance(event, Token | Finished) and event.kind == kind)


def figures(events, source="client"):
    meter = Meter(events[0].at_ns - 1_000_000, source=source)
    for event in events:
        meter.feed(event)
    return meter.metrics()


KINDS = ("Ollama", "vLLM", "LM Studio", "TGI")


@pytest.fixture
def patient(host):
    return host(timeouts=Timeouts(first=20, between=20))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
async def test_a_conversation(serve, patient, kind, seed):
    served = serve(scripted(kind, cut_seed=seed))
    engine = await ready(patient, served.url, first_model(kind))
    assert engine.info.backend == kind
    assert engine.info.measured_by == "client"
    events = await events_of(engine, question(SEA))
    assert text_of(events) == ANSWER
    end = events[-1]
    assert (end.reason, end.usage.prompt_tokens, end.usage.completion_tokens) == ("stop", 12, 7)
    assert not end.usage.estimated
    assert sum(isinstance(event, Token) for event in events) == 7
    stamps = [event.at_ns for event in events]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("kind", ["Ollama", "vLLM", "LM Studio"])
async def test_reasoning_is_separated(serve, patient, kind):
    served = serve(scripted(kind, cut_seed=7))
    engine = await ready(patient, served.url, first_model(kind))
    asked = "And <b>why</b> & how?" if kind == "Ollama" else "And why?"
    events = await events_of(engine, question(asked))
    assert by_kind(events, "reasoning") == "Hm, why?"
    assert by_kind(events, "answer") == "Rivers carry salt."


async def test_reasoning_between_tags_is_separated(serve, patient):
    thinking = Exchange("Why?", ("<th", "ink>", "Hm", ".", "</think>", "\n\n", "So", "."))
    served = serve(scripted("TGI", exchanges=(thinking,)))
    events = await events_of(await ready(patient, served.url), question("Why?"))
    assert (by_kind(events, "reasoning"), by_kind(events, "answer")) == ("Hm.", "So.")
    assert events[-1].usage.completion_tokens == 8


async def test_what_ollama_measured_wins(serve, patient):
    served = serve(scripted("Ollama"))
    engine = await ready(patient, served.url, "#qwen3:0.6b")
    events = await events_of(engine, question("And <b>why</b> & how?"))
    usage, timings = events[-1].usage, events[-1].timings
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (31, 19, 7)
    assert (timings.prefill_ms, timings.decode_ms) == (40.0, 350.0)
    metrics = figures(events)
    assert metrics.source == "server"
    assert metrics.latency_source == "client"
    assert metrics.prefill_tps == pytest.approx(12 / 0.04)
    assert metrics.decode_tps == pytest.approx(6 / 0.35)


@pytest.mark.parametrize(("version", "cached", "prefill"), [
    ("0.33.0", 0, 80.0), ("0.30.5", None, None), ("0.12.3", None, 80.0), ("who knows", None, 80.0),
])  # fmt: skip
async def test_prompt_tokens_that_ollama_does_not_tell_apart(serve, patient, monkeypatch, version, cached, prefill):
    monkeypatch.setattr(ollama, "VERSION", version)
    served = serve(scripted("Ollama"))
    events = await events_of(await ready(patient, served.url, "#qwen3:0.6b"), question(SEA))
    assert events[-1].usage.cached_tokens == cached
    assert events[-1].timings.prefill_ms == prefill


async def test_vllm_counts_along(serve, patient):
    server = vllm.VllmServer(Script(vllm.CONVERSATION), prompt_details=True, request_metrics=True)
    engine = await ready(patient, serve(server).url)
    events = await events_of(engine, question("And why?"))
    assert events[-1].usage.cached_tokens == 16
    assert events[-1].timings.decode_ms == pytest.approx(350.0)
    body = server.asked[-1].body
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert engine.info.settings.num_ctx == 4096


async def test_the_context_of_lm_studio_and_its_load(serve, patient):
    server = scripted("LM Studio")
    served = serve(server)
    engine = await ready(patient, served.url, "#qwen/qwen3-0.6b", LoadSettings(num_ctx=2048))
    assert engine.info.settings.num_ctx == 2048
    assert server.models["qwen/qwen3-0.6b"].instances
    models = {model.name: model for model in (await patient.models(served.url))[1]}
    assert models["qwen/qwen3-0.6b"].loaded
    assert not models["smollm2-135m-instruct"].loaded
    await patient.unload(f"{served.url}#qwen/qwen3-0.6b")
    assert not server.models["qwen/qwen3-0.6b"].instances


async def test_ollama_loads_and_unloads(serve, patient):
    server = scripted("Ollama")
    served = serve(server)
    ref = f"{served.url}#qwen3:0.6b"
    engine = await ready(patient, ref, settings=LoadSettings(num_ctx=1024))
    assert engine.info.settings.num_ctx == 1024
    assert "qwen3:0.6b" in server.loaded
    assert server.asked[-3].body["options"] == {"num_ctx": 1024}
    await events_of(engine, question(SEA))
    assert server.asked[-1].body["options"]["num_ctx"] == 1024
    await patient.unload(ref)
    assert "qwen3:0.6b" not in server.loaded


async def test_a_short_context_is_reported(serve, patient):
    served = serve(scripted("Ollama", context=512))
    engine = await ready(patient, served.url, "#qwen3:0.6b")
    assert any("512" in warning and "num_ctx" in warning for warning in engine.info.warnings)


@pytest.mark.parametrize("kind", ["Ollama", "vLLM", "TGI"])
async def test_a_conversation_that_is_too_long_is_an_error_and_is_not_cut_in_silence(serve, patient, kind):
    served = serve(scripted(kind, context=40))
    engine = await ready(patient, served.url, first_model(kind))
    (failed,) = await events_of(engine, question("word " * 60))
    assert isinstance(failed.error, ContextFullError)


@pytest.mark.parametrize("kind", ["Ollama", "vLLM", "TGI"])
async def test_the_oldest_turns_are_left_out_where_that_is_wanted(serve, patient, kind):
    server = scripted(kind, context=60, exchanges=(Exchange("Go on.", ("Yes", ".")),))
    engine = await ready(patient, serve(server).url, first_model(kind))
    turns = [Message(role, f"{role} says {number}") for number in range(9) for role in ("user", "assistant")]
    messages = (Message("system", "Be brief."), *turns, Message("user", "Go on."))
    events = await events_of(engine, Request(messages=messages, when_context_full="drop_oldest"))
    assert text_of(events) == "Yes."
    sent = server.asked[-1].body["messages"]
    assert events[-1].dropped == len(messages) - len(sent) > 0
    assert (sent[0]["content"], sent[1]["role"], sent[-1]["content"]) == ("Be brief.", "user", "Go on.")


async def test_a_server_that_forgets_in_silence_is_found_out(serve, patient):
    forgets = (
        Exchange("one", ("1",), prompt_tokens=300), Exchange("two", ("2",), prompt_tokens=200),
        Exchange("three", ("3",), prompt_tokens=900),
    )  # fmt: skip
    served = serve(scripted("Ollama", exchanges=forgets))
    engine = await ready(patient, served.url, "#qwen3:0.6b")
    messages = (Message("user", "one"),)
    assert (await events_of(engine, Request(messages=messages)))[-1].notice == ""
    messages = (*messages, Message("assistant", "1"), Message("user", "two"))
    assert "left out the beginning" in (await events_of(engine, Request(messages=messages)))[-1].notice
    messages = (*messages, Message("assistant", "2"), Message("user", "three"))
    assert (await events_of(engine, Request(messages=messages)))[-1].notice == ""


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_in_the_middle(serve, patient, kind):
    breaks = Exchange("Go", ("one", " two", " three"), error_after=2)
    events = await events_of(await ready(patient, serve(scripted(kind, exchanges=(breaks,))).url, first_model(kind)),
                             question("Go"))  # fmt: skip
    assert text_of(events) == "one two"
    assert isinstance(events[-1], Failed)
    assert type(events[-1].error) is ServerError


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_ends_without_a_word(serve, patient, kind):
    ends = Exchange("Go", ("one", " two", " three"), ends_after=2)
    engine = await ready(patient, serve(scripted(kind, exchanges=(ends,))).url, first_model(kind))
    events = await events_of(engine, question("Go"))
    assert text_of(events) == "one two"
    assert "before the answer was finished" in str(events[-1].error)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_limit_of_tokens(serve, patient, kind):
    engine = await ready(patient, serve(scripted(kind)).url, first_model(kind))
    events = await events_of(engine, question(SEA, num_predict=3))
    assert (text_of(events), events[-1].reason) == ("The sea is", "length")


@pytest.mark.parametrize("kind", KINDS)
async def test_stopping_frees_the_server(serve, patient, kind):
    server = scripted(kind, pace=Pace(decode_tps=20), default_tokens=400)
    engine = await ready(patient, serve(server).url, first_model(kind))
    cancel = CancelToken()
    seen = []
    async for batch in engine.generate(question("Count"), cancel):
        seen += batch
        if any(isinstance(event, Token) for event in batch):
            cancel.set()
    assert seen[-1].reason == "cancelled"
    assert seen[-1].usage.completion_tokens >= 1
    while not server.model.aborted:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
async def test_keys(serve, host, kind):
    served = serve(scripted(kind, key="right"))
    for key in (None, Secret("wrong")):
        with pytest.raises(ServerRefusedError):
            await ready(host(lambda url, key=key: ServerAddress(url, key)), served.url, first_model(kind))
    engine = await ready(host(lambda url: ServerAddress(url, Secret("right"))), served.url, first_model(kind))
    assert text_of(await events_of(engine, question(SEA))) == ANSWER


@pytest.mark.parametrize("kind", ["Ollama", "vLLM"])
async def test_a_model_that_vanishes(serve, patient, kind):
    server = scripted(kind)
    engine = await ready(patient, serve(server).url, first_model(kind))
    if kind == "Ollama":
        server.models.clear()
    else:
        server.name = "another"
    (failed,) = await events_of(engine)
    assert isinstance(failed.error, UnknownModelError)


@pytest.mark.parametrize(("kind", "there", "missing"), [
    ("Ollama", {"options"}, set()), ("vLLM", {"top_k", "repetition_penalty"}, {"repeat_last_n"}),
    ("LM Studio", {"top_k", "repeat_penalty"}, {"repeat_last_n"}), ("TGI", {"temperature"}, {"top_k", "top_p"}),
])  # fmt: skip
async def test_the_parameters_that_a_server_takes(serve, patient, kind, there, missing):
    server = scripted(kind)
    engine = await ready(patient, serve(server).url, first_model(kind))
    values = {"temperature": 0.5, "top_k": 7, "repeat_penalty": 1.1, "repeat_last_n": 32, "top_p": 1.0}
    sampling = Sampling(**values, stop=("END",))
    await events_of(engine, Request(messages=(Message("user", SEA),), sampling=sampling))
    body = server.asked[-1].body
    assert there <= body.keys()
    assert not missing & body.keys()
    assert (body["options"] if kind == "Ollama" else body)["stop"] == ["END"]


async def test_a_prompt_without_a_template(serve, patient):
    server = scripted("Ollama")
    engine = await ready(patient, serve(server).url, "#qwen3:0.6b")
    assert text_of(await events_of(engine, Request(prompt=SEA))) == ANSWER
    assert (server.asked[-1].path, server.asked[-1].body["raw"]) == ("/api/generate", True)
    (failed,) = await events_of(engine, Request(tokens=(1, 2)))
    assert "token ids" in str(failed.error)
    engine = await ready(patient, serve(scripted("vLLM")).url)
    assert text_of(await events_of(engine, Request(prompt=SEA))) == ANSWER


async def test_the_models_of_ollama(serve, patient):
    server, models = await patient.models(serve(scripted("Ollama")).url)
    assert (server.kind, server.version) == ("Ollama", ollama.VERSION)
    entry = next(model for model in models if model.name == "qwen3:0.6b")
    assert entry.ref == f"{server.url}#qwen3:0.6b"
    assert (entry.quant, bool(entry.size_bytes), entry.loaded, entry.source.split()[0]) == (
        entry.quant, True, False, "Ollama"
    )  # fmt: skip
    assert entry.quant


# Servers that are real


async def test_llama_server(llama_server, patient):
    engine = await ready(patient, llama_server)
    info = engine.info
    assert (info.backend, info.settings.num_ctx, info.model.name) == ("llama-server", 1024, "demo")
    assert info.model.parameters == pytest.approx(42.5e6, rel=0.01)
    events = await events_of(engine, question("Say hello. " * 40, num_predict=12, seed=4))
    end = events[-1]
    progress = [event for event in events if isinstance(event, PromptProgress)]
    assert progress
    assert progress[-1].total == end.usage.prompt_tokens
    assert (end.reason, end.usage.completion_tokens, end.seed) == ("length", 12, 4)
    assert end.timings.prefill_ms > 0
    assert figures(events).source == "server"
    again = await events_of(engine, question("Say hello. " * 40, num_predict=12, seed=4))
    assert again[-1].usage.cached_tokens > 0


async def test_llama_server_reports_the_alternatives_of_its_tokens(llama_server, patient):
    engine = await ready(patient, llama_server)
    request = replace(question("Name a colour.", num_predict=6, temperature=0.0), alternatives=3)
    events = await events_of(engine, request)
    choices = [choice for event in events if isinstance(event, Token) for choice in event.choices]
    assert len(choices) == events[-1].usage.completion_tokens
    assert b"".join(choice.written.data for choice in choices).decode().strip() == text_of(events).strip()
    for choice in choices:
        assert next(token.data for token in choice.likeliest) == choice.written.data
        assert len(choice.likeliest) == 3


async def test_llama_server_stops(llama_server, patient):
    engine = await ready(patient, llama_server)
    cancel = CancelToken()
    progress = None
    async for batch in engine.generate(question("Tell a long story.", num_predict=800), cancel):
        progress = next((event for event in batch if isinstance(event, PromptProgress)), progress)
        if any(isinstance(event, Token) for event in batch):
            cancel.set()
    assert batch[-1].reason == "cancelled"
    assert batch[-1].usage.prompt_tokens == progress.total


async def test_llama_server_reports_a_full_context(llama_server, patient):
    engine = await ready(patient, llama_server)
    (failed,) = await events_of(engine, question("word " * 3000))
    assert isinstance(failed.error, ContextFullError)


async def test_llama_server_ends_thoughts_where_it_is_asked_to(thinking_server, patient, tmp_path):
    engine = await ready(patient, thinking_server)

    async def thoughts(**more):
        events = await events_of(engine, question("Name the capital of France.", num_predict=48, temperature=0, **more))
        assert isinstance(events[-1], Finished)
        assert not events[-1].notice
        answer = Answer(Meter(0, source="client"))
        for each in events:
            answer.feed(each)
        message = answer.outcome().message
        return message.reasoning, message.content

    whole, answer = await thoughts()
    assert (len(whole.split()) > 4, answer) == (True, "")
    whole, answer = await thoughts(think_budget=5)
    begun, closing, more = whole.partition(SHORT_OF_TIME.strip())
    assert (len(begun.split()) <= 5, bool(closing), more.strip()) == (True, True, "")
    for off in ({"think": "off"}, {"think_budget": 0}):
        whole, answer = await thoughts(**off)
        assert (whole, bool(answer)) == ("", True)
    grammar = tmp_path / "g.gbnf"
    grammar.write_text('root ::= "yes" | "no"')
    whole, answer = await thoughts(format=str(grammar))
    assert (whole, answer in ("yes", "no")) == ("", True)


async def test_the_server_of_llama_cpp_python(python_server, patient):
    engine = await ready(patient, python_server)
    events = await events_of(engine, question("Tell a long story.", num_predict=8, temperature=0))
    end = events[-1]
    assert isinstance(end, Finished), end
    assert end.reason == "length"
    assert text_of(events)
