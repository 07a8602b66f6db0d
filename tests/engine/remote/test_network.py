from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from tests.engine.remote.helpers import QUICK, VLLM_MODELS, Silence, opened
from workbench.core.cancel import CancelToken
from workbench.core.errors import ServerError
from workbench.core.parameters import LoadSettings
from workbench.engine.remote.http import Timeouts
from workbench.engine.remote.network import Network

SLOW_RESOLVER = """
import asyncio, socket, threading
from workbench.core.cancel import CancelToken
from workbench.core.errors import WorkbenchError
from workbench.core.parameters import LoadSettings
from workbench.core.servers import ServerAddress
from workbench.engine.remote.host import RemoteHost
from workbench.engine.remote.http import Timeouts

socket.getaddrinfo = lambda *_, **__: threading.Event().wait()

async def main():
    host = RemoteHost(ServerAddress, Timeouts(connect=0.2, probe=20))
    try:
        await host.open("http://slow.invalid#m", LoadSettings(), lambda _: None, CancelToken())
    except WorkbenchError as error:
        print(error.kind)
    await host.shutdown()

asyncio.run(main())
"""


def test_a_resolver_that_never_answers_keeps_nobody_waiting():
    command = [sys.executable, "-c", SLOW_RESOLVER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "server_unreachable"), done.stderr


async def test_what_fails_there_fails_here():
    async def fail():
        raise ValueError("there")

    with pytest.raises(ValueError, match="there"):
        await Network().run(fail())


async def test_everything_can_be_closed_while_a_server_is_waited_for(raw_serve, host):
    silent = Silence()
    server = await raw_serve(pages={"*": silent})
    made = host(timeouts=Timeouts())
    opening = asyncio.create_task(made.open(server.url, LoadSettings(), lambda _: None, CancelToken()))
    await silent.asked.wait()
    await made.shutdown()
    with pytest.raises(ServerError):
        await opening


async def test_a_host_that_was_shut_down_opens_again(raw_serve, host):
    server = await raw_serve(pages={"/v1/models": VLLM_MODELS})
    made = host(timeouts=QUICK)
    await opened(made, server)
    await made.shutdown()
    assert (await opened(made, server)).info.model.name == "m"
