from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engine.remote.helpers import PATIENT, VLLM_MODELS, Peer, RawServer, read_request
from workbench.core.servers import ServerAddress
from workbench.engine.remote.host import RemoteHost


@pytest.fixture
async def raw_serve():
    """Starts servers on the loopback. `pages` are answers by path, `chat` answers every POST."""
    servers, tasks = [], set()

    async def start(chat=None, pages=None, ssl=None):
        found = {"/v1/models": VLLM_MODELS} if pages is None else pages
        made = RawServer("")

        async def talk(reader, writer):
            task = asyncio.current_task()
            tasks.add(task)
            peer = Peer(writer)
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                request = await read_request(reader)
                made.asked.append(request)
                made.news.set()
                page = found.get(request.path, found.get("*"))
                if request.method == "POST" and chat is not None:
                    await chat(peer, request)
                elif callable(page):
                    await page(peer, request)
                elif page is None:
                    await peer.reply({"error": "not found"}, 404)
                else:
                    await peer.reply(page)
            writer.close()
            tasks.discard(task)

        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=ssl)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        made.url = f"{'https' if ssl else 'http'}://127.0.0.1:{port}"
        made.running.append(server)
        return made

    yield start
    for server in servers:
        server.close()
    for task in tuple(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def host():
    """Opens models."""
    made = []

    def make(address_of=ServerAddress, timeouts=PATIENT):
        made.append(RemoteHost(address_of, timeouts))
        return made[-1]

    yield make
    for each in made:
        await each.shutdown()


@pytest.fixture
def self_signed():
    """A certificate that nobody trusts, with its key."""
    return Path(__file__).with_name("self_signed.pem")
