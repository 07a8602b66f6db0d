"""The service of one model from its start to its end, and what happens when the model changes."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.serve.conftest import FakeEngine
from workbench.core.errors import ParameterError, WorkbenchError
from workbench.core.serving import ServedModel, ServingAddress
from workbench.serve.serving import HttpServing

ASK = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
async def serving(engine):
    serving = HttpServing()
    serving.listen(ServingAddress(port=0))
    serving.start(ServedModel(engine, "toy", shared=True))
    yield serving
    await serving.stop()


async def ask(serving, **body) -> httpx.Response:
    async with httpx.AsyncClient(base_url=serving.url, timeout=30) as client:
        return await client.post("/v1/chat/completions", json={**ASK, **body}, headers={"user-agent": "probe/1 x"})


async def test_it_serves_until_it_is_stopped_and_says_who_asked(serving, engine):
    assert (await ask(serving)).status_code == 200
    [request] = serving.requests()
    assert request.client == "127.0.0.1 probe/1"
    assert (request.state, request.running, request.route) == ("stop", False, "/v1/chat/completions")
    assert (request.metrics.cached_tokens, request.metrics.completion_tokens) == (3, 4)
    assert engine.asked[0].background
    url = serving.url
    await serving.stop()
    assert serving.url == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


async def test_another_model_takes_over(serving):
    serving.use(None)
    response = await ask(serving)
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert "being loaded" in response.json()["error"]["message"]
    assert httpx.get(f"{serving.url}/health").status_code == 503
    serving.use(ServedModel(FakeEngine("Another"), "other"))
    found = (await ask(serving)).json()
    assert (found["model"], found["choices"][0]["message"]["content"]) == ("other", "Another")


async def test_an_answer_of_a_model_that_is_closed_ends_with_an_error(serving, engine):
    engine.reason = "cancelled"
    response = await ask(serving)
    assert response.status_code == 503
    assert "closed" in response.json()["error"]["message"]
    text = (await ask(serving, stream=True)).text
    assert "closed" in text
    assert "[DONE]" not in text


async def test_a_request_that_runs_is_listed(serving, engine):
    engine.endless = True
    client = httpx.AsyncClient(base_url=serving.url, timeout=30)
    body = {**ASK, "stream": True}
    async with client, client.stream("POST", "/v1/chat/completions", json=body) as response:
        async for _ in response.aiter_lines():
            if any(request.state == "decode" and request.running for request in serving.requests()):
                break
    while serving.requests()[0].running:
        await asyncio.sleep(0)
    assert serving.requests()[0].state == "cancelled"


async def test_an_answer_that_is_written_at_the_end_gets_an_error(serving, engine, monkeypatch):
    monkeypatch.setattr("workbench.serve.serving.GRACE_S", 0.0)
    engine.endless = True
    asking = asyncio.create_task(ask(serving))
    while not any(request.state == "decode" for request in serving.requests()):
        await asyncio.sleep(0)
    await serving.stop()
    response = await asking
    assert response.status_code == 503
    assert "no longer served" in response.json()["error"]["message"]


async def test_an_address_that_others_reach_needs_a_key():
    with pytest.raises(ParameterError, match="no key"):
        ServingAddress("0.0.0.0")
    assert "secret" not in repr(ServingAddress("0.0.0.0", key="secret"))


async def test_a_taken_port_is_said(serving):
    port = int(serving.url.rpartition(":")[2])
    with pytest.raises(WorkbenchError, match="Nothing can listen"):
        HttpServing().listen(ServingAddress(port=port))
