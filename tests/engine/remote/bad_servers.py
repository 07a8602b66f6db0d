"""Asking servers that go wrong."""

from __future__ import annotations

import socket

from tests.engine.remote.helpers import QUICK, events_of, opened
from workbench.core.cancel import CancelToken
from workbench.core.events import Failed, Token
from workbench.core.parameters import LoadSettings

QUICK_TO_NOBODY = type(QUICK)()
"""Timeouts that no test waits for: what ends before them was ended by something else."""
KEY = "sk-a-key-that-nobody-may-see"


async def open_at(host, ref, cancel=None):
    return await host.open(ref, LoadSettings(), lambda _: None, cancel or CancelToken())


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def failure(raw_serve, host, chat, **options):
    """The events and the error of an answer that fails."""
    server = await raw_serve(chat)
    engine = await opened(host(**options), server)
    *before, last = await events_of(engine)
    assert isinstance(last, Failed), last
    return "".join(event.text for event in before if isinstance(event, Token)), last.error
