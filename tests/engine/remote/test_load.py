from __future__ import annotations

import asyncio

import pytest

from tests.servers.lmstudio import StudioServer
from tests.servers.ollama import OllamaServer
from tests.servers.script import Exchange, Pace, Script
from tests.servers.serving import serving
from tests.servers.tgi import TgiServer
from tests.servers.vllm import VllmServer
from workbench.core.cancel import CancelToken
from workbench.core.errors import (
    CancelledError,
    ServerError,
    ServerTimeoutError,
    ServerUnreachableError,
    UnknownModelError,
    WorkbenchError,
)
from workbench.core.secret import Secret
from workbench.core.servers import ServerAddress
from workbench.core.sweep import LoadCost, LoadLevel, LoadSample, SweepSettings
from workbench.engine.remote.load import ChildLoadClients, error_of
from workbench.lab.bench.sweep import Sweep

SERVERS = {
    "Ollama": (OllamaServer, "#smollm2:135m"),
    "vLLM": (VllmServer, ""),
    "LM Studio": (StudioServer, "#smollm2-135m-instruct"),
    "TGI": (TgiServer, ""),
}


@pytest.fixture
async def opened():
    """Opens clients that end with the test."""
    clients = []

    async def start(ref, cancel=None, address_of=ServerAddress):
        for patience in range(10, -1, -1):
            try:
                client = await ChildLoadClients(address_of).open(ref, lambda _: None, cancel or CancelToken())
                break
            except ServerTimeoutError:
                # A real server on a busy machine may take longer than the probe waits.
                if not patience:
                    raise
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()


async def asked(client, *prompts, concurrency=1, n_gen=4, seconds=60.0, cancel=None):
    level = LoadLevel(concurrency, prompts, n_gen, seconds)
    found = [each async for each in client.run(level, cancel or CancelToken())]
    return [each for each in found if isinstance(each, LoadSample)], found[-1]


@pytest.mark.parametrize("kind", SERVERS)
async def test_every_kind_of_server_is_asked_and_counts_its_tokens(opened, kind):
    make, model = SERVERS[kind]
    with serving(make()) as served:
        client = await opened(served.url + model)
        samples, cost = await asked(client, "a b c", "d e f", "g", concurrency=2)
    assert client.target.kind == kind
    assert [sample.error for sample in samples] == [""] * 3
    assert {(sample.completion_tokens, sample.estimated) for sample in samples} == {(4, False)}
    assert all(sample.sent_ns <= sample.first_ns <= sample.last_ns <= sample.end_ns for sample in samples)
    assert isinstance(cost, LoadCost)
    assert cost.cpu_ns > 0
    assert served.server.model.most_running <= 2


async def test_users_ask_at_the_same_time_and_each_question_once(opened):
    with serving(VllmServer(Script(pace=Pace(decode_tps=100)))) as served:
        client = await opened(served.url)
        samples, _ = await asked(client, *(f"p{number}" for number in range(12)), concurrency=4)
    assert served.server.model.most_running == 4
    prompts = [each.body["messages"][0]["content"] for each in served.server.asked if each.method == "POST"]
    assert sorted(prompts) == sorted(f"p{number}" for number in range(12))
    assert len(samples) == 12


async def test_vllm_is_asked_for_the_full_length_and_one_count(opened):
    with serving(VllmServer()) as served:
        await asked(await opened(served.url), "a")
    body = served.server.asked[-1].body
    assert body["ignore_eos"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["max_tokens"] == 4


async def test_a_question_that_fails_is_a_sample_that_says_why(opened):
    exchanges = [Exchange("bad", ("a", "b"), error_after=1), Exchange("short", ("a", "b"), ends_after=1)]
    with serving(VllmServer(Script(exchanges))) as served:
        samples, _ = await asked(await opened(served.url), "good", "bad", "short")
    good, bad, short = samples
    assert good.error == ""
    assert "EngineCore" in bad.error
    assert short.error
    # The text so far is still known.
    assert bad.first_ns is not None


async def test_an_answer_that_takes_too_long_is_given_up(opened):
    with serving(VllmServer(Script(pace=Pace(decode_tps=0.01)))) as served:
        samples, _ = await asked(await opened(served.url), "a", "b", seconds=0.1)
    assert [sample.error for sample in samples] == ["it took longer than 0.2 s"]


async def test_stopping_ends_the_client_at_once(opened):
    with serving(VllmServer(Script(pace=Pace(decode_tps=0.01)))) as served:
        cancel = CancelToken()
        client = await opened(served.url, cancel)
        asking = asyncio.create_task(asked_all(client, cancel))
        while not served.server.model.running:
            await asyncio.sleep(0.01)
        cancel.set()
        assert await asking == []


async def asked_all(client, cancel):
    return [each async for each in client.run(LoadLevel(2, ("a", "b", "c"), 4, 60.0), cancel)]


async def test_a_server_that_cannot_be_asked_fails_before_the_sweep():
    with pytest.raises(ServerUnreachableError):
        await ChildLoadClients().open("http://127.0.0.1:9", lambda _: None, CancelToken())
    with serving(OllamaServer()) as served, pytest.raises(UnknownModelError, match="several"):
        await ChildLoadClients().open(served.url, lambda _: None, CancelToken())
    stopped = CancelToken()
    stopped.set()
    with serving(VllmServer()) as served, pytest.raises(CancelledError):
        await ChildLoadClients().open(served.url, lambda _: None, stopped)


async def test_a_machine_that_starts_no_process_says_so(monkeypatch):
    def refuse(*_):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("workbench.engine.remote.load.ChildProcess", refuse)
    with pytest.raises(ServerError, match="temporarily unavailable"):
        await ChildLoadClients().open("http://127.0.0.1:9", lambda _: None, CancelToken())


async def test_the_key_goes_to_the_server(opened):
    with serving(VllmServer(Script(key="sesame"))) as served:
        client = await opened(served.url, address_of=lambda url: ServerAddress(url, Secret("sesame")))
        samples, _ = await asked(client, "a")
    assert samples[0].error == ""


async def test_a_real_llama_server_is_swept(opened, llama_server):
    client = await opened(llama_server)
    assert (client.target.kind, client.target.model) == ("llama-server", "demo")
    sweep = Sweep(client, SweepSettings((1, 2), n_prompt=96, n_gen=8, repetitions=2))
    await sweep.run(CancelToken())
    assert [(level.concurrency, len(level.samples), level.failures) for level in sweep.levels] == [(1, 2, 0), (2, 4, 0)]
    for level in sweep.levels:
        # They go on to the wanted length, and nothing but the beginning of the template is cached.
        assert {sample.completion_tokens for sample in level.samples} == {8}
        assert abs(level.middle("prompt_tokens") - 96) <= 10
        assert level.cached_pct < 45
        assert level.tps_total > 0


def test_an_error_of_the_child_is_one_here():
    error = error_of("unknown_model", "There is none.", "Pull it.")
    assert isinstance(error, UnknownModelError)
    assert (error.message, error.hint) == ("There is none.", "Pull it.")
    assert isinstance(error_of("no such kind", "m", ""), WorkbenchError)
