"""Who may ask: host names, origins, keys, and the size of bodies."""

from __future__ import annotations

import httpx
import pytest

from tests.serve.conftest import served, service_of
from workbench.core.chat import Message
from workbench.core.serving import ServingAddress
from workbench.serve.app import Api

BODY = {"messages": [{"role": "user", "content": "Hello"}]}


def client_of(service, address: ServingAddress = ServingAddress()) -> httpx.AsyncClient:  # noqa: B008 - immutable
    transport = httpx.ASGITransport(app=Api(service, address).app())
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:80", 200), ("127.0.0.1:11435", 200), ("[::1]:9", 200), ("LOCALHOST", 200),
        ("evil.example", 403), ("localhost.evil.example", 403), ("", 403), ("127.0.0.1.nip.io", 403),
    ],
)  # fmt: skip
async def test_only_known_host_names_are_answered(service, host, status):
    async with client_of(service) as client:
        assert (await client.get("/v1/models", headers={"host": host})).status_code == status


async def test_pages_of_other_origins_are_refused(service, engine):
    async with client_of(service) as client:
        response = await client.post("/v1/chat/completions", json=BODY, headers={"origin": "http://evil.example"})
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers
        plain = await client.post(
            "/v1/chat/completions", content=b'{"messages": []}', headers={"content-type": "text/plain"}
        )
        assert plain.status_code == 415
    assert not engine.asked


async def test_an_allowed_origin_may_ask(service):
    async with client_of(service, ServingAddress(origins=frozenset({"http://localhost:3000"}))) as client:
        headers = {"origin": "http://localhost:3000"}
        before = await client.options("/v1/chat/completions", headers=headers)
        assert "content-type" in before.headers["access-control-allow-headers"]
        response = await client.post("/v1/chat/completions", json=BODY, headers=headers)
        assert response.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": b"Bearer s\xe9cret"}, 401),
        ({"authorization": "Bearer secret"}, 200),
        ({"x-api-key": "secret"}, 200),
    ],
)
async def test_a_key_is_needed_where_one_is_set(service, headers, status):
    async with client_of(service, ServingAddress(key="secret")) as client:
        assert (await client.get("/v1/models", headers=headers)).status_code == status
        assert (await client.get("/health")).status_code == 200


async def test_a_body_that_is_too_large_is_refused(service, monkeypatch):
    monkeypatch.setattr("workbench.serve.app.MOST_BODY_BYTES", 100)
    async with client_of(service) as client:
        response = await client.post("/v1/chat/completions", json={"messages": "x" * 200})
        assert response.status_code == 413


def test_a_client_that_leaves_a_stream_cancels_it(service, engine):
    engine.endless = True
    with served(service) as address:
        with httpx.stream("POST", f"{address}/v1/chat/completions", json={**BODY, "stream": True}) as response:
            next(response.iter_lines())
        assert engine.ended.wait(10)
    assert engine.cancels[0].is_set
    assert not service.running
    assert service.ended[0].end == "cancelled"


def test_a_client_that_does_not_wait_for_the_whole_answer_cancels_it(service, engine):
    engine.endless = True
    with served(service) as address:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/v1/chat/completions", json=BODY, timeout=0.3)
        assert engine.ended.wait(10)
    assert engine.cancels[0].is_set


async def test_the_models_own_system_prompt_counts_where_the_client_has_none(engine):
    service = service_of(engine, system="Be kind.", opening=(Message("user", "a"), Message("assistant", "b")))
    async with client_of(service) as client:
        await client.post("/v1/chat/completions", json=BODY)
        own = [{"role": "system", "content": "Be brief."}, *BODY["messages"]]
        await client.post("/v1/chat/completions", json={"messages": own})
    first, second = (request.messages for request in engine.asked)
    assert [message.content for message in first] == ["Be kind.", "a", "b", "Hello"]
    assert [message.content for message in second] == ["Be brief.", "a", "b", "Hello"]
